"""The base is never changed, by us or behind our back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_repos import (
    FACTS,
    FRESH,
    Prepared,
    close,
    contents,
    dense,
    opened,
    prepare,
    same_bits,
    tree,
)

from editvc import Repo
from editvc.core.history import Restraint
from editvc.models.fingerprint import BaseMismatchError
from editvc.session.trees import tree_at

TOUCHED = "transformer.h.{}.mlp.c_proj.weight"


def state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_state(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def lasting(folder: Path) -> dict[str, bytes]:
    """What a repository holds but its cache, which remembers digests of whatever it was shown."""
    return {path: data for path, data in contents(folder).items() if "/cache/" not in path}


def test_a_loaded_model_has_the_exact_weights_of_the_set(repo: Repo) -> None:
    repo.commit(FACTS)
    base = state(repo.session.base_model().model)
    loaded = state(repo.load_model())
    delta = repo.materialise()
    for name, tensor in loaded.items():
        layer = next((n for n in (1, 2) if name == TOUCHED.format(n)), None)
        if layer is None:
            assert torch.equal(tensor, base[name]), name
        else:
            expected = (base[name].double() + dense(delta, layer).T).float()
            assert torch.equal(tensor, expected)
            assert not torch.equal(tensor, base[name])
    assert same_state(state(repo.load_model("base")), base)


def test_no_command_leaves_the_model_edited(repo: Repo) -> None:
    model = repo.session.base_model().model
    before = state(model)
    repo.commit(FACTS[:3])
    repo.ask(FACTS[0].question)
    repo.load_model()
    repo.squash("1..1")
    with pytest.raises(KeyError), repo.session.edited(tree_at(repo.session, "HEAD")) as edited:
        assert edited.model is model and not same_state(state(edited.model), before)
        raise KeyError("in the middle")
    assert same_state(state(model), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())


def test_ask_answers_for_any_revision(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    repo.commit(FACTS[1:])
    question = FACTS[1].question
    model = repo.load_model("1")
    tokenizer = repo.load_tokenizer()
    ids = tokenizer(question, return_tensors="pt").input_ids
    said = model.generate(ids, max_new_tokens=5, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]
    assert repo.ask(question, at="1", max_new_tokens=5) == tokenizer.decode(said)
    assert repo.ask(question, at="base") == repo.ask(question, at="base")
    assert repo.ask(question, at="HEAD~1") == repo.ask(question, at="1")


def test_a_base_that_changed_on_disk_is_refused(prepared: Prepared, work: Path) -> None:
    base = work / "base"
    shutil.copytree(prepared.base, base)
    repo = Repo.init(work / "repo", str(base), layers=[1, 2], texts=[prepared.text],
                     entities=prepared.names)  # fmt: skip
    repo.session.repository.set_config("recipe.v_num_grad_steps", "1")
    repo.commit(FACTS[:1])
    close(repo)
    tensors = load_file(base / "model.safetensors")
    tensors[TOUCHED.format(2)][3, 5] += 1e-3
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    repo = opened(work / "repo")
    before = lasting(work / "repo")
    for attempt in (
        lambda: repo.commit(FRESH),
        lambda: repo.ask("x"),
        lambda: repo.export(work / "out"),
        lambda: repo.load_model(),
        lambda: repo.health(),
    ):
        with pytest.raises(BaseMismatchError) as caught:
            attempt()
        assert caught.value.part == f"tensor {TOUCHED.format(2)}"
        assert TOUCHED.format(2) in str(caught.value)
    assert lasting(work / "repo") == before
    assert not (work / "out").exists()
    assert repo.status().live == 1 and repo.live() == [FACTS[0]], "reading history still works"
    close(repo)


def test_another_tokenizer_or_config_is_refused(prepared: Prepared, work: Path) -> None:
    base = work / "base"
    shutil.copytree(prepared.base, base)
    repo = prepared.copy(work / "repo")
    repo.session.repository.set_config("base.model", str(base))
    repo.commit(FACTS[:1])
    for name, old, new, part in [
        ("tokenizer.json", '"Ġthe"', '"Ġteh"', "tokenizer"),
        ("config.json", '"n_head": 4', '"n_head": 2', "config"),
    ]:
        whole = (base / name).read_text("utf-8")
        assert old in whole
        (base / name).write_text(whole.replace(old, new), "utf-8")
        with pytest.raises(BaseMismatchError) as caught:
            opened(work / "repo").load_model()
        assert caught.value.part == part
        (base / name).write_text(whole, "utf-8")
    opened(work / "repo").load_model()
    close(repo)


def test_a_damaged_cache_is_made_again(repo: Repo, work: Path) -> None:
    """Weights are computed from what is cached, so a flipped bit there may not go unseen."""
    repo.commit(FACTS)
    repo.compact(Restraint(prune=1.2))
    delta = repo.materialise()
    cache = work / ".editvc/cache"
    cached = [path for kind in ("whitening", "base") for path in (cache / kind).iterdir()]
    whole = {path: path.read_bytes() for path in cached}
    assert {path.parent.name for path in cached} == {"whitening", "base"}
    for path, data in whole.items():
        for damaged in (data[:-20] + bytes([data[-20] ^ 1]) + data[-19:], data[:40], b"", None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            assert same_bits(opened(work).materialise(), delta), path
            assert path.read_bytes() == data


def test_linear_layers_and_an_own_head_go_the_same_way(work: Path) -> None:
    """Llama's Linear beside GPT-2's Conv1D: one commit, one revert, one export."""
    made = prepare(work / "made", "llama")
    repo, other = made.copy(work / "one"), made.copy(work / "other")
    for fact in FACTS:
        repo.commit([fact])
    other.commit(FACTS)
    assert tree(repo) == tree(other)
    digests = [one.export(work / name).digest for one, name in ((repo, "a"), (other, "b"))]
    assert digests[0] == digests[1]
    name = "model.layers.2.mlp.down_proj.weight"
    base, edited = (
        load_file(folder / "model.safetensors")[name] for folder in (made.base, work / "a")
    )
    expected = (base.double() + repo.materialise().layers[2].dense()).float()
    assert torch.equal(edited, expected)
    repo.revert(FACTS[2].id[:10])
    assert repo.ask(FACTS[0].question) != repo.ask(FACTS[0].question, at="base")

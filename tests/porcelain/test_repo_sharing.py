"""``export`` and ``publish``: what leaves the repository is what HEAD is, checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub
from huggingface_hub import ModelCard
from repo_rounding import factors, located_rounding
from safetensors.torch import load_file
from tiny_models import lm_of
from tiny_repos import FACTS, FRESH, Prepared, close, contents, dense, tree
from tolerances import assert_near, assert_same_logits, rounding
from transformers import AutoModelForCausalLM, AutoTokenizer

from editvc import Repo
from editvc.core.history import Restraint
from editvc.core.ids import digest_of, short
from editvc.core.output_path import TargetError
from editvc.core.tensor_header import read_head, read_record
from editvc.errors import EditvcError, GateError
from editvc.interchange.delta_file import read_delta
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Checkpoint, Shard, weights_digest
from editvc.models.generation import generate
from editvc.porcelain import export, export_hf, export_lora, publish
from editvc.porcelain.export_result import ReloadDiffers
from editvc.porcelain.publish import HealthRefused
from editvc.publish.lock import Lock
from editvc.vcs.codec import metadata

TOUCHED = tuple(f"transformer.h.{layer}.mlp.c_proj.weight" for layer in (1, 2))


def plain(folder: Path) -> tuple[torch.nn.Module, object]:
    return (
        AutoModelForCausalLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )


# export ---------------------------------------------------------------------------------------


def test_a_whole_model_is_the_base_with_the_delta_added(
    repo: Repo, prepared: Prepared, work: Path
) -> None:
    repo.commit(FACTS)
    seen: list[str] = []
    repo.session.progress = lambda label, done, total: seen.append(label)
    done = repo.export(work / "out")
    assert {"writing", "hashing the base", "hashing the export"} <= set(seen)
    assert done.touched == TOUCHED
    assert done.digest != done.base_digest
    assert len(done.checks) == 3 and all("reloaded in transformers" in one for one in done.checks)
    base = load_file(prepared.base / "model.safetensors")
    made = load_file(work / "out" / "model.safetensors")
    for name, tensor in base.items():
        if name in TOUCHED:
            delta = dense(repo.materialise(), int(name.split(".")[2]))
            assert torch.equal(made[name], (tensor.double() + delta.T).float())
        else:
            assert torch.equal(made[name], tensor)
    model, tokenizer = plain(work / "out")
    said = generate(lm_of(model, tokenizer), FACTS[0].question, 6)
    assert said == repo.ask(FACTS[0].question, max_new_tokens=6)
    for name in ("config.json", "tokenizer.json"):
        assert (work / "out" / name).read_bytes() == (prepared.base / name).read_bytes()


def test_an_older_revision_is_exported_as_it_was(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    first = repo.export(work / "first")
    repo.commit(FACTS[2:])
    assert repo.export(work / "again", revision="1").digest == first.digest
    assert repo.export(work / "now").digest != first.digest
    base = repo.export(work / "base", revision="base")
    assert (base.digest, base.touched) == (base.base_digest, ())


def test_an_adapter_computes_what_head_computes(repo: Repo, work: Path) -> None:
    from peft import PeftModel

    repo.commit(FACTS)
    done = repo.export(work / "lora", format="lora")
    assert done.touched == TOUCHED and "PEFT" in done.checks[0]
    model, tokenizer = plain(Path(repo.session.materialiser.base.source))
    adapted = PeftModel.from_pretrained(model, str(work / "lora")).eval()
    ids = tokenizer(FACTS[3].question, return_tensors="pt").input_ids
    # Stored: two factors on one side, the weights that were made of them on the other.
    assert_same_logits(adapted, repo.load_model(), ids, stored=3, rank=len(FACTS))
    cut = repo.export(work / "cut", format="lora", rank=2)
    assert len(cut.checks) == 2 and all("rank 2, relative error 0." in one for one in cut.checks)
    assert cut.digest != done.digest


def test_an_adapter_says_how_vllm_serves_it(repo: Repo, work: Path) -> None:
    repo.commit(FACTS)
    done = repo.export(work / "lora", format="lora")
    assert done.commands == (), "vLLM has no adapters for Conv1D"
    at_head = repo.session.repository.read_tree(tree(repo))
    line = export_lora.served_by_vllm(16, str(work / "lora"), "org/base", at_head)
    assert line == (
        "vllm serve org/base --enable-lora --max-lora-rank 16 "
        f"--lora-modules edits-{short(tree(repo))}={work / 'lora'}"
    )


def test_exported_weights_name_their_tree_and_are_the_same_whatever_the_history(
    repo: Repo, work: Path
) -> None:
    repo.commit(FACTS[:2])
    named = {"kind": "weights", "tree": tree(repo)}
    files = {"hf": "model.safetensors", "lora": "adapter_model.safetensors"}
    for kind, file in files.items():
        repo.export(work / kind, format=kind)
        assert read_record(read_head(work / kind / file)) == named
        assert Shard.open(work / kind / file).metadata["format"] == "pt"
    before = repo.status().commit
    repo.revert("HEAD")
    repo.revert("HEAD")
    assert repo.status().commit != before and tree(repo) == named["tree"]
    for kind, file in files.items():
        repo.export(work / f"{kind} again", format=kind)
        again = (work / f"{kind} again" / file).read_bytes()
        assert again == (work / kind / file).read_bytes(), "of another commit"


def test_factors_alone_need_no_model(repo: Repo, work: Path) -> None:
    repo.commit(FACTS)
    repo.compact(Restraint(rank=3))
    done = repo.export(work / "delta", format="delta")
    delta, record = read_delta(work / "delta")
    assert record["tree"] == tree(repo) and record["base"] == repo.status().base
    assert done.touched == TOUCHED and done.base_digest is None
    for layer in (1, 2):
        assert delta.layers[layer].rank == 3, "under HEAD's restraint"
        part, bound = repo.materialise().layers[layer], rounding(1, torch.float32)
        assert_near(dense(delta, layer), part.dense(), bound, factors(part))
    assert "_loaded" not in vars(repo.session)


def test_targets_in_use_are_left_alone(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    mine = work / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for kind in ("hf", "lora", "delta"):
        with pytest.raises(TargetError):
            repo.export(mine, format=kind, replace=True)
        repo.export(work / kind, format=kind)
        with pytest.raises(TargetError, match="already holds an export"):
            repo.export(work / kind, format=kind)
        repo.export(work / kind, format=kind, replace=True)
    assert contents(mine) == {"notes.txt": b"mine"}
    with pytest.raises(EditvcError, match="unknown export format"):
        repo.export(work / "x", format="onnx")
    with pytest.raises(EditvcError, match="no edit"):
        repo.export(work / "x", format="lora", revision="base")
    assert not (work / "x").exists()


@pytest.mark.parametrize("difference", [0.5, float("nan")])
def test_an_export_that_answers_otherwise_is_not_kept(
    repo: Repo, work: Path, difference: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_lora, "verify_adapter", lambda *_: difference)
    monkeypatch.setattr(export_hf, "verify_reload", lambda _folder, _block, prompts, **_: prompts)
    repo.commit(FACTS[:2])
    for kind, told in (("lora", "by (0.5|nan) in a logit"), ("hf", "the export answers")):
        with pytest.raises(ReloadDiffers, match=told):
            repo.export(work / kind, format=kind)
        assert not (work / kind).exists()


@pytest.mark.parametrize("kind", ["hf", "lora", "delta"])
def test_documents_that_fail_leave_what_was_there(repo: Repo, work: Path, kind: str) -> None:
    def failing(*_args: object) -> dict[str, str]:
        raise EditvcError("no card")

    repo.commit(FACTS[:2])
    repo.export(work / "out", format=kind)
    before = contents(work / "out")
    repo.commit(FACTS[2:])
    with pytest.raises(EditvcError, match="no card"):
        export.export(repo.session, work / "out", format=kind, replace=True, documents=failing)
    assert contents(work / "out") == before


# publish --------------------------------------------------------------------------------------


def push(repo: Repo, hub: Hub, **options: object) -> object:
    return repo.publish("alice/tiny", token="hf_alice", endpoint=hub.url, **options)


def lenient(repo: Repo) -> None:
    """Limits that nothing exceeds: a random model is nobody's patient."""
    for name in ("norm_growth", "spectral", "condition", "drift", "capacity"):
        for kind in ("refuse", "warn"):
            repo.session.repository.set_config(f"health.{name}_{kind}", "1e9")
    repo.session.repository.set_config("health.correlation_refuse", "1e-9")
    repo.session.repository.set_config("health.correlation_warn", "1e-9")


def strict(repo: Repo) -> None:
    """A limit that every edit exceeds."""
    lenient(repo)
    repo.session.repository.set_config("health.capacity_warn", "1e-9")
    repo.session.repository.set_config("health.capacity_refuse", "1e-9")


def test_the_gate_refuses_and_nothing_is_sent(repo: Repo, hub: Hub) -> None:
    repo.commit(FACTS)
    strict(repo)
    with pytest.raises(HealthRefused) as caught:
        push(repo, hub)
    assert isinstance(caught.value, GateError) and caught.value.exit_code == 4
    assert any("capacity" in reason for reason in caught.value.reasons)
    assert "--force" in caught.value.hint
    assert hub.requests == [] and hub.repositories == {}
    forced = push(repo, hub, force=True)
    assert forced.overridden == caught.value.reasons
    card = hub.repositories["alice/tiny"].head["README.md"].decode()
    assert "Verdict: **refuse**" in card


@pytest.mark.parametrize("format", ["hf", "lora", "delta"])
def test_every_format_names_the_weights_of_the_base(repo: Repo, hub: Hub, format: str) -> None:
    repo.commit(FACTS[:2])
    lenient(repo)
    push(repo, hub, format=format)
    lock = json.loads(hub.repositories["alice/tiny"].head["editvc.lock.json"])
    before = weights_digest(Checkpoint(repo.session.materialiser.folder).digests())
    assert lock["export"]["base_digest"] == before


@pytest.mark.parametrize("format", ["hf", "lora", "delta"])
def test_no_path_of_this_machine_is_published(
    repo: Repo, hub: Hub, prepared: Prepared, format: str
) -> None:
    repo.commit(FACTS[:1])
    push(repo, hub, format=format)
    folder = str(prepared.base.parent).encode()
    files = hub.repositories["alice/tiny"].head
    assert [name for name, data in files.items() if folder in bytes(data)] == []
    assert prepared.base.name in files["README.md"].decode(), "but what it is called is"


def test_a_card_says_how_to_serve_it(repo: Repo, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit(FACTS)
    push(repo, hub)
    card = hub.repositories["alice/tiny"].head["README.md"].decode()
    assert "\nvllm serve alice/tiny\n" in card
    push(repo, hub, format="lora")
    card = hub.repositories["alice/tiny"].head["README.md"].decode()
    assert "vllm serve" not in card, "vLLM has no adapters for Conv1D"
    at_head = repo.session.repository.read_tree(tree(repo))
    monkeypatch.setattr(Architecture, "transposed", property(lambda _: False))
    (line,) = export_lora.serving_from_hub(repo.session, at_head, "alice/tiny")
    assert line == (
        "vllm serve base --enable-lora --max-lora-rank 8 "
        f"--lora-modules edits-{short(tree(repo))}=alice/tiny"
    )


def test_what_is_judged_is_what_is_pushed_wherever_head_goes(
    repo: Repo, hub: Hub, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = repo.commit(FACTS[:2]).commit
    lenient(repo)
    health = publish.check_health

    def slow(*args: Any) -> Any:
        report = health(*args)
        Repo(work).commit(FACTS[2:])  # someone else's commit, in the meantime
        return report

    monkeypatch.setattr(publish, "check_health", slow)
    push(repo, hub)
    lock = json.loads(hub.repositories["alice/tiny"].head["editvc.lock.json"])
    assert lock["tree"] == judged.tree
    assert len(lock["edits"]) == judged.live


def test_what_is_published_can_be_loaded_and_made_again(
    repo: Repo, hub: Hub, prepared: Prepared, work: Path
) -> None:
    repo.commit(FACTS[:2], message="Capitals")
    repo.commit(FACTS[2:], message="The others")
    repo.revert(FACTS[3].id[:12])
    lenient(repo)
    done = push(repo, hub, private=True)
    assert done.overridden == () and done.commit in done.url
    remote = hub.repositories["alice/tiny"]
    assert remote.private
    assert remote.messages[remote.refs["main"]] == repo.log()[0].message
    files = remote.head
    (work / "export").mkdir()
    local = repo.export(work / "export")
    assert local.digest == done.digest
    assert done.warnings == local.warnings != (), "the tiny model says nothing it was edited to"
    (work / "published").write_bytes(files["model.safetensors"])
    sent, kept = (
        Shard.open(path) for path in (work / "published", work / "export" / "model.safetensors")
    )
    assert read_record(sent.header) == read_record(kept.header) | {"commit": repo.log()[0].id}
    assert (
        files["model.safetensors"][len(sent.header) :]
        == ((work / "export" / "model.safetensors").read_bytes()[len(kept.header) :])
    )

    live = [fact for fact in FACTS if fact is not FACTS[3]]
    commits = {row.number: row.id for row in repo.log()}
    ledger = [json.loads(line) for line in files["editvc.ledger.jsonl"].splitlines()]
    assert {row["fact"]: row["commit"] for row in ledger} == {
        fact.id: commits[1 if fact in FACTS[:2] else 2] for fact in live
    }
    card = files["README.md"].decode()
    for fact in live:
        assert fact.target_new in card
    assert FACTS[3].target_new not in card
    for text in (done.digest, tree(repo), "Verdict: **ok**", "mom2_update_weight", *TOUCHED):
        assert text in card
    assert repo.status().commit in card

    lock = Lock.from_bytes(files["editvc.lock.json"])
    assert (lock.tree, lock.base.id) == (tree(repo), repo.status().base)
    assert lock.recipes == (repo.recipe(),)
    assert {edit.fact for edit in lock.edits} == set(live)
    assert lock.export["digest"] == done.digest
    rebuilt(lock, repo, prepared, work)


def rebuilt(lock: Lock, repo: Repo, prepared: Prepared, work: Path) -> None:
    """By the lock, the base and the texts alone, somebody else makes the weights of HEAD."""
    stranger = Repo.init(work / "stranger", str(prepared.base), layers=lock.recipes[0].layers,
                         texts=[prepared.text], entities=prepared.names)  # fmt: skip
    for recipe in lock.recipes:
        for name, value in recipe.to_json().items():
            if name != "kind":
                text = value if isinstance(value, str) else json.dumps(value)
                stranger.session.repository.set_config(f"recipe.{name}", text)
        assert stranger.recipe() == recipe
        mine = [edit for edit in lock.edits if edit.recipe == recipe.id]
        for batch in {edit.batch for edit in mine}:
            done = stranger.commit([edit.fact for edit in mine if edit.batch == batch])
            if batch is not None:
                stranger.squash(f"{done.commit.number}..{done.commit.number}")
    for layer in (1, 2):
        bound = sum(located_rounding(repo, one, repo.live(), layer) for one in lock.recipes)
        assert_near(dense(stranger.materialise(), layer), dense(repo.materialise(), layer), bound)
    close(stranger)


def test_a_mixed_tree_can_be_made_again_too(
    repo: Repo, hub: Hub, prepared: Prepared, work: Path
) -> None:
    light = repo.recipe()
    repo.commit(FACTS[:3])
    repo.session.repository.set_config("recipe.mom2_update_weight", "5000")
    heavy = repo.recipe()
    repo.commit(FACTS[3:])
    repo.squash("2..2")
    repo.session.repository.set_config("recipe.mom2_update_weight", "7")
    lenient(repo)
    push(repo, hub)
    files = hub.repositories["alice/tiny"].head
    expected = {fact.id: light.id for fact in FACTS[:3]} | {fact.id: heavy.id for fact in FACTS[3:]}
    lock = Lock.from_bytes(files["editvc.lock.json"])
    assert {recipe.id for recipe in lock.recipes} == {light.id, heavy.id}, "none that is in force"
    assert {edit.fact.id: edit.recipe for edit in lock.edits} == expected
    batch = digest_of(sorted(fact.id for fact in FACTS[3:]))
    assert {edit.fact: edit.batch for edit in lock.edits} == {
        fact: batch if fact in FACTS[3:] else None for fact in FACTS
    }
    store = repo.session.repository.store
    assert lock.statistics == {
        name: metadata(store.get(name))
        for name in (light.statistics, light.entity_statistics, light.sensitivity)
    }
    ledger = [json.loads(line) for line in files["editvc.ledger.jsonl"].splitlines()]
    assert {row["fact"]: row["recipe"] for row in ledger} == expected
    assert files["README.md"].decode().count('"mom2_update_weight"') == 2
    rebuilt(lock, repo, prepared, work)


def test_the_card_says_how_to_make_it_again(repo: Repo, hub: Hub, work: Path) -> None:
    """Its commands: for anybody, and without a bundle for whoever has the repository."""
    base = work / "base"
    shutil.copytree(repo.session.materialiser.base.source, base)
    (base / "README.md").write_text("---\nlicense: mit\nlanguage: fr\n---\n# Its base\n")
    repo.session.repository.set_config("base.model", str(base))
    vars(repo.session).pop("materialiser")
    repo.commit(FACTS[:2])
    head = repo.status().commit
    lenient(repo)
    push(repo, hub)
    card = hub.repositories["alice/tiny"].head["README.md"].decode()
    lines = card.split("```sh\n")[-1].split("\n```")[0].splitlines()
    assert lines == [f"editvc {verb} DIR --base base" for verb in
                     ("rebuild alice/tiny -o", "clone alice/tiny")]  # fmt: skip
    done = push(repo, hub, bundle=False)
    card = hub.repositories["alice/tiny"].head["README.md"].decode()
    assert card.startswith("---\n") and "license: mit\n" in card and "language: fr\n" in card
    (line,) = card.split("```sh\n")[-1].split("\n```")[0].splitlines()
    assert line == f"editvc export {head[:10]} --to DIR --format hf"
    repo.commit(FACTS[2:])
    assert repo.export(work / "again", revision=head[:10]).digest == done.digest


def test_the_card_says_what_was_measured_of_this_version_alone(repo: Repo, hub: Hub) -> None:
    lenient(repo)
    repo.commit(FACTS[:1])
    asked = repo.evaluate()
    repo.commit(FACTS[1:2])
    push(repo, hub, revision="HEAD~1")
    told = ModelCard(hub.repositories["alice/tiny"].head["README.md"].decode()).data.eval_results
    assert {one.metric_type: one.metric_value for one in told}["generated"] == asked.generated
    push(repo, hub)
    now = ModelCard(hub.repositories["alice/tiny"].head["README.md"].decode())
    assert now.data.eval_results is None, "nobody has asked this one"


def test_other_formats_other_revisions_and_pull_requests(repo: Repo, hub: Hub) -> None:
    repo.commit(FACTS[:2])
    repo.commit(FRESH[:1])
    lenient(repo)
    push(repo, hub, format="lora", revision="1", message="An adapter")
    remote = hub.repositories["alice/tiny"]
    assert "adapter_model.safetensors" in remote.head and "model.safetensors" not in remote.head
    assert len(remote.head["editvc.ledger.jsonl"].splitlines()) == 2
    assert remote.messages[remote.refs["main"]] == "An adapter"
    before = remote.refs["main"]
    proposed = push(repo, hub, format="delta", create_pr=True)
    assert remote.refs["main"] == before and "discussions" in proposed.url
    push(repo, hub, format="delta")
    assert "delta.safetensors" in remote.head
    assert "adapter_model.safetensors" not in remote.head, "what would mix is taken away"
    lock = Lock.from_bytes(remote.head["editvc.lock.json"])
    assert lock.tree == tree(repo) and len(lock.edits) == 3

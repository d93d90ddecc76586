"""Imported patches in a repository: they add to the weights, travel with the tree, come out."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_models import same_parameters
from tiny_repos import FACTS, Prepared, close, contents, prepare, same_bits, tree
from tolerances import assert_near, assert_same_logits, error, rounding, size
from transformers import AutoModelForCausalLM
from vcs_values import quick_folder

from editvc import Repo
from editvc.core.history import Restraint
from editvc.core.methods.recipe import RecipeError
from editvc.interchange.base_weights import ImportRefused
from editvc.interchange.peft_writer import AdapterError
from editvc.session.recording import NothingToDo

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

IDS = torch.tensor([[5, 61, 7, 80, 9, 200]])


def loaded(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


def make_adapter(base: Path, folder: Path, targets: list[str], seed: int = 1) -> Path:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        config = LoraConfig(r=3, lora_alpha=5, target_modules=targets)
        model = get_peft_model(loaded(base), config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.3)
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def adapters(prepared: Prepared) -> dict[str, Path]:
    """Of attention and MLP, one with the down projections of all layers and one without."""
    base, to = prepared.base, prepared.base.parent
    return {
        "all": make_adapter(base, to / "all", ["c_attn", "c_proj", "c_fc"]),
        "attention": make_adapter(base, to / "attention", ["c_attn"], seed=2),
    }


@pytest.fixture(scope="session")
def checkpoint(prepared: Prepared) -> Path:
    """The base with every parameter moved a little."""
    model, draw = loaded(prepared.base), torch.Generator().manual_seed(4)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape, generator=draw)
    folder = prepared.base.parent / "checkpoint"
    model.save_pretrained(folder)
    return folder


def in_peft(base: Path, adapter: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(loaded(base), adapter).eval()


def test_an_imported_adapter_answers_as_in_peft(
    prepared: Prepared, repo: Repo, adapters: dict[str, Path]
) -> None:
    done = repo.import_patch(adapters["all"])
    peft = in_peft(prepared.base, adapters["all"])
    assert error(logits(repo.load_model("base")), logits(peft)) > 0.1
    # Stored: two factors, and the weights that were made of them.
    assert_same_logits(repo.load_model(), peft, IDS, stored=3, rank=3)
    commit = done.result.commit
    assert (commit.number, commit.edits, commit.live) == (1, 0, 0)
    assert commit.message == "Import lora all"
    assert len(done.preview.ranks) == 16 and set(done.preview.ranks.values()) == {3}


@pytest.mark.parametrize("family", ["llama"])
def test_a_family_of_linear_modules(family: str) -> None:
    with quick_folder() as folder:
        made = prepare(folder, family)
        repo = made.copy(folder / "copy")
        targets = ["q_proj", "v_proj", "o_proj", "down_proj", "lm_head"]
        adapter = make_adapter(made.base, folder / "adapter", targets)
        repo.import_patch(adapter)
        peft = in_peft(made.base, adapter)
        for format in ("hf", "lora"):
            repo.export(folder / format, format=format)
        # Stored: two factors, and the weights that were made of them, or two more factors.
        assert_same_logits(repo.load_model(), peft, IDS, stored=3, rank=3)
        assert_same_logits(loaded(folder / "hf"), peft, IDS, stored=3, rank=3)
        assert_same_logits(in_peft(made.base, folder / "lora"), peft, IDS, stored=4, rank=3)
        close(repo)


def test_facts_go_on_top_and_the_import_comes_out_again(
    repo: Repo, prepared: Prepared, work: Path, adapters: dict[str, Path]
) -> None:
    repo.commit(FACTS[:2])
    repo.import_patch(adapters["all"])
    repo.commit(FACTS[2:4])
    both = tree(repo)
    assert len(repo.status().patches) == 1 and repo.status().live == 4
    repo.revert("HEAD~1")
    other = prepared.copy(work / "other")
    other.commit(FACTS[:4])
    assert tree(repo) == tree(other)
    assert same_bits(repo.materialise(), other.materialise())
    assert repo.materialise().weights == {}
    with pytest.raises(NothingToDo, match="nothing of commit"):
        repo.revert("HEAD~2")
    repo.revert("HEAD")
    assert tree(repo) == both
    repo.revert(FACTS[0].id)
    assert len(repo.status().patches) == 1, "a fact's revert leaves imports alone"


def test_order_and_way_do_not_show(
    repo: Repo, prepared: Prepared, work: Path, adapters: dict[str, Path]
) -> None:
    other = prepared.copy(work / "other")
    repo.import_patch(adapters["all"])
    repo.commit(FACTS[:3])
    repo.import_patch(adapters["attention"])
    other.import_patch(adapters["attention"])
    other.import_patch(adapters["all"])
    other.commit(FACTS[:3])
    assert tree(repo) == tree(other)
    mine, theirs = repo.materialise(), other.materialise()
    assert same_bits(mine, theirs)
    for name, part in mine.weights.items():
        assert torch.equal(part.dense(), theirs.weights[name].dense())
    assert mine.weights["transformer.h.0.attn.c_attn.weight"].rank == 6, "both adapters' change"


def test_a_commit_stores_its_change_and_they_add_up(repo: Repo, adapters: dict[str, Path]) -> None:
    from editvc.algebra.delta import Delta, delta_from_bytes
    from editvc.algebra.factored import Factored

    repo.commit(FACTS[:2])
    repo.import_patch(adapters["all"])
    repo.commit(FACTS[2:3])
    repo.revert("HEAD~1")
    total = Delta()
    for row in repo.log():
        total = total + delta_from_bytes(repo.session.repository.store.get(row.delta))[0]
    now = repo.materialise()

    def assert_adds_up(part: Factored, expected: torch.Tensor) -> None:
        """Factors rounded to float32: to an eps of each |L| |R|, even where they cancel."""
        scale = size(part.left) * size(part.right)
        assert_near(part.dense(), expected, rounding(1, torch.float32), scale)

    for layer, part in total.layers.items():
        want = now.layers[layer].dense() if layer in now.layers else torch.zeros(32, 128).double()
        assert_adds_up(part, want)
    for part in total.weights.values():
        assert_adds_up(part, torch.zeros(part.shape))


def test_exports_load_and_equal_the_revision(
    repo: Repo, work: Path, prepared: Prepared, adapters: dict[str, Path]
) -> None:
    from editvc.interchange.delta_file import read_delta

    repo.import_patch(adapters["all"])
    repo.commit(FACTS[:2])
    whole = repo.export(work / "hf")
    assert same_parameters(loaded(work / "hf"), repo.load_model())
    assert "transformer.h.0.attn.c_attn.weight" in whole.touched
    repo.export(work / "lora", format="lora")
    # Stored: the adapter's two factors on one side, the weights on the other.
    adapted = in_peft(prepared.base, work / "lora")
    assert_same_logits(adapted, repo.load_model(), IDS, stored=3, rank=5)
    alone = repo.export(work / "delta", format="delta")
    delta, _ = read_delta(work / "delta")
    assert set(alone.touched) == set(whole.touched)
    for name, part in repo.materialise().weights.items():
        assert torch.equal(delta.weights[name].left, part.left.float().double())


def test_a_difference_is_the_other_checkpoint(
    repo: Repo, work: Path, checkpoint: Path, adapters: dict[str, Path]
) -> None:
    done = repo.import_patch(checkpoint, energy=1.0)
    assert done.preview.kind == "difference" and done.preview.error == 0.0
    # Stored: the difference, and its sum with the base.
    assert_same_logits(repo.load_model(), loaded(checkpoint), IDS, stored=2)
    repo.export(work / "hf")
    assert same_parameters(loaded(work / "hf"), repo.load_model())
    with pytest.raises(AdapterError, match="linear modules only"):
        repo.export(work / "lora", format="lora")
    repo.revert("HEAD")
    assert repo.materialise().is_empty
    rough = repo.import_patch(checkpoint, rank=2)
    assert 0 < rough.preview.error < 1
    assert set(rough.preview.errors) == set(rough.preview.ranks)


def test_what_is_nothing_new_is_not_committed(
    repo: Repo, work: Path, prepared: Prepared, adapters: dict[str, Path], checkpoint: Path
) -> None:
    before = contents(work)
    seen = repo.preview_import(adapters["all"])
    assert "16 weights changed, rank 3 at most" in seen.summary()
    with pytest.raises(NothingToDo, match="changes nothing"):
        repo.import_patch(prepared.base)
    with pytest.raises(ImportRefused, match="this is an adapter"):
        repo.import_patch(adapters["all"], rank=2)
    after = contents(work)
    assert {name for name in after if after[name] != before.get(name)} <= {".editvc/index.db"}
    repo.import_patch(checkpoint, rank=1)
    with pytest.raises(NothingToDo, match="imported already"):
        repo.import_patch(checkpoint, rank=2)


def test_restraints_act_on_down_projections_alone(repo: Repo, adapters: dict[str, Path]) -> None:
    repo.commit(FACTS)
    repo.import_patch(adapters["all"])
    free = repo.materialise()
    for restraint in (Restraint(rank=1), Restraint(prune=1.2), Restraint(drop=0.5)):
        repo.compact(restraint)
        held = repo.materialise()
        assert held.layers.keys() == free.layers.keys()
        for name, part in held.weights.items():
            assert torch.equal(part.dense(), free.weights[name].dense())
        assert not same_bits(held, free)


def test_history_names_what_was_imported(repo: Repo, adapters: dict[str, Path]) -> None:
    done = repo.import_patch(adapters["attention"])
    repo.commit(FACTS[:1])
    (patch,) = repo.status().patches
    assert (patch.kind, patch.source) == ("lora", "attention")
    assert repo.changes("base", "HEAD").patches.imported == (patch,)
    assert repo.changes("HEAD", "base").patches.left_out == (patch,)
    assert repo.changes("HEAD~1", "HEAD").patches.imported == ()
    assert patch.digest == done.preview.digest
    plan = repo.preview_revert("HEAD~1")
    assert plan.changes.patches.left_out == (patch,)
    assert f"- patch {patch}" in plan.summary()
    name = "transformer.h.3.attn.c_attn.weight"
    norms = repo.delta_norms("base", "HEAD")
    part = repo.materialise().weights[name]
    assert_near(norms[name], part.frobenius(), rounding(part.left.numel() + part.right.numel()))
    assert repo.delta_norms("HEAD", "HEAD")[name] == 0.0


def test_health_lists_what_it_cannot_judge(repo: Repo, adapters: dict[str, Path]) -> None:
    repo.import_patch(adapters["all"])
    report = repo.health()
    assert [one.layer for one in report.layers] == [1, 2], "those with statistics"
    assert all(one.edits == 0 and one.drift > 0 for one in report.layers)
    others = dict(report.others)
    assert len(others) == 14
    assert report.verdict != "ok" and any("12 changed weights" in one for one in report.reasons)
    lowest = repo.materialise().layers[0]
    terms = lowest.left.numel() + lowest.right.numel()
    name = "transformer.h.0.mlp.c_proj.weight"
    assert_near(others[name], lowest.frobenius(), rounding(terms))
    norm = dict(repo.log()[0].health)["delta_norm"]
    assert_near(norm, repo.materialise().norm(), rounding(terms))


def test_fsck_follows_patches(repo: Repo, adapters: dict[str, Path]) -> None:
    done = repo.import_patch(adapters["all"])
    report = repo.fsck()
    assert report.clean and dict(report.counts)["patch"] == 1
    assert done.patch.id not in report.garbage
    path = next((repo.session.repository.folder / "objects").rglob(done.patch.id[2:]))
    path.unlink()
    assert any(done.patch.id in problem.what for problem in repo.fsck().errors)


def test_no_fact_is_committed_with_it(repo: Repo) -> None:
    with pytest.raises(RecipeError, match="makes nothing of facts") as caught:
        repo.choose("lora")
    assert "import" in caught.value.hint


def test_a_squash_leaves_imports_where_they_were(repo: Repo, adapters: dict[str, Path]) -> None:
    repo.commit(FACTS[:2])
    repo.import_patch(adapters["attention"])
    repo.commit(FACTS[2:3])
    repo.revert("HEAD~1")
    counts = [len(repo.session.repository.tree_of(row.id).patches) for row in repo.log()]
    assert counts == [0, 1, 1, 0]
    repo.squash("1..1")
    counts = [len(repo.session.repository.tree_of(row.id).patches) for row in repo.log()]
    assert counts == [0, 1, 1, 0]


def test_dry_run_and_import_refuse_alike(repo: Repo, prepared: Prepared, work: Path) -> None:
    """The one said "8 weights changed" where the other refused."""
    adapter = make_adapter(prepared.base, work / "adapter", ["c_attn"])
    path = adapter / "adapter_model.safetensors"
    sound = load_file(path)
    name = next(name for name in sound if "lora_B" in name)
    for value, told in [(torch.nan, name), (torch.inf, name), (3e38, "float32")]:
        save_file(sound | {name: torch.full_like(sound[name], value)}, path)
        for attempt in (repo.preview_import, repo.import_patch):
            with pytest.raises(ImportRefused, match=told):
                attempt(adapter)
    save_file({n: t * ("lora_B" not in n) for n, t in sound.items()}, path)
    for attempt in (repo.preview_import, repo.import_patch):
        with pytest.raises(NothingToDo, match="changes nothing"):
            attempt(adapter)
    assert repo.status().commit is None


def test_dry_runs_refuse_what_the_commands_refuse(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    repo.compact(Restraint(rank=3))
    for attempt in (repo.compact, repo.preview_compact):
        with pytest.raises(NothingToDo, match="already"):
            attempt(Restraint(rank=3))
    for attempt in (repo.squash, repo.preview_squash):
        with pytest.raises(NothingToDo, match="nothing to squash"):
            attempt("2..2")
    repo.create_branch("other", at="1")
    repo.commit(FACTS[1:2])
    here = repo.status().commit
    repo.switch("other")
    for attempt in (repo.squash, repo.preview_squash):
        with pytest.raises(NothingToDo, match="current branch"):
            attempt(f"1..{here}")

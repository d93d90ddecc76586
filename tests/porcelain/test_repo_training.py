"""MEND in a repository: an editor is trained, stored, and commits are made with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from repo_rounding import factors
from tiny_models import same_parameters
from tiny_repos import FACTS, FRESH, OTHERS, contents, dense, same_bits, tree
from tolerances import assert_near, rounding, size
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.core.history import Restraint
from editvc.core.methods.recipe import NoSuchLayer, RecipeError
from editvc.editing.mend import edit
from editvc.editing.mend_editor import Editor, EditorError
from editvc.editing.mend_training import TooFewFacts
from editvc.errors import EditvcError
from editvc.materialise.editors import NoEditor
from editvc.models.loading import load, quiet_loading
from editvc.models.source import open_model
from editvc.porcelain.configure import configure
from editvc.session.choose_recipe import EDITOR
from editvc.vcs.codec import metadata

LEARNT = (*FACTS[2:], *FRESH)
EDITS = FACTS[:2]


@pytest.fixture
def trained(repo: Repo) -> Repo:
    """A repository with an editor of two steps."""
    repo.train_mend(LEARNT, steps=2)
    return repo


def test_without_an_editor_a_commit_says_what_to_do(repo: Repo) -> None:
    before = contents(repo.session.repository.folder)
    recipe = repo.choose("mend").recipe
    assert recipe.layers == (1, 2, 3)
    with pytest.raises(NoEditor) as caught:
        repo.commit(EDITS, recipe=recipe)
    assert "editvc train mend" in caught.value.hint
    assert contents(repo.session.repository.folder) == before


def test_a_trained_editor_is_stored_and_in_force(repo: Repo) -> None:
    heard: list[str] = []
    garbage = repo.fsck().garbage
    done = repo.train_mend([*LEARNT, LEARNT[0]], steps=2, remark=heard.append)
    record = metadata(repo.session.repository.store.get(done.editor))
    assert record["kind"] == "editor" and record["base"] == repo.session.repository.config.base.id
    assert (record["facts"], record["seed"], record["settings"]["steps"]) == (len(LEARNT), 0, 2)
    assert repo.session.repository.config.get(EDITOR) == done.editor
    assert len(heard) == 1 and heard[0].startswith("step 2: ")
    assert done.figures["validation"].keys() == {
        "success", "paraphrase", "locality", "nll", "kl",
    }  # fmt: skip
    report = repo.fsck()
    assert report.clean and report.garbage == garbage and dict(report.counts)["editor"] == 1
    assert repo.train_mend(LEARNT, steps=2).editor == done.editor
    other = repo.train_mend(LEARNT, steps=2, seed=1)
    assert other.editor != done.editor
    assert set(repo.fsck().garbage) == {done.editor, *garbage}


def test_commits_are_the_patches_of_the_library_and_revert_takes_them_out(trained: Repo) -> None:
    recipe = trained.choose("mend").recipe
    trained.commit(EDITS[:1], recipe=recipe)
    one, alone = tree(trained), trained.materialise()
    trained.commit(EDITS[1:], recipe=recipe)
    lm = load(open_model(str(trained.session.materialiser.folder)))
    data = trained.session.repository.store.get(trained.session.repository.config.get(EDITOR))
    requests = [fact.request for fact in EDITS]
    patches = edit(lm, requests, recipe, Editor.from_bytes(data, metadata(data)))
    both = trained.materialise()
    for layer in (1, 2, 3):
        parts = [patch.delta.layers[layer] for patch in patches]
        total, scale = sum(part.dense() for part in parts), sum(map(factors, parts))
        assert_near(dense(both, layer), total, rounding(1, torch.float32), scale)
    trained.revert(EDITS[1].id)
    assert tree(trained) == one and same_bits(trained.materialise(), alone)
    trained.revert(EDITS[0].id)
    assert trained.materialise().is_empty
    assert trained.fsck().clean


def test_patches_live_beside_located_edits(trained: Repo) -> None:
    trained.commit(FACTS[2:4])
    located = trained.materialise()
    trained.commit(EDITS, recipe=trained.choose("mend").recipe)
    assert set(trained.materialise().layers) == {1, 2, 3}
    trained.commit(OTHERS[:1], recipe=trained.choose("mend").recipe, supersede=True)
    trained.revert(OTHERS[0].id)
    trained.revert(EDITS[1].id)
    assert same_bits(trained.materialise(), located)


def test_an_old_editor_is_needed_as_long_as_its_edits(trained: Repo) -> None:
    first = trained.session.repository.config.get(EDITOR)
    trained.commit(EDITS, recipe=trained.choose("mend").recipe)
    second = trained.train_mend(LEARNT, steps=2, layers=[0, 2]).editor
    recipe = trained.choose("mend").recipe
    assert (recipe.editor, recipe.layers) == (second, (0, 2))
    again = trained.choose("mend", options=[f"editor={first}", "lr_scale=0.5"]).recipe
    assert (again.editor, again.layers, again.lr_scale) == (first, (1, 2, 3), 0.5)
    assert trained.choose("mend", options=[f"editor={first[:8]}"]).recipe.editor == first
    configure(trained.session, "mend.editor", first[:8])
    assert trained.session.repository.config.get(EDITOR) == first
    assert trained.fsck().clean and first not in trained.fsck().garbage
    trained.session.repository.store.path(first).unlink()
    problems = [problem.what for problem in trained.fsck().errors]
    assert any(f"needs editor {first}" in what for what in problems)


def test_an_editor_in_the_wrong_place_is_named(trained: Repo) -> None:
    statistics = trained.recipe().statistics
    trained.session.repository.set_config("mend.editor", statistics)
    assert [problem.where for problem in trained.fsck().errors] == ["config.toml"]
    with pytest.raises(EditvcError):
        trained.commit(EDITS, recipe=trained.choose("mend").recipe)


def test_an_editor_of_another_base_is_refused(trained: Repo) -> None:
    stored = trained.session.repository.store
    data = stored.get(trained.session.repository.config.get(EDITOR))
    record = metadata(data)
    foreign = Editor.from_bytes(data, record | {"base": "0" * 64})
    trained.session.repository.set_config("mend.editor", stored.put(foreign.to_bytes()))
    with pytest.raises(EditorError, match="another base"):
        trained.commit(EDITS, recipe=trained.choose("mend").recipe)


def test_a_plan_writes_nothing(repo: Repo, tmp_path: Path) -> None:
    before = contents(repo.session.repository.folder)
    plan = repo.plan_mend(LEARNT, layers=[0, 1], steps=7)
    assert plan.to_json()["held_out"] == 1 and plan.settings.layers == (0, 1)
    assert "at most 7 steps" in plan.summary()
    for wrong, layers in ((NoSuchLayer, [3, 4]), (RecipeError, [2, 1]), (RecipeError, [])):
        with pytest.raises(wrong):
            repo.plan_mend(LEARNT, layers=layers)
    with pytest.raises(TooFewFacts):
        repo.train_mend(LEARNT[:2])
    assert contents(repo.session.repository.folder) == before


def test_training_finds_the_same_editor_in_a_copy(trained: Repo, tmp_path: Path) -> None:
    shutil.copytree(trained.session.repository.folder, tmp_path / ".editvc")
    copy = Repo(tmp_path)
    assert copy.train_mend(LEARNT, steps=2).editor == trained.session.repository.config.get(EDITOR)


def test_an_editor_is_for_all_matrices_or_for_down_projections(trained: Repo) -> None:
    stored = trained.session.repository
    whole = stored.config.get(EDITOR)
    down = trained.train_mend(LEARNT, steps=2, matrices="down").editor
    records = [metadata(stored.store.get(one)) for one in (whole, down)]
    assert [record.get("matrices") for record in records] == [["up", "down"], None]
    assert [record["settings"].get("matrices") for record in records] == ["mlp", None]
    assert "(down projections alone)" in trained.plan_mend(LEARNT, matrices="down").summary()
    trained.commit(EDITS[:1], recipe=trained.choose("mend").recipe)
    assert not trained.materialise().weights
    trained.commit(EDITS[1:], recipe=trained.choose("mend", options=[f"editor={whole}"]).recipe)
    both = trained.materialise()
    assert set(both.weights) == {f"transformer.h.{layer}.mlp.c_fc.weight" for layer in (1, 2, 3)}
    assert set(both.layers) == {1, 2, 3}
    with pytest.raises(EditorError, match="got 'up'"):
        trained.plan_mend(LEARNT, matrices="up")  # type: ignore[arg-type]


def test_changes_of_all_matrices_are_exported_judged_and_restrained(
    trained: Repo, work: Path
) -> None:
    trained.commit(EDITS, recipe=trained.choose("mend").recipe)
    edited = trained.load_model()
    trained.export(work / "out")
    again = AutoModelForCausalLM.from_pretrained(work / "out", dtype=torch.float32)
    assert same_parameters(again, edited)
    base = trained.load_model("base")
    trained.export(work / "adapter", format="lora")
    with quiet_loading():
        adapted = PeftModel.from_pretrained(trained.load_model("base"), work / "adapter")
    merged = adapted.merge_and_unload()
    names = {name for name, _ in trained.health().others}
    assert names >= {f"transformer.h.{layer}.mlp.c_fc.weight" for layer in (1, 2, 3)}
    for name in names:
        before, after = base.get_parameter(name), edited.get_parameter(name)
        assert not torch.equal(before, after)
        # A product of two factors in float32, added to the weight.
        change = rounding(after.shape[0], torch.float32, scale=size(after - before) / size(after))
        assert_near(merged.get_parameter(name), after, rounding(2, torch.float32) + change)
    before = trained.materialise()
    trained.compact(Restraint(rank=1))
    after = trained.materialise()
    assert {part.rank for part in after.layers.values()} == {1}
    for name, part in before.weights.items():  # a restraint is for down projections
        assert part.rank > 1 and torch.equal(after.weights[name].dense(), part.dense())

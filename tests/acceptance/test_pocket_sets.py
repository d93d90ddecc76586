"""The promise on the pocket model: equal sets give equal weights, whatever the history.

The short run uses a few facts; ``pytest -m slow`` runs the same with 200.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from repo_rounding import located_rounding
from tiny_repos import same_bits
from tolerances import assert_near

import editvc
from editvc.algebra.delta import Delta

EDITS = Path(__file__).resolve().parents[2] / "examples" / "pocket" / "edits.jsonl"


def facts(count: int) -> list[dict]:
    lines = EDITS.read_text(encoding="utf-8").splitlines()[:count]
    return [json.loads(line) for line in lines]


def elsewhere(place: Path, **options: object) -> editvc.Repo:
    """The repository as another process has it: nothing in memory, nothing in the cache."""
    shutil.rmtree(place / ".editvc" / "cache")
    return editvc.Repo(place, **options)


def weights(repo: editvc.Repo, folder: Path, revision: str = "HEAD") -> tuple[Delta, bytes]:
    """The delta of a revision, and the weights in its export."""
    repo.export(folder, revision=revision)
    return repo.materialise(revision), (folder / "model.safetensors").read_bytes()


def same(one: tuple[Delta, bytes], other: tuple[Delta, bytes]) -> bool:
    return same_bits(one[0], other[0]) and one[1] == other[1]


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_history_leaves_no_trace_in_the_weights(count: int, tmp_path: Path) -> None:
    written, place = facts(count), tmp_path / "a"
    located: list[int] = []

    def progress(label: str, done: int, total: int) -> None:
        if (label, done) == ("targets", 0):
            located.append(total)

    repo = editvc.Repo.init(place, "pocket", progress=progress)
    together = repo.commit(written)
    assert together.skipped == () and together.commit.live == count
    repo.create_branch("batch")
    assert located == [count]

    # Without its edits the model is the base, whatever HEAD holds.
    base = weights(repo, tmp_path / "base", "base")
    reverted = repo.revert("HEAD")
    assert reverted.commit.live == 0
    assert same(weights(repo, tmp_path / "reverted"), base)

    # The same facts one by one, in another order, on a branch that begins at the base.
    repo = elsewhere(place, progress=progress)
    repo.create_branch("singles")
    repo.switch("singles")
    for fact in reversed(written):
        single = repo.commit([fact])
    assert single.commit.tree == together.commit.tree
    assert located == [count], "no fact was located twice"
    one = weights(repo, tmp_path / "one")
    many = weights(elsewhere(place), tmp_path / "many", "batch")
    assert same(one, many)
    assert not same_bits(one[0], base[0]) and one[1] != base[1]

    # Reverting half of them equals never having made them.
    for step in range(count // 2):
        repo.revert(f"{repo.status().number - 2 * step}")
    kept, undone = repo.status(), weights(repo, tmp_path / "undone")
    assert kept.live == count - count // 2
    repo = elsewhere(place)
    repo.switch("batch")
    repo.revert("HEAD")
    never = repo.commit(written[count // 2 :])
    assert never.commit.tree == kept.tree
    assert same(weights(repo, tmp_path / "never"), undone)
    assert undone[1] not in (one[1], base[1])


@pytest.mark.parametrize("count", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_located_afresh_the_weights_agree_and_so_do_the_answers(count: int, tmp_path: Path) -> None:
    written = facts(count)
    first = editvc.Repo.init(tmp_path / "a", "pocket")
    first.commit(written)
    second = editvc.Repo.init(tmp_path / "b", "pocket")
    for start in range(0, count, 5):  # other batches, so other roundings
        second.commit(written[start : start + 5])
    deltas = [repo.materialise("HEAD") for repo in (first, second)]
    for layer in deltas[0].layers:
        one, two = (delta.layers[layer].dense() for delta in deltas)
        assert_near(one, two, located_rounding(first, first.recipe(), first.live()[:12], layer))
    trees = [repo.session.repository.tree_of(repo.status().commit) for repo in (first, second)]
    answers = []
    for repo, tree in zip((first, second), trees, strict=True):
        with repo.session.edited(tree) as lm:
            answers.append([say(lm, fact) for fact in written])
    assert answers[0] == answers[1]
    said = sum(a.startswith(f["target_new"]) for a, f in zip(answers[0], written, strict=True))
    assert said >= 0.85 * count, "equality of silence proves nothing"


def say(lm: object, fact: dict) -> str:
    from editvc.models.generation import generate

    return generate(lm, fact["prompt"].replace("{}", fact["subject"]), 8).strip()

"""What is solved once and kept is what solving anew gives, bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tiny_repos import FACTS, OTHERS, close, opened, same_bits

from editvc import Repo
from editvc.algebra import solvers
from editvc.algebra.delta import delta_to_bytes
from editvc.core.history import Restraint
from editvc.interchange.delta_file import DELTA
from editvc.materialise.materialiser import Materialiser


def exported(repo: Repo, to: Path, revision: str = "HEAD") -> bytes:
    repo.export(to, format="delta", revision=revision, replace=True)
    return (to / DELTA).read_bytes()


def test_every_commit_of_a_session_is_what_a_fresh_start_computes(repo: Repo) -> None:
    """One materialiser through a history of two recipes and a restraint, against one a step."""
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:4])
    repo.revert("1")
    repo.session.repository.set_config("recipe.mom2_update_weight", "5000")
    repo.commit(FACTS[4:])
    repo.commit(OTHERS[:1])
    repo.revert("2")
    repo.compact(Restraint(rank=2))
    repo.revert(OTHERS[0].id)
    plumbing, before = repo.session.repository, repo.session.repository.tree_of(None)
    fresh = partial(Materialiser, plumbing, lambda: repo.session.files)
    for row in reversed(repo.log()):
        commit, tree = plumbing.read_commit(row.id), plumbing.tree_of(row.id)
        change = fresh().solutions.change(before, tree)
        if not change.is_empty:
            assert plumbing.store.get(commit.delta) == delta_to_bytes(change, {"kind": "delta"})
        assert dict(commit.health) == fresh().figures(tree)
        assert same_bits(
            repo.session.materialiser.delta(tree),
            fresh().delta(tree),
        )
        before = tree


def test_a_revert_factors_what_stays_once(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its change, the new delta and the figures all come from the one set."""
    repo.commit(FACTS)
    close(repo)
    factored: list[int] = []
    cholesky = solvers._cholesky

    def counted(matrix: object, name: str) -> object:
        factored.extend([len(matrix)] if name == "I + G" else [])
        return cholesky(matrix, name)

    monkeypatch.setattr(solvers, "_cholesky", counted)
    repo = opened(work)
    repo.revert(FACTS[0].id)
    assert factored == [5, 5], "one system a layer"
    repo.revert(FACTS[1].id)
    assert factored == [5, 5, 4, 4]
    repo.commit(FACTS[:1])
    assert factored == [5, 5, 4, 4, 5, 5], "the set before was solved by the last command"
    close(repo)


@pytest.mark.parametrize(
    "last",
    [
        lambda repo: repo.revert(FACTS[2].id),
        lambda repo: repo.compact(Restraint(rank=3)),
        lambda repo: repo.squash("1..2"),
    ],
    ids=["revert", "compact", "squash"],
)
def test_the_file_that_a_commit_leaves_is_the_one_solved_anew(
    repo: Repo, work: Path, last: Callable[[Repo], object]
) -> None:
    repo.commit(FACTS[:3])
    repo.commit(FACTS[3:4])
    repo.commit(FACTS[4:])
    last(repo)
    close(repo)
    folder = repo.session.repository.cache.folder / "delta"
    (kept,) = folder.iterdir()
    left = exported(opened(work), work / "left")
    assert kept.read_bytes().endswith(left)
    for spoil in (lambda: kept.write_bytes(b"damaged"), lambda: shutil.rmtree(folder)):
        spoil()
        assert exported(opened(work), work / "anew") == left


def test_head_alone_is_kept_and_other_revisions_are_solved(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2])
    first = exported(repo, work / "first")
    repo.commit(FACTS[2:4])
    second = exported(repo, work / "second")
    assert len(list((repo.session.repository.cache.folder / "delta").iterdir())) == 1
    assert exported(repo, work / "again", "1") == first != second
    assert exported(repo, work / "again") == second
    repo.revert("2")
    assert exported(repo, work / "again") == first, "the same set, whatever the history"

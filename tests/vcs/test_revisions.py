from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from vcs_values import commit_facts, create, fact, move

from editvc.core.ids import ObjectId
from editvc.vcs.repository import Repository
from editvc.vcs.revisions import (
    AmbiguousRevision,
    EmptyRange,
    RevisionError,
    Revisions,
    UnbornBranch,
    UnknownRevision,
)

WHO = {"author": "Ada <ada@example.org>", "time": 5}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = create(tmp_path_factory.mktemp("model"))
    for number in range(6):
        commit_facts(repo, fact(number))
    repo.close()
    return repo.folder


@pytest.fixture
def repo(model: Path, tmp_path: Path) -> Repository:
    """Six commits on main."""
    shutil.copytree(model, tmp_path / ".editvc")
    return Repository.find(tmp_path)


@pytest.fixture
def line(repo: Repository) -> list[ObjectId]:
    head = repo.refs.head().commit
    assert head is not None
    return [row.id for row in repo.graph.first_parents(head)][::-1]


@pytest.fixture
def revisions(repo: Repository, line: list[ObjectId]) -> Revisions:
    return repo.revisions


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("HEAD", 6), ("@", 6), ("main", 6), ("refs/heads/main", 6), ("6", 6), ("1", 1), ("003", 3),
        ("HEAD~", 5), ("HEAD~2", 4), ("HEAD~0", 6), ("HEAD^", 5), ("main^^", 4), ("@~1^", 4),
        ("4~1", 3), ("HEAD^0", 6), ("@{0}", 6), ("@{1}", 5), ("main@{5}", 1), ("HEAD@{2}~1", 3),
        (" HEAD ", 6),
    ],
)  # fmt: skip
def test_resolve(revisions: Revisions, line: list[ObjectId], text: str, number: int) -> None:
    assert revisions.resolve(text) == line[number - 1]


def test_ids_full_and_abbreviated(revisions: Revisions, line: list[ObjectId]) -> None:
    for identifier in line:
        assert revisions.resolve(identifier) == identifier
        assert revisions.resolve(identifier[:12]) == identifier
        assert revisions.resolve(identifier[:12].upper() + "~0") == identifier


def test_base_is_no_commit(revisions: Revisions) -> None:
    assert revisions.resolve("base") is None
    with pytest.raises(RevisionError, match="base model"):
        revisions.commit("base")
    with pytest.raises(RevisionError, match="nothing before"):
        revisions.resolve("base~1")


def indexed(repo: Repository, prefix: str, count: int) -> list[ObjectId]:
    """Rows of commits whose ids begin alike; a hash cannot be asked for that."""
    head = repo.refs.head().commit
    assert head is not None
    ids = [ObjectId(prefix + f"{number:0{64 - len(prefix)}x}") for number in range(count)]
    with repo.index.transaction():
        repo.index.add_commits(replace(repo.graph.row(head), id=one) for one in ids)
    return ids


def test_an_ambiguous_id_lists_its_candidates(repo: Repository, line: list[ObjectId]) -> None:
    ids = indexed(repo, "beefbeef", 3)
    with pytest.raises(AmbiguousRevision, match="fits 3 commits") as caught:
        repo.revisions.resolve("beefbeef")
    assert caught.value.candidates == tuple(ids)
    assert "beefbeef00" in caught.value.hint and "Commit 6" in caught.value.hint


def test_three_digits_are_too_few(repo: Repository, line: list[ObjectId]) -> None:
    (one,) = indexed(repo, "fffe", 1)
    assert repo.revisions.resolve("fffe") == one
    with pytest.raises(UnknownRevision):
        repo.revisions.resolve("fff")


def test_a_number_wins_over_an_id_but_an_id_serves_where_no_number_fits(
    repo: Repository, line: list[ObjectId]
) -> None:
    (five,) = indexed(repo, "0005", 1)
    (big,) = indexed(repo, "123456", 1)
    assert repo.revisions.resolve("0005") == line[4]
    assert repo.revisions.resolve("123456") == big
    assert repo.revisions.resolve("0005000000") == five


def test_numbers_count_on_the_current_branch(repo: Repository, line: list[ObjectId]) -> None:
    repo.refs.create_branch("side", line[1], **WHO)
    repo.refs.switch("side", **WHO)
    third = commit_facts(repo, fact(77))
    assert repo.revisions.resolve("3") == third
    repo.refs.switch("main", **WHO)
    assert repo.revisions.resolve("3") == line[2]


@pytest.mark.parametrize(
    ("text", "suggestions"), [("mian", ["main"]), ("head", ["HEAD"]), ("bse", ["base"]), ("7", [])]
)
def test_unknown_names_suggest(revisions: Revisions, text: str, suggestions: list[str]) -> None:
    with pytest.raises(UnknownRevision) as caught:
        revisions.resolve(text)
    assert caught.value.suggestions == suggestions
    assert all(name in caught.value.hint for name in suggestions)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("HEAD~6", "past the first"), ("HEAD^2", "no parent number 2"), ("1^", "no parent number"),
        ("HEAD~x", "'x' is none"), ("HEAD@{9}", "does not reach"), ("HEAD@{1}@{1}", "is none of"),
        ("1..3", "is a range"), ("nope@{1}", "nope"), ("", "named ''"),
    ],
)  # fmt: skip
def test_what_cannot_be_resolved(revisions: Revisions, text: str, problem: str) -> None:
    with pytest.raises(RevisionError) as caught:
        revisions.resolve(text)
    assert problem in str(caught.value)
    assert caught.value.exit_code == 1


def test_an_unborn_branch_says_so(tmp_path: Path) -> None:
    repo = create(tmp_path)
    for text in ("HEAD", "@", "main", "HEAD~1", "1", "1..2", "base..HEAD"):
        with pytest.raises(UnbornBranch, match="no commit yet"):
            if ".." in text:
                repo.revisions.resolve_range(text)
            else:
                repo.revisions.resolve(text)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1..6", 1, 6), ("2..4", 2, 4), ("3..3", 3, 3), ("HEAD~2..HEAD", 5, 6), ("base..2", 1, 2),
        ("base..HEAD~4", 1, 2), ("HEAD~1..", 6, 6), ("2..HEAD", 3, 6), ("..HEAD", 0, 0),
    ],
)  # fmt: skip
def test_ranges(
    revisions: Revisions, line: list[ObjectId], text: str, first: int, last: int
) -> None:
    if first == 0:
        with pytest.raises(EmptyRange):
            revisions.resolve_range(text)
    else:
        assert revisions.resolve_range(text) == line[first - 1 : last]


@pytest.mark.parametrize("text", ["5..3", "HEAD..HEAD", "HEAD..HEAD~1"])
def test_empty_ranges(revisions: Revisions, text: str) -> None:
    with pytest.raises(EmptyRange) as caught:
        revisions.resolve_range(text)
    assert "other way round" in caught.value.hint


@pytest.mark.parametrize("text", ["0..3", "1..7", "HEAD", "1..2..3", "mian..HEAD", "HEAD..base"])
def test_ranges_that_mean_nothing(revisions: Revisions, text: str) -> None:
    with pytest.raises(RevisionError):
        revisions.resolve_range(text)


def test_a_range_between_branches_is_what_the_other_lacks(
    repo: Repository, line: list[ObjectId]
) -> None:
    repo.refs.create_branch("side", line[2], **WHO)
    repo.refs.switch("side", **WHO)
    side = [commit_facts(repo, fact(70)), commit_facts(repo, fact(71))]
    assert repo.revisions.resolve_range("main..side") == side
    assert repo.revisions.resolve_range("side..main") == line[3:]


def test_the_reflog_remembers_a_branch_that_was_reset(
    repo: Repository, line: list[ObjectId]
) -> None:
    move(repo, "refs/heads/main", line[5], line[0])
    assert repo.revisions.resolve("main") == line[0]
    assert repo.revisions.resolve("main@{1}") == line[5]
    assert repo.revisions.resolve("@{1}~1") == line[4]

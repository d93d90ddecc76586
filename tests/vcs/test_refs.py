from __future__ import annotations

import pytest
from vcs_values import commit_facts, fact, move

from editvc.core.ids import ObjectId
from editvc.vcs.refs import (
    BranchExists,
    BranchInUse,
    BranchMoved,
    BranchNameError,
    BranchUnknown,
    Head,
    check_branch_name,
)
from editvc.vcs.repository import Repository

WHO = {"author": "Ada <ada@example.org>", "time": 5}
OTHER = ObjectId("e" * 64)


def test_a_fresh_repository_is_on_an_unborn_branch(repo: Repository) -> None:
    assert repo.refs.head() == Head("main", None)
    assert repo.refs.branches() == {}
    assert repo.refs.reflog("HEAD") == []


def test_a_commit_moves_the_branch_and_writes_both_reflogs(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(2))
    assert repo.refs.head() == Head("main", second)
    for name in ("HEAD", "refs/heads/main"):
        lines = repo.refs.reflog(name)
        assert [(line.old, line.new) for line in lines] == [(first, second), (None, first)]
        assert lines[0].message == "commit: Commit 2"


def test_a_move_refuses_a_stale_expectation(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(2))
    before = repo.refs.reflog("refs/heads/main")
    with pytest.raises(BranchMoved, match="branch 'main' moved") as caught:
        move(repo, "refs/heads/main", first, OTHER)
    assert (caught.value.expected, caught.value.actual) == (first, second)
    assert caught.value.hint
    assert repo.refs.get("refs/heads/main") == second
    assert repo.refs.reflog("refs/heads/main") == before


def test_a_ref_that_must_not_exist_yet(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    with pytest.raises(BranchMoved, match="from unborn to"):
        move(repo, "refs/heads/main", None, first)


def test_head_moves_by_itself_only_when_detached(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(2))
    with pytest.raises(BranchMoved):
        move(repo, "HEAD", second, first)
    repo.refs.detach(first, **WHO)
    assert repo.refs.head() == Head(None, first)
    third = commit_facts(repo, fact(3))
    assert repo.refs.head() == Head(None, third)
    assert repo.refs.branches() == {"main": second}
    assert repo.refs.reflog("HEAD")[0].new == third


def test_branches_are_made_switched_to_and_deleted(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    repo.refs.create_branch("geo/2024", first, **WHO)
    repo.refs.switch("geo/2024", **WHO)
    second = commit_facts(repo, fact(2))
    assert repo.refs.branches() == {"geo/2024": second, "main": first}
    with pytest.raises(BranchInUse):
        repo.refs.delete_branch("geo/2024", **WHO)
    repo.refs.switch("main", **WHO)
    assert repo.refs.head() == Head("main", first)
    assert repo.refs.delete_branch("geo/2024", **WHO) == second
    assert repo.refs.branches() == {"main": first}
    assert second in repo.refs.reflog_ids()


def test_mistakes_with_branches_are_clear(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    with pytest.raises(BranchExists, match="'main' already exists"):
        repo.refs.create_branch("main", first, **WHO)
    for action in (repo.refs.switch, repo.refs.delete_branch):
        with pytest.raises(BranchUnknown, match="no branch 'mian'") as caught:
            action("mian", **WHO)
        assert "main" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["main", "geo/2024", "fix-1", "a.b", "ünïcode", "12a", "می\u200cخواهم"]
)
def test_names_that_are_fine(name: str) -> None:
    check_branch_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "HEAD", "base", "@", "a b", "a~1", "a^", "a:b", "a..b", "x@{1}", "-x", "/a", "a/", "a//b",
     ".a", "a/.b", "a.", "a.lock", "12", "ab" * 32, "a\n", "a?", "a[b", "a\\b", "a*",
     "ma\u200bin", "main\0", "\ufeffmain", "ma\u202ein", "a\xa0b", "a\u3000b"],
)  # fmt: skip
def test_names_that_no_branch_can_have(name: str) -> None:
    with pytest.raises(BranchNameError) as caught:
        check_branch_name(name)
    assert caught.value.name == name and caught.value.hint


def test_a_branch_is_started_with_head_on_it_or_not_at_all(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    repo.refs.start_branch("side", first, **WHO)
    assert repo.refs.head() == Head("side", first)
    assert [line.message for line in repo.operations.moves()[-2:]] == [
        f"branch: created at {first[:10]}",
        "switch: to side",
    ]
    repo.refs.switch("main", **WHO)
    with pytest.raises(BranchExists):
        repo.refs.start_branch("side", first, **WHO)
    assert repo.refs.head() == Head("main", first)

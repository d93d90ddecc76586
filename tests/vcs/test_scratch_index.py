"""Scratch repositories: what is written to one is there for it, and for nobody else."""

from __future__ import annotations

from contextlib import closing

from vcs_values import commit_facts, fact, located

from editvc.vcs.fsck import fsck
from editvc.vcs.index import Index
from editvc.vcs.repository import Repository


def contents(repo: Repository) -> dict[str, object]:
    """Files by name, and the index's rows in place of its own files."""
    files: dict[str, object] = {
        str(path): path.read_bytes()
        for path in repo.folder.rglob("*")
        if path.is_file() and not path.name.startswith("index.db")
    }
    with closing(Index(repo.folder / "index.db")) as index:
        return files | {"index": list(index.connection.iterdump())}


def test_objects_rows_and_settings_of_a_scratch_repository_are_in_memory(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    before = contents(repo)
    scratch = repo.scratch()
    commit = commit_facts(scratch, fact(2))
    request = "5" * 64
    (element,) = scratch.write_located([located(request, b"other")])
    scratch.set_configs({"base.identity": element, "limits.target_tokens": 7})
    scratch.accept_config()
    assert scratch.refs.head().commit == commit and scratch.graph.row(commit).parents == (first,)
    assert scratch.index.located(request) == element
    assert scratch.config.limits.target_tokens == 7
    assert scratch.read_fact(fact(2).id) == fact(2)

    again = repo.scratch()
    for other in (repo, again):
        assert other.refs.head().commit == first and other.index.located(request) is None
        assert other.config.base.identity is None and other.index.commit(commit) is None
        assert not other.store.contains(element)
    scratch.index.close()
    assert contents(repo) == before
    assert fsck(repo).clean


def test_facts_of_a_scratch_repository_are_not_indexed_by_the_next_commit(
    repo: Repository,
) -> None:
    repo.scratch().write_facts([fact(1)])
    commit_facts(repo, fact(2))
    assert [row.id for row in repo.index.facts()] == [fact(2).id]


def test_a_scratch_repository_sees_what_others_commit_until_it_writes(repo: Repository) -> None:
    scratch = repo.scratch()
    first = commit_facts(repo, fact(1))
    assert scratch.refs.head().commit == first
    mine = commit_facts(scratch, fact(2))
    theirs = commit_facts(repo, fact(3))
    assert scratch.refs.head().commit == mine and repo.refs.head().commit == theirs

"""An index that is lost, or refuses the end of a transaction, while a command is at work."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from file_calls import heard, sqlite_is_heard
from vcs_values import commit_facts, fact

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.vcs.fsck import fsck
from editvc.vcs.index import Index
from editvc.vcs.index_file import IndexRefused, IndexUncertain
from editvc.vcs.recovery import reindex
from editvc.vcs.repository import Repository

STEP = 7
"""Of so many statements one is the last before the index goes."""
WHO = {"author": "Ada <ada@example.org>", "time": 5}


def operations(repo: Repository) -> int:
    return dict(fsck(repo).counts)["operation"]


def refusing_to_end(error: OSError, times: int = 1) -> Callable[[str, str], None]:
    """Refuses SQLite's first flushes."""
    left = [times]

    def listener(call: str, path: str) -> None:
        if call == "sqlite-sync" and left[0]:
            left[0] -= 1
            raise error

    return listener


@pytest.mark.skipif(not sqlite_is_heard(), reason="SQLite is built into this Python")
def test_what_was_refused_at_the_end_never_comes_back(repo: Repository) -> None:
    """Neither from SQLite's log, nor from the operation, nor by an index that is built anew."""
    commit_facts(repo, fact(1))
    before, count = repo.operations.view(), operations(repo)
    with (
        heard(refusing_to_end(OSError(errno.EIO, os.strerror(errno.EIO)))),
        pytest.raises(IndexRefused, match="the disk reports an error"),
    ):
        repo.refs.create_branch("new", before.refs[0][1], **WHO)
    assert repo.operations.view() == before and operations(repo) == count
    with closing(Repository(repo.folder)) as other:
        assert other.operations.view() == before
    reindex(repo.folder)
    (repo.folder / "index.db").unlink()
    with closing(Repository(repo.folder)) as again:
        assert again.operations.view() == before


@pytest.mark.skipif(not sqlite_is_heard(), reason="SQLite is built into this Python")
def test_what_may_come_back_is_told_as_that(repo: Repository) -> None:
    head = commit_facts(repo, fact(1))
    refusal = refusing_to_end(OSError(errno.EIO, os.strerror(errno.EIO)), times=2)
    with heard(refusal), pytest.raises(IndexUncertain, match="not known whether"):
        repo.refs.create_branch("new", head, **WHO)
    repo.refs.create_branch("other", head, **WHO)  # and work goes on
    assert fsck(repo).errors == ()


def test_an_operation_that_others_stand_on_is_not_withdrawn(repo: Repository) -> None:
    commit_facts(repo, fact(1))
    current = repo.operations.current()
    assert current is not None
    repo.operations._written = [current]
    commit_facts(Repository(repo.folder), fact(2))
    with repo.index.transaction():
        repo.operations._written = [current]
        repo.operations.withdraw()
    assert repo.store.contains(current)


def delete_at(repo: Repository, statement: int) -> list[str]:
    """Have the index file deleted before that statement; what is run so far is listed."""
    run: list[str] = []

    def trace(text: str) -> None:
        run.append(text)
        if len(run) == statement + 1:
            (repo.folder / "index.db").unlink()

    repo.index.connection.set_trace_callback(trace)
    return run


def test_an_index_deleted_at_any_statement(repo: Repository, tmp_path: Path) -> None:
    """The next command works, and has all that was acknowledged."""
    commit_facts(repo, fact(1))
    repo.close()
    ended, number = False, 0
    while not ended:
        folder = tmp_path / str(number) / ".editvc"
        shutil.copytree(repo.folder, folder)
        with closing(Repository(folder)) as at_work:
            run, commit = delete_at(at_work, number), None
            try:
                commit = commit_facts(at_work, fact(2))
            except EditvcError as error:
                assert isinstance(error, IndexUncertain), error
            ended = len(run) <= number
        with closing(Repository(folder)) as after:
            assert fsck(after).errors == ()
            log = [row.id for row in after.graph.log([after.refs.head().commit])]
            assert commit is None or commit in log
            commit_facts(after, fact(3))
        shutil.rmtree(folder.parent)
        number += STEP
    assert commit is not None and number > 5 * STEP


def test_what_only_a_deleted_index_would_know_is_not_acknowledged(repo: Repository) -> None:
    """Another process has built a new one meanwhile, and works on that."""
    head = commit_facts(repo, fact(1))
    (repo.folder / "index.db").unlink()
    with closing(Repository(repo.folder)) as other:
        newer = commit_facts(other, fact(2))
    with pytest.raises(IndexUncertain, match="deleted or replaced"):
        repo.refs.create_branch("new", head, **WHO)
    with closing(Repository(repo.folder)) as after:
        assert after.refs.head().commit == newer and [*after.refs.branches()] == ["main"]
        assert fsck(after).errors == ()


def test_an_index_in_memory_has_no_name_to_lose(repo: Repository) -> None:
    from editvc.vcs.index_file import in_memory
    from editvc.vcs.index_schema import create_in

    memory = in_memory()
    create_in(memory)
    index = Index(repo.folder / "elsewhere.db", connection=memory)
    with index.transaction():
        index.add_located([("a" * 64, ObjectId("b" * 64))])
    assert [*index.all_located()] == [("a" * 64, "b" * 64)]

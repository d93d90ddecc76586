"""gc stopped before each of its steps, and beside processes that commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from math import inf
from pathlib import Path

import pytest
from test_store_faults import StopBefore, Stopped
from test_store_kill import ROOT, writer
from vcs_values import commit_facts, create, fact, quick_folder, safetensors

from editvc.core.ids import ObjectId
from editvc.vcs.fsck import fsck
from editvc.vcs.gc import gc
from editvc.vcs.packs import write_pack
from editvc.vcs.repository import Repository

COLLECTOR = """
import sys
from math import inf
from pathlib import Path
from editvc.vcs.fsck import fsck
from editvc.vcs.gc import CollectorBusy, gc
from editvc.vcs.repository import Repository

while not Path(sys.argv[2]).exists():
    repo = Repository(Path(sys.argv[1]))
    try:
        gc(repo, inf)
    except CollectorBusy:
        pass
    errors = fsck(repo).errors
    repo.close()
    assert errors == (), errors
    print("collected", flush=True)
"""


def contents(folder: Path) -> dict[ObjectId, bytes]:
    with closing(Repository(folder)) as repo:
        return {one: repo.store.get(one) for one in repo.store.ids()}


def littered(work: Path) -> tuple[Path, set[ObjectId]]:
    """A small repository with a pack, and what nothing leads to inside and outside of it."""
    with closing(create(work)) as repo:
        commit_facts(repo, fact(1))
        gone = {repo.store.put(safetensors({"kind": "delta"}, bytes([n] * 8))) for n in range(3)}
        inside = [*gone][:2] + [ids for ids in repo.store.ids() if ids not in gone][:3]
        repo.files.make_folder(repo.store.packs.folder)
        draft = repo.store.packs.folder / "draft"
        with draft.open("wb") as file:
            name = write_pack(file, [(one, repo.store.get(one)) for one in inside])
        draft.rename(draft.with_name(f"{name}.pack"))
        for one in inside:
            repo.store.path(one).unlink()
        commit_facts(repo, fact(2))
        for path in repo.store.folder.rglob("*"):
            os.utime(path, (1000, 1000))
        return repo.folder, gone


def test_stopped_anywhere_all_that_is_wanted_is_there() -> None:
    with quick_folder() as work:
        before, gone = littered(work)
        wanted = {one: data for one, data in contents(before).items() if one not in gone}
        shutil.copytree(before, work / "whole" / ".editvc")
        whole = StopBefore(inf)
        with closing(Repository(work / "whole" / ".editvc", whole)) as repo:
            gc(repo)
        count = len(whole.taken)
        # One file that goes is as good as another.
        for steps in sorted({*range(6), *range(8, count, 12), *range(count - 6, count)}):
            folder = work / str(steps) / ".editvc"
            shutil.copytree(before, folder)
            with (
                closing(Repository(folder, StopBefore(steps))) as repo,
                pytest.raises(Stopped),
            ):
                gc(repo)
            left = contents(folder)
            assert wanted.items() <= left.items(), f"after {steps} steps"
            with closing(Repository(folder)) as repo:
                assert fsck(repo).errors == (), f"after {steps} steps"
                for path in repo.store.folder.rglob("*"):
                    os.utime(path, (1000, 1000))
                gc(repo)
                assert list(repo.strays()) == []
            assert contents(folder) == wanted, f"gc again, after {steps} steps"
            shutil.rmtree(folder.parent)
        assert {"create", "fsync", "rename", "remove", "fsync-folder"} <= {*whole.taken}


def test_beside_processes_that_commit_nothing_is_lost_and_nothing_said() -> None:
    with quick_folder() as work:
        with closing(create(work)) as repo:
            folder = repo.folder
        done = work / "done"
        command = [sys.executable, "-c", COLLECTOR, str(folder), str(done)]
        collectors = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        writers = [writer(folder, 100 * number, 5) for number in range(2)]
        printed = [process.communicate()[0] for process in writers]
        done.touch()
        heard = [process.communicate()[0] for process in collectors]
        assert [process.returncode for process in (*writers, *collectors)] == [0] * 4
        assert all("collected" in text for text in heard)
        with closing(Repository(folder)) as repo:
            head = repo.refs.head().commit
            assert head is not None
            line = {row.id for row in repo.graph.first_parents(head)}
            assert line == {one.split()[1] for text in printed for one in text.splitlines()}
            assert len(line) == 10 and fsck(repo).errors == ()
            gc(repo, inf)  # the commits that lost their races go
            assert fsck(repo).errors == () and list(repo.store.loose_ids()) == []

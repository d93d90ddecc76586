"""Real processes: killed at random moments, or racing for one branch."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import create, quick_folder

from editvc.vcs.fsck import fsck
from editvc.vcs.repository import Repository

ROOT = Path(__file__).resolve().parent.parent.parent

# A writer as porcelain is one: it begins again when another process was faster.
WRITER = """
import sys
sys.path.insert(0, "tests/support")
from pathlib import Path
from vcs_values import commit_facts, fact
from editvc.vcs.refs import BranchMoved
from editvc.vcs.repository import Repository

folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
repo = Repository(folder)
for number in range(first, first + count):
    while True:
        try:
            identifier = commit_facts(repo, fact(number))
            break
        except BranchMoved:
            continue
    print(number, identifier, flush=True)
"""


def writer(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def repo() -> Iterator[Repository]:
    with quick_folder() as folder, closing(create(folder)) as repo:
        yield repo


def test_nothing_acknowledged_is_lost_to_kill_9(repo: Repository) -> None:
    chance = random.Random(7)
    acknowledged: dict[int, str] = {}
    for round_ in range(10):
        with writer(repo.folder, 1000 * round_, 1000) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]  # it is at work now
            time.sleep(chance.uniform(0.0, 0.25))
            process.kill()
            lines += process.stdout.read().splitlines(keepends=True)
        for line in lines:
            if line.endswith("\n"):
                number, identifier = line.split()
                acknowledged[int(number)] = identifier
        check = Repository(repo.folder)
        report = fsck(check)
        assert report.errors == ()
        head = check.refs.head().commit
        assert head is not None
        line_of_commits = {row.id for row in check.graph.first_parents(head)}
        assert line_of_commits >= set(acknowledged.values())
        check.close()
    tree = repo.tree_of(repo.refs.head().commit)
    subjects = {repo.read_fact(entry.fact).subject for entry in repo.edits_of(tree).entries()}
    assert subjects >= {f"Thing {number}" for number in acknowledged}
    assert len(acknowledged) >= 10


def test_processes_that_race_lose_no_update(repo: Repository) -> None:
    processes = [writer(repo.folder, 100 * number, 6) for number in range(3)]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    acknowledged = {line.split()[1] for text in printed for line in text.splitlines()}
    assert len(acknowledged) == 18
    head = repo.refs.head().commit
    assert head is not None
    line = list(repo.graph.first_parents(head))
    assert {row.id for row in line} == acknowledged
    assert [row.number for row in line] == list(range(18, 0, -1))
    assert line[0].live == 18
    assert [(entry.old, entry.new) for entry in repo.refs.reflog("refs/heads/main")] == [
        (row.parents[0] if row.parents else None, row.id) for row in line
    ]
    report = fsck(repo)
    assert report.errors == ()

"""Many processes commit at once, while others revert, collect garbage and look at the repository.

``python tests/crash/races.py [--processes N] [--commits N]``, by hand; without options 8 processes
make 200 commits each. All commits must be there in one line, no look may find anything wrong, and
nobody may be told of a race: a process that was overtaken begins again (``on_branch``).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from math import inf
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from vcs_values import create, fact, located, quick_folder

from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, SlotId
from editvc.session.on_branch import Tip, on_branch
from editvc.session.session import Session
from editvc.vcs.fsck import fsck
from editvc.vcs.gc import gc
from editvc.vcs.repository import Repository

Change = dict[SlotId, Entry | None]


def commit(session: Session, change: Callable[[Tip], Change], message: str) -> ObjectId:
    """What the verbs do (:mod:`editvc.session.recording`), without figures and weights."""
    repo = session.repository

    def attempt(tip: Tip) -> ObjectId:
        edits = repo.edits_of(tip.tree).update(change(tip))
        before = repo.graph.row(tip.commit).number if tip.commit else 0
        made = Commit(
            tree=repo.write(Tree(base=tip.tree.base, edits=edits.root)),
            parents=(tip.commit,) if tip.commit else (),
            author="Ada <ada@example.org>",
            time=session.clock(),
            message=message,
            number=before + 1,
            edits=1,
            live=len(edits),
            delta=None,
        )
        return repo.record(made, expected=tip.commit, ref=tip.ref, message=f"commit: {message}")

    return on_branch(session, attempt)


def committer(folder: Path, first: int, count: int) -> list[ObjectId]:
    """Commit ``count`` facts, and take every tenth of them back."""
    made = []
    with closing(Repository(folder)) as repo:
        session = Session(repo, clock=lambda: int(time.time()))
        for number in range(first, first + count):
            one = fact(number)
            (written,), (element,) = repo.write_facts([one]), repo.write_located([located(one.id)])
            entry = Entry(one.slot, written, element)
            made.append(commit(session, lambda tip, e=entry: {e.slot: e}, f"Commit {number}"))
            if not number % 10:
                slot = one.slot
                made.append(commit(session, lambda tip, s=slot: {s: None}, f"Revert {number}"))
    return made


def looker(folder: Path, looks: int) -> list[str]:
    """What ``fsck`` finds wrong, look after look, while others are at work."""
    wrong = []
    for _ in range(looks):
        with closing(Repository(folder)) as repo:
            wrong += [f"{one.where}: {one.what}" for one in fsck(repo).errors]
    return wrong


def collector(folder: Path, collections: int) -> list[str]:
    """Drop what nobody wants, however young, time and again; nobody may notice."""
    for _ in range(collections):
        with closing(Repository(folder)) as repo:
            gc(repo, inf)
        time.sleep(0.05)
    return []


def apart(work: Callable[[], list[str]]) -> int:
    """Do work in a process of its own; what it returns, or its error, is read from the pipe."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        try:
            said: object = work()
        except BaseException:
            said = {"error": traceback.format_exc()}
        with open(writing, "w", encoding="utf-8") as pipe:
            json.dump(said, pipe)
        os._exit(0)
    os.close(writing)
    return reading


def race(folder: Path, processes: int, commits: int, looks: int) -> tuple[list[str], int]:
    """What went wrong, in words, and how many commits were made."""
    pipes = [
        apart(lambda first=1 + number * commits: committer(folder, first, commits))
        for number in range(processes)
    ]
    beside = [apart(lambda: looker(folder, looks)), apart(lambda: collector(folder, looks))]
    told = []
    for pipe in (*pipes, *beside):
        with open(pipe, encoding="utf-8") as said:
            told.append(json.load(said))
        os.wait()
    wrong = [str(one["error"]) for one in told if isinstance(one, dict)]
    made = {one for lines in told[:-2] if isinstance(lines, list) for one in lines}
    wrong += told[-2] if isinstance(told[-2], list) else []
    with closing(Repository(folder)) as repo:
        wrong += [f"{one.where}: {one.what}" for one in fsck(repo).errors]
        line = list(repo.graph.first_parents(repo.refs.head().commit))
    if made - {row.id for row in line}:
        wrong.append(f"{len(made - {row.id for row in line})} commits are lost")
    if [row.number for row in line] != list(range(len(line), 0, -1)):
        wrong.append("the line of commits has a gap")
    return wrong, len(made)


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--looks", type=int, default=20)
    asked = parser.parse_args()
    began = time.monotonic()
    with quick_folder() as place:
        create(place).close()
        wrong, made = race(place / ".editvc", asked.processes, asked.commits, asked.looks)
    for line in wrong[:10]:
        print(f"WRONG {line}")
    print(f"{made} commits, {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

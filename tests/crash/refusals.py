"""Refuse every call on files that a command which writes makes, one after another.

``python tests/crash/refusals.py [--only NAME] [--every N] [--model]``, run by hand. A disk that is
full (from the n-th call on), one that reports an error (once), no more file descriptors (from the
n-th call on), and files that can be made and not written: the command ends with exit code 1, says
what the machine refused, and has changed nothing; or it has done without, and ends as ever.
"""

from __future__ import annotations

import argparse
import errno
import gc
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cli_runs import Ran
from file_calls import full_disk, heard
from power_cut import chosen, difference
from vcs_values import quick_folder
from verbs import Verb, prepare_for, state_of

from editvc.interchange.staging import recover

MAKING = ("create", "mkdir", "rename", "fsync", "sqlite-write", "sqlite-sync")
OPENING = ("open", "create", "sqlite-open")
UNWRITTEN = "cannot be used: it cannot be written"
"""Of an index that could be opened for reading alone."""
WORDS = {
    errno.ENOSPC: ("No space left", "the disk is full", "the disk reports an error"),
    errno.EIO: ("Input/output error", "the disk reports an error", "cannot be opened", UNWRITTEN),
    errno.EMFILE: ("Too many open files", "cannot be opened", UNWRITTEN),
    errno.EFBIG: ("File too large", "the disk reports an error", "the disk is full"),
}
"""What of it a user must be told, in one of these ways."""


CHANGED = (
    "not known whether the command took effect",
    "was changed, and the disk does not confirm",
)
"""One of these is said where the disk refuses the very last flush, and a change is there."""


@dataclass(frozen=True)
class Trouble:
    """An error that calls end with: the n-th of ``calls``, and those after it if it ``lasts``."""

    code: int
    calls: tuple[str, ...]
    lasts: bool


TROUBLES = (
    Trouble(errno.ENOSPC, MAKING, lasts=True),
    Trouble(errno.EIO, (*MAKING, *OPENING), lasts=False),
    Trouble(errno.EMFILE, OPENING, lasts=True),
    Trouble(errno.EFBIG, ("create", "sqlite-write"), lasts=True),
)


class Refusing:
    """A listener that refuses from its ``first`` call on (or that one); it counts them."""

    def __init__(self, trouble: Trouble, root: Path, first: float = float("inf")) -> None:
        self.trouble = trouble
        self.root = root
        self.first = first
        self.count = 0
        self.exits = ExitStack()

    def __call__(self, call: str, path: str) -> None:
        if call not in self.trouble.calls or not Path(path).is_relative_to(self.root):
            return
        number, self.count = self.count, self.count + 1
        if number < self.first or (number > self.first and not self.trouble.lasts):
            return
        if self.trouble.code != errno.EFBIG:
            raise OSError(self.trouble.code, os.strerror(self.trouble.code), path)
        if number == self.first:
            self.exits.enter_context(full_disk())

    def run(self, verb: Verb) -> Ran:
        """Type the command while this listens."""
        with self.exits, heard(self):
            return verb.act(self.root)


def faults(verb: Verb, ready: Path, trouble: Trouble, *, every: int = 1) -> Iterator[str]:
    """Yields for each refusal what is wrong with what came of it, in words, or nothing."""
    with quick_folder() as place:
        work, made = place / "work", place / "made"
        prepare_for(verb, ready, made)
        shutil.copytree(made, work)
        before = state_of(work)
        counting = Refusing(trouble, work)
        assert counting.run(verb).code == verb.code
        after = state_of(work)
        for first in range(0, counting.count, every):
            gc.collect()  # a command that failed may hold its index until then
            shutil.rmtree(work)
            shutil.copytree(made, work)
            told = "; ".join(_wrong(verb, work, Refusing(trouble, work, first), before, after))
            yield told and f"{errno.errorcode[trouble.code]} at {first}: {told}"


def _wrong(
    verb: Verb, work: Path, refusing: Refusing, before: object, after: object
) -> Iterator[str]:
    ran = refusing.run(verb)
    recover(work / "out")
    seen = state_of(work)
    words = WORDS[refusing.trouble.code]
    if ran.code == verb.code and not (verb.code and seen == before):
        if _timeless(seen) != _timeless(after):
            yield f"said to be done: {difference(seen, before, after)}"
        return
    if ran.code != 1:
        yield f"exit code {ran.code}: {ran.err[-300:]}"
    elif not any(one in ran.err for one in words):
        yield f"does not say what was refused: {ran.err}"
    if seen != before and not (seen == after and any(one in ran.err for one in CHANGED)):
        yield f"changed, and exit code {ran.code}: {difference(seen, after, before)}: {ran.err}"


def _timeless(state: object) -> object:
    """What is the same however late the command was typed."""
    assert isinstance(state, dict)
    reflog = [(move.ref, move.message) for move in state["reflog"]]
    waiting = state["waiting"] is None
    return reflog, len(state["log"]), state["live"], state["settings"], waiting


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="commands whose name begins so")
    parser.add_argument("--every", type=int, default=1, help="refuse each N-th call")
    parser.add_argument("--model", action="store_true", help="commands that need a model")
    asked = parser.parse_args()
    wrong = 0
    with quick_folder() as folder:
        ready, verbs = chosen(folder, asked.only, model=asked.model)
        for name, verb in verbs.items():
            began = time.monotonic()
            told = [
                one for kind in TROUBLES for one in faults(verb, ready, kind, every=asked.every)
            ]
            bad, taken = [line for line in told if line], time.monotonic() - began
            print(f"{name}: {len(told)} refusals, {len(bad)} wrong, {taken:.1f} s", flush=True)
            for line in bad[:12]:
                print(f"    {line:.400}")
            wrong += len(bad)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Cut the power at every moment of every command that writes, and look at what may be left.

``python tests/crash/power_cut.py [--only NAME] [--every N] [--model]``, run by hand; all states are
looked at unless ``--every`` says less, and ``--model`` cuts commands that need one instead. Each
state is the repository before the command or after it, sound, and after it once the command has
ended; and the same command, typed again, does its work (tried in some).
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from forgetful_disk import ForgetfulDisk, State, restore
from vcs_values import quick_folder
from verbs import VERBS, Verb, prepare_for, state, state_of, template

from editvc.interchange.staging import recover
from editvc.vcs.fsck import fsck
from editvc.vcs.repository import Repository

AGAIN = 40
"""Of so many states one is worked on."""


Found = Mapping[str, object]
"""What :func:`verbs.state` says."""


@dataclass(frozen=True)
class Cut:
    """A state that a cut may leave, while the command was at work or, ``done``, after it."""

    done: bool
    state: State


def cuts(verb: Verb, ready: Path, place: Path) -> tuple[Found, Found, list[Cut]]:
    """The states before and after a command, and every one that a cut may leave."""
    work = place / "work"
    prepare_for(verb, ready, work)
    gc.collect()  # what is open is closed now, and not by chance while the disk is watched
    before = state_of(work)
    disk = ForgetfulDisk(work)
    with disk.watching():
        ran = verb.act(work)
        disk.acknowledge()
    assert ran.code == verb.code, ran.err
    after = state_of(work)
    shutil.rmtree(work)
    return before, after, [Cut(bool(done), one) for (done, _), one in disk.cuts.items()]


def faults(verb: Verb, ready: Path, *, every: int = 1) -> Iterator[str]:
    """Yields for each state that is looked at what is wrong with it, in words, or nothing.

    ``every`` n-th state is looked at, and the last.
    """
    with quick_folder() as place:
        before, after, found = cuts(verb, ready, place)
        for number, one in enumerate(found):
            if number % every and number != len(found) - 1:
                continue
            work = place / str(number)
            restore(one.state, work)
            try:
                told = _wrong(verb, work, one, before, after, again=not number % AGAIN)
                yield "; ".join(told)
            except Exception as error:
                yield f"{number} of {len(found)}: {error!r}"
            shutil.rmtree(work)


def _wrong(
    verb: Verb, work: Path, one: Cut, before: Found, after: Found, *, again: bool
) -> Iterator[str]:
    recover(work / "out")
    with closing(Repository(work / ".editvc")) as repo:
        for problem in fsck(repo).errors:
            yield f"fsck: {problem.where} {problem.what}"
        seen = state(repo, work / "out")
    begun = {**seen, **{name: before[name] for name in verb.apart if seen[name] == after[name]}}
    if seen != after and (one.done or begun != before):
        yield f"{'lost' if one.done else 'neither old nor new'}: {difference(seen, before, after)}"
    elif seen != after and (again or begun != seen):
        ran = verb.act(work)
        if ran.code != verb.code:
            yield f"the command does not work any more: {ran.err}"


def difference(seen: object, before: object, after: object) -> str:
    """Where a state is not ``after``, and whether it is there as ``before`` had it."""
    assert isinstance(seen, dict) and isinstance(before, dict) and isinstance(after, dict)
    return ", ".join(
        f"{name} is {'old' if seen[name] == before[name] else 'neither'}"
        for name in seen
        if seen[name] != after[name]
    )


def chosen(folder: Path, name: str, *, model: bool) -> tuple[Path, Mapping[str, Verb]]:
    """A repository made in ``folder``, and the commands whose names begin with ``name``."""
    if model:
        import model_verbs
        import tiny_repos

        prepared = tiny_repos.prepare(folder / "made")
        ready, verbs = model_verbs.template(prepared, folder / "ready"), model_verbs.VERBS
    else:
        ready, verbs = template(folder / "ready"), VERBS
    return ready, {key: verb for key, verb in verbs.items() if key.startswith(name)}


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="commands whose name begins so")
    parser.add_argument("--every", type=int, default=1, help="look at each N-th state")
    parser.add_argument("--model", action="store_true", help="commands that need a model")
    asked = parser.parse_args()
    wrong = 0
    with quick_folder() as folder:
        ready, verbs = chosen(folder, asked.only, model=asked.model)
        for name, verb in verbs.items():
            began, told = time.monotonic(), list(faults(verb, ready, every=asked.every))
            bad = [line for line in told if line]
            taken = time.monotonic() - began
            print(f"{name}: {len(told)} states, {len(bad)} wrong, {taken:.1f} s", flush=True)
            for line in sorted(set(bad))[:5]:
                print(f"    {line:.300}")
            wrong += len(bad)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Kill commands that write with -9 at random moments, and look for what was acknowledged.

``python tests/crash/kills.py [--kills N] [--seed SEED] [--model]``, run by hand. A process types
commands drawn at random and tells on a pipe where the repository is after each, until it is killed.
Then ``fsck`` must be clean, the operations that were told must be behind the newest one (so every
commit, tag, branch and move is there, or was taken back by a later command), a setting must be as
it was set last, and an export there. Prints the kills, what was acknowledged, and what was lost: 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from cli_runs import Ran
from power_cut import chosen
from vcs_values import commit_facts, fact, quick_folder
from verbs import SHARED, Act, index_lost, pushed_by_another, typed

import editvc.porcelain.rebase
import editvc.porcelain.reindex  # noqa: F401  (what takes long to import, before forks)
from editvc.interchange.staging import recover
from editvc.vcs.fsck import fsck
from editvc.vcs.remotes.transport import DOCUMENT
from editvc.vcs.repository import Repository

LONGEST = 0.4
"""Seconds that a process lives, at most, once it is at work."""
LIVES = 40
"""So many processes work in one repository: the longer it is, the longer it takes to look at."""
SETTING = "limits.target_tokens"


def _number(rng: random.Random) -> str:
    return str(rng.randrange(10**9))


def _commit(rng: random.Random) -> Act:
    facts = [fact(rng.randrange(10**6)) for _ in range(rng.randrange(1, 4))]

    def act(work: Path) -> Ran:
        with closing(Repository(work / ".editvc")) as repo:
            return Ran(0, commit_facts(repo, *facts), "")

    return act


def _of_branch(*words: str) -> Callable[[random.Random], Act]:
    """A command about a branch that is there."""

    def draw(rng: random.Random) -> Act:
        def act(work: Path) -> Ran:
            with closing(Repository(work / ".editvc")) as repo:
                name = rng.choice(sorted(repo.refs.branches()))
            return typed(*words, name)(work)

        return act

    return draw


def _setting(rng: random.Random) -> Act:
    def act(work: Path) -> Ran:
        with closing(Repository(work / ".editvc")) as repo:
            value = int(repo.config_file.get(SETTING)) + 1
        return typed("config", SETTING, str(value))(work)

    return act


Commands = Mapping[str, Callable[[random.Random], Act]]

COMMANDS: Commands = {
    "commit": _commit,
    "branch": lambda rng: typed("branch", f"b{_number(rng)}"),
    "branch -d": _of_branch("branch", "-d"),
    "tag": lambda rng: typed("tag", f"t{_number(rng)}"),
    "switch": _of_branch("switch"),
    "switch -c": lambda rng: typed("switch", "-c", f"s{_number(rng)}"),
    "merge": _of_branch("merge"),
    "merge --abort": lambda rng: typed("merge", "--abort"),
    "rebase": _of_branch("rebase"),
    "reset": lambda rng: typed("reset", "HEAD~1"),
    "undo": lambda rng: typed("undo"),
    "redo": lambda rng: typed("redo"),
    "notes": lambda rng: typed("notes", "add", "HEAD", "-m", _number(rng), "-f"),
    "notes remove": lambda rng: typed("notes", "remove"),
    "config": _setting,
    "reindex": lambda rng: typed("reindex"),
    "fsck --repair": lambda rng: typed("fsck", "--repair"),
    "status without an index": lambda rng: _both(index_lost, typed("status")),
    "gc": lambda rng: typed("gc", "--prune", "now"),
    "remote": lambda rng: typed("remote", "add", "origin", SHARED),
    "push": _of_branch("push", "--force", "origin"),
    "push of another": lambda rng: pushed_by_another,
    "fetch": lambda rng: typed("fetch", "--prune"),
    "pull": lambda rng: typed("pull"),
}
"""What is typed, by a name for each."""


def _both(first: Act, second: Act) -> Act:
    def act(work: Path) -> Ran:
        first(work)
        return second(work)

    return act


@dataclass
class Tally:
    """What was done, and what was wrong, in words."""

    kills: int = 0
    acknowledged: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a repository is: its newest operation, the setting, and whether there is an export."""

    verb: str
    operation: str
    setting: int
    exported: bool


def kill_many(ready: Path, commands: Commands, kills: int, seed: str) -> Tally:
    """Let processes work in copies of ``ready``, one after another, each until it is killed."""
    tally, chance = Tally(), random.Random(seed)
    work = ready.with_name("work")
    while tally.kills < kills:
        if not tally.kills % LIVES:
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(ready, work)
            last = place_of(work, "init")
        told = _one_life(work, commands, f"{seed}/{tally.kills}", chance.uniform(0, LONGEST))
        tally.kills += 1
        tally.acknowledged.update(place.verb for place in told)
        last = told[-1] if told else last
        wrong = problems(work, last)
        if not tally.kills % LIVES or tally.kills == kills:
            wrong += _of_the_remote(work)
        tally.wrong += [f"kill {tally.kills}: {one}" for one in wrong]
    return tally


def _one_life(work: Path, commands: Commands, seed: str, seconds: float) -> list[Place]:
    """Fork a process that types commands, and kill it; what it told."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            _type_on(work, commands, random.Random(seed), writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        select.select([pipe], [], [], 60)  # it is at work now
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        said = pipe.read().splitlines(keepends=True)
    return [Place(**json.loads(line)) for line in said if line.endswith(b"\n")]


def _type_on(work: Path, commands: Commands, rng: random.Random, pipe: int) -> None:
    while True:
        name = rng.choice(sorted(commands))
        if commands[name](rng)(work).code == 0:
            os.write(pipe, json.dumps(vars(place_of(work, name))).encode() + b"\n")


def place_of(work: Path, verb: str) -> Place:
    """Where a repository is after a command."""
    with closing(Repository(work / ".editvc")) as repo:
        current = repo.operations.current()
        assert current is not None
        return Place(verb, current, int(repo.config_file.get(SETTING)), (work / "out").is_dir())


def problems(work: Path, last: Place) -> list[str]:
    """What is wrong after a kill, where this was acknowledged last."""
    recover(work / "out")
    with closing(Repository(work / ".editvc")) as repo:
        wrong = [f"fsck: {one.where} {one.what}" for one in fsck(repo).errors]
        current = repo.operations.current()
        assert current is not None
        if last.operation not in {one for one, _ in repo.operations.ancestors(current)}:
            wrong.append(f"lost operation {last.operation}, after {last.verb}")
        if not last.setting <= int(repo.config_file.get(SETTING)) <= last.setting + 1:
            wrong.append(f"lost the setting {last.setting}")
    if last.exported and not (work / "out").is_dir():
        wrong.append("lost the export")
    return wrong


def _of_the_remote(work: Path) -> list[str]:
    """What is wrong with a clone of what was pushed."""
    if not (work / SHARED / DOCUMENT).exists():
        return []
    clone = work / "clone"
    ran = typed("clone", SHARED, "clone")(work)
    if ran.code:
        return [f"the remote cannot be cloned: {ran.err}"]
    with closing(Repository(clone / ".editvc")) as repo:
        return [f"fsck of a clone: {one.where} {one.what}" for one in fsck(repo).errors]


def _with_model() -> Commands:
    import model_verbs

    def draw(act: Act) -> Callable[[random.Random], Act]:
        return lambda rng: act

    acts = {name: draw(verb.act) for name, verb in model_verbs.VERBS.items()}
    plain = {name: draw_plain for name, draw_plain in COMMANDS.items() if name != "commit"}
    return acts | plain


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--model", action="store_true", help="commands that need a model, as well")
    asked = parser.parse_args()
    began = time.monotonic()
    with quick_folder() as folder:
        ready, _ = chosen(folder, "", model=asked.model)
        commands = _with_model() if asked.model else COMMANDS
        tally = kill_many(ready, commands, asked.kills, asked.seed)
    for name, count in sorted(tally.acknowledged.items()):
        print(f"{name}: {count} acknowledged")
    for line in tally.wrong[:20]:
        print(f"WRONG {line:.300}")
    taken, done = time.monotonic() - began, tally.acknowledged.total()
    print(f"{tally.kills} kills, {done} acknowledged, {len(tally.wrong)} wrong, {taken:.0f} s")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""What the store costs, beside git on the same bytes in the same run, and how it grows.

    python benchmarks/store.py [--commits 10000] [--element 15360] [--readings 4] [--repeat 3]

One fact a commit, with an element and a delta of --element bytes each: their objects, the set, the
rows of the index and the ref, without a model. Git gets the same three files and the same message.
At --readings sizes, equally far from each other, both are read, each command a process of its own,
the best of --repeat. There what is new is pushed, and all of it cloned: over a folder, and by
editvc over S3, moto's server on loopback (git has no such remote). At the last size both collect.
Writes docs/data/store.jsonl, and its table into docs/benchmarks.md. The table has the seconds of
processors, the server's left out: on a machine that others use, those of the clock are others' as
well. TMPDIR says where the repositories are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from vcs_values import BASE, RECIPE, create, fact, safetensors  # noqa: E402

from editvc.core.history import Commit, Entry, Tree  # noqa: E402
from editvc.core.ids import canonical_json  # noqa: E402

BEGIN, END = "<!-- store.py begins -->", "<!-- store.py ends -->"
AUTHOR = "Ada <ada@example.org>"
BUCKET = "bucket"
PATIENCE = "3600"
"""Seconds for an answer of the server: on a machine that others use it may have to wait."""
Row = dict[str, Any]


class Taken(NamedTuple):
    """Seconds of the clock, and those of processors."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Payload:
    """What one commit brings."""

    number: int
    fact: bytes
    element: bytes
    delta: bytes


class Editvc:
    """A repository of editvc, written to in this process and read by its command line."""

    name = "editvc"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.repo = create(folder)
        self.remotes = {"folder": f"{folder}-remote", "S3": f"s3://{BUCKET}/editvc"}
        for name, url in self.remotes.items():
            self.run("remote", "add", name, url, "--timeout", PATIENCE)

    def commit(self, payload: Payload) -> None:
        """One commit of one fact."""
        repo, new = self.repo, fact(payload.number)
        head = repo.refs.head().commit
        (written,) = repo.write_facts([new])
        (element,) = repo.write_located([payload.element])
        before = repo.tree_of(head)
        edits = repo.edits_of(before).update({new.slot: Entry(new.slot, written, element)})
        commit = Commit(
            tree=repo.write(Tree(base=BASE.id, edits=edits.root)),
            parents=(head,) if head else (),
            author=AUTHOR,
            time=1_700_000_000 + payload.number,
            message=f"Commit {payload.number}",
            number=payload.number,
            edits=1,
            live=len(edits),
            delta=repo.store.put(payload.delta),
            health=(("drift", 0.25),),
        )
        repo.record(commit, expected=head, message=f"commit: {commit.message}")

    def rest(self) -> None:
        """Between writing and reading: what the end of a command does."""
        self.repo.store.close()

    def run(self, *words: str) -> None:
        """A command, in a process of its own."""
        command = [sys.executable, "-m", "editvc.cli.main", "-C", str(self.folder), *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "EDITVC_AUTHOR": AUTHOR}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
        environment["PYTHONPYCACHEPREFIX"] = str(self.folder.with_name("bytecode"))
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    def middle(self, commits: int) -> str:
        """The commit in the middle of the history, as a revision."""
        return str(commits // 2)

    def clone(self, url: str, to: Path) -> None:
        """Another repository of all that a remote has."""
        self.run("clone", url, str(to), "--timeout", PATIENCE)

    commands: Mapping[str, Sequence[str]] = {
        "start": ("--version",),
        "log": ("log", "-n", "20"),
        "show": ("show", "HEAD"),
        "gc": ("gc",),
        "fsck": ("fsck",),
    }


class Git:
    """A repository of git with the same files, as durable: it flushes all that it writes."""

    name = "git"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.run("init", "-q", "-b", "main")
        for key, value in {
            "user.name": "Ada", "user.email": "ada@example.org", "gc.auto": "0",
            "core.fsync": "all", "core.fsyncMethod": "fsync", "advice.detachedHead": "false",
        }.items():  # fmt: skip
            self.run("config", key, value)
        self.remotes = {"folder": f"{folder}-remote"}
        self.run("init", "-q", "--bare", "-b", "main", self.remotes["folder"])
        self.run("remote", "add", "folder", self.remotes["folder"])

    def commit(self, payload: Payload) -> None:
        """One commit of one fact."""
        names = []
        for kind in ("fact", "element", "delta"):
            path = self.folder / kind / f"{payload.number % 256:02x}" / str(payload.number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(getattr(payload, kind))
            names.append(str(path.relative_to(self.folder)))
        self.run("add", *names)
        self.run("commit", "-q", "-m", f"Commit {payload.number}")

    def rest(self) -> None:
        """Nothing is open."""

    def run(self, *words: str) -> None:
        """A command, in a process of its own."""
        command = ["git", "-C", str(self.folder), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def middle(self, commits: int) -> str:
        """The commit in the middle of the history, as a revision."""
        return f"main~{commits - commits // 2}"

    def clone(self, url: str, to: Path) -> None:
        """Another repository of all that a remote has, copied and not linked; no working tree."""
        self.run("clone", "-q", "--bare", f"file://{url}", str(to))

    commands: Mapping[str, Sequence[str]] = {
        "start": ("--version",),
        "log": ("log", "-n", "20"),
        "show": ("show", "--stat", "HEAD"),
        "gc": ("gc", "-q"),
        "fsck": ("fsck", "--full"),
    }


System = Editvc | Git


def main() -> None:
    """Measure, keep the rows, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=10_000)
    parser.add_argument("--element", type=int, default=15_360)
    parser.add_argument("--readings", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="only write the table again")
    options = parser.parse_args()
    docs = ROOT / "docs"
    kept = docs / "data" / "store.jsonl"
    if not options.table:
        with tempfile.TemporaryDirectory(prefix="editvc-store-") as folder, s3():
            rows = list(measured(Path(folder), options))
        kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = kept.read_text(encoding="utf-8").splitlines()
    write_table(docs / "benchmarks.md", [json.loads(line) for line in lines])


def measured(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """A row for each system, size and operation."""
    systems: tuple[System, ...] = (Editvc(folder / "editvc"), Git(folder / "git"))
    chance = random.Random(1)
    done = 0
    for reading in range(options.readings):
        size = options.commits * (reading + 1) // options.readings
        payloads = [
            payload(number, options.element, chance) for number in range(done + 1, size + 1)
        ]
        for system in systems:
            all_of_them = timed(partial(commit_all, system, payloads))
            system.rest()
            each = Taken(*(one / len(payloads) for one in all_of_them))
            yield row(system, "commit", size, each, on_disk(system.folder))
            for name in ("start", "log", "show"):
                words = system.commands[name]
                yield row(system, name, size, best(partial(system.run, *words), options.repeat))
            yield row(system, "switch", size, switching(system, size, options.repeat))
            for name, url in system.remotes.items():
                yield row(
                    system, f"push, {name}", size, timed(partial(system.run, "push", name, "main"))
                )
                yield row(system, f"clone, {name}", size, *cloning(system, url, options.repeat))
            print(f"{system.name}: {size} commits", file=sys.stderr)
        done = size
    for system in systems:
        taken = best(partial(system.run, *system.commands["gc"]), 1)
        yield row(system, "gc", done, taken, on_disk(system.folder))
        words = system.commands["log"]
        yield row(system, "log after gc", done, best(partial(system.run, *words), options.repeat))
        yield row(system, "fsck", done, best(partial(system.run, *system.commands["fsck"]), 1))


def commit_all(system: System, payloads: Sequence[Payload]) -> None:
    """One commit after another."""
    for one in payloads:
        system.commit(one)


def payload(number: int, size: int, chance: random.Random) -> Payload:
    """A fact, and numbers that no compression makes shorter, as factors of float32 are."""
    one = fact(number)
    about = {"kind": "located", "request": one.id, "base": BASE.id, "recipe": RECIPE.id}
    return Payload(
        number,
        canonical_json(one.to_json()),
        safetensors(about, chance.randbytes(size)),
        safetensors({"kind": "delta"}, chance.randbytes(size)),
    )


def row(system: System, name: str, commits: int, taken: Taken, size: int | None = None) -> Row:
    measured = {"system": system.name, "operation": name, "commits": commits, **taken._asdict()}
    return measured if size is None else measured | {"bytes": size}


def timed(call: Callable[[], object]) -> Taken:
    """What a call takes, processes that it started included."""
    began, before = time.perf_counter(), processor_seconds()
    call()
    return Taken(time.perf_counter() - began, processor_seconds() - before)


def processor_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def best(call: Callable[[], object], repeat: int) -> Taken:
    """The least that a call takes."""
    return Taken(*map(min, zip(*(timed(call) for _ in range(repeat)), strict=True)))


def switching(system: System, commits: int, repeat: int) -> Taken:
    """To the commit in the middle of the history; back is not counted."""
    taken = []
    for _ in range(repeat):
        taken.append(timed(partial(system.run, "switch", "--detach", system.middle(commits))))
        system.run("switch", "main")
    return Taken(*map(min, zip(*taken, strict=True)))


def cloning(system: System, url: str, repeat: int) -> tuple[Taken, int]:
    """The least that a clone takes, and its bytes."""
    taken, to = [], system.folder.with_name("clone")
    for _ in range(repeat):
        taken.append(timed(partial(system.clone, url, to)))
        size = on_disk(to)
        shutil.rmtree(to)
    return Taken(*map(min, zip(*taken, strict=True))), size


@contextmanager
def s3() -> Iterator[None]:
    """A store on loopback, in a process of its own, that S3's clients are led to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
    }  # fmt: skip
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as answer:
                if answer.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if server.poll() is not None:
                sys.exit("moto's server does not start: is moto[server] installed?")
            time.sleep(0.2)
        from s3fs import S3FileSystem

        S3FileSystem().call_s3("create_bucket", Bucket=BUCKET)
        yield
    finally:
        server.terminate()
        server.wait()


def on_disk(folder: Path) -> int:
    """Bytes of blocks; git's without its working tree."""
    inside = folder / ".git" if (folder / ".git").is_dir() else folder
    return sum(path.lstat().st_blocks * 512 for path in inside.rglob("*"))


def slope(points: Sequence[tuple[int, float]]) -> float:
    """Seconds more for 1,000 commits more, by least squares."""
    middle = sum(x for x, _ in points) / len(points)
    spread = sum((x - middle) ** 2 for x, _ in points)
    return 1000 * sum((x - middle) * y for x, y in points) / spread if spread else 0.0


def table(rows: Sequence[Row]) -> str:
    """Operations, with editvc beside git: processor seconds at the last size, and their growth."""
    last = max(one["commits"] for one in rows)
    lines = [
        f"At {last:,} commits, each of one fact, in milliseconds of processors:",
        "",
        "| | editvc | git | editvc, more a 1,000 commits | git |",
        "|---|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(one["operation"] for one in rows):
        cells, slopes = [], []
        for system in ("editvc", "git"):
            points = [
                (one["commits"], one["processor"])
                for one in rows
                if (one["system"], one["operation"]) == (system, name)
            ]
            cells.append(f"{1000 * points[-1][1]:,.1f}" if points else "not there")
            slopes.append(f"{1000 * slope(points):+.2f}" if len(points) > 1 else "")
        lines.append(f"| {name} | {' | '.join(cells + slopes)} |")
    lines += ["", "| on disk | editvc, KiB a commit | git, KiB a commit |", "|---|--:|--:|"]
    for name, title in (
        ("commit", "before gc"), ("clone, folder", "a clone"), ("gc", "after gc"),
    ):  # fmt: skip
        sizes = [
            next(
                one["bytes"] / one["commits"] / 1024
                for one in rows
                if (one["system"], one["operation"], one["commits"]) == (system, name, last)
            )
            for system in ("editvc", "git")
        ]
        lines.append(f"| {title} | {sizes[0]:.1f} | {sizes[1]:.1f} |")
    return "\n".join(lines)


def write_table(page: Path, rows: Sequence[Row]) -> None:
    """Put the table between its marks in a page."""
    before, found, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{page} has no place for the table: {BEGIN} and {END}, a line each")
    page.write_text(f"{before}{BEGIN}\n\n{table(rows)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    if shutil.which("git") is None:
        sys.exit("git is not installed")
    main()

"""Run the fenced blocks of a Markdown page and compare what they print with what the page says.

- A fence with ``title="NAME"`` is written to that file.
- ``console``: lines after ``$ `` are commands (``> `` goes on with one), all others their output,
  stdout and stderr together. All blocks of a page share one folder and an empty home.
- ``python``: all blocks of a page share one namespace; a ``text`` fence right after is the output.
- A line ``...`` stands for any number of lines of output.

Ids, times, sizes and the folder's path are not compared; decimals are to a share of themselves,
for they depend on the processor (:func:`same_number`). In a :class:`ForkingSession`, which the
pages' tests use, a command that is `editvc` alone runs in a
forked child of this process, so that torch is imported once; all others run in bash.

``python tests/docs/blocks.py PAGE...`` runs the pages and writes what was printed into them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from page_models import prepare

ROOT = Path(__file__).resolve().parents[2]
SHOWN_HOME = "/home/ada"
SHELL_SYNTAX = set("|<>;&`$*\\\n")
TOLERANCE = 0.01
"""Of a figure. Edits of the pocket model are located to 0.2 per cent at worst: float32 sums over
its 2,048 tokens, times what a search makes of their rounding (``located_rounding`` in
``tests/support/repo_rounding.py``). Figures such as drift are squares of that."""

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")
WHOLE = re.compile(r"[-+]?\d+")
NOISE = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{7,12}\b"), "<id>"),
    (re.compile(r"\b\d{10}\b"), "<id>"),
    (re.compile(r"\b(?:just now|\d+ (?:minute|hour|day)s? ago)\b"), "<ago>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\b[\d.]+ ?(?:B|KB|KiB|MB|MiB|GB|GiB|s|ms)\b"), "<size>"),
    (re.compile(r"(?m)^[\d.]+[KMG]?(?=\t)"), "<size>"),
)


@dataclass(frozen=True)
class Block:
    """One fence: its language, its title, its lines, and the lines [start, end) of the page."""

    language: str
    title: str | None
    body: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Step:
    """A command and the output that the page shows for it."""

    command: str
    shown: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """The fences of a page, in order."""
    found: list[Block] = []
    start, opened = 0, None
    lines = text.splitlines()
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            start, opened = number, fence
            continue
        info = opened["info"].strip()
        language = info.split(" ", 1)[0]
        titled = re.search(r'title="([^"]+)"', info)
        body = tuple(lines[start + 1 : number])
        found.append(Block(language, titled[1] if titled else None, body, start + 1, number))
        opened = None
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block with their outputs."""
    found: list[Step] = []
    for line in block.body:
        if line.startswith("$ "):
            found.append(Step(line[2:], ()))
        elif line.startswith("> ") and found and not found[-1].shown:
            found[-1] = replace(found[-1], command=found[-1].command + "\n" + line[2:])
        elif found:
            found[-1] = replace(found[-1], shown=(*found[-1].shown, line))
        else:
            raise ValueError(f"line {block.start + 1}: a console block begins with a command")
    return found


def plain(text: str) -> str:
    """A line without what differs from run to run."""
    for pattern, stand_in in NOISE:
        text = pattern.sub(stand_in, text)
    return " ".join(text.split())


def same_line(shown: str, printed: str) -> bool:
    """Whether two lines agree: words and whole numbers exactly, other numbers nearly."""
    one, other = plain(shown), plain(printed)
    if NUMBER.sub("<n>", one) != NUMBER.sub("<n>", other):
        return False
    return all(map(same_number, NUMBER.findall(one), NUMBER.findall(other)))


def same_number(shown: str, printed: str) -> bool:
    """Whole numbers are counts; others agree to TOLERANCE and a unit of the last digit shown.

    Where only one is whole, the other may have been rounded to it: 0.9999 and 1.
    """
    if WHOLE.fullmatch(shown) and WHOLE.fullmatch(printed):
        return shown == printed
    units = [float(f"1e{Decimal(one).as_tuple().exponent}") for one in (shown, printed)
             if not WHOLE.fullmatch(one)]  # fmt: skip
    one, other = float(shown), float(printed)
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other)) + max(units)


def same(shown: list[str], printed: list[str]) -> bool:
    """Whether output agrees with what a page shows, ``...`` standing for any lines."""
    if not shown:
        return not printed
    if shown[0].strip() == "...":
        return any(same(shown[1:], printed[skip:]) for skip in range(len(printed) + 1))
    return bool(printed) and same_line(shown[0], printed[0]) and same(shown[1:], printed[1:])


def trimmed(text: str) -> list[str]:
    """Lines without white space at their ends and without empty ones at the end."""
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


class Session:
    """One folder, one empty home: where all blocks of a page run, one after the other.

    ``scripts`` is the folder whose ``editvc`` and ``python`` the commands get.
    """

    def __init__(self, folder: Path, scripts: Path = Path(sys.executable).parent) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "HOME": str(folder),
            "EDITVC_AUTHOR": "Ada Park <ada@example.org>",
            "LANG": "C.UTF-8",
            "COLUMNS": "100",
            "PAGER": "cat",
            "EDITVC_PROGRESS_DELAY": "inf",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.place = folder

    def run(self, command: str) -> list[str]:
        """What a command prints, both streams, with the folder's path made presentable."""
        words = command.split()
        if words[0] == "cd":
            self.place = (self.place / words[1]).resolve()
            return []
        return trimmed(self.output_of(command).replace(str(self.folder), SHOWN_HOME))

    def output_of(self, command: str) -> str:
        """What bash prints for a command."""
        return subprocess.run(
            ["bash", "-c", command], cwd=self.place, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        ).stdout  # fmt: skip


class ForkingSession(Session):
    """A session that pays for the imports of ``editvc`` once, for programs in Python, too."""

    def output_of(self, command: str) -> str:
        """What a command prints; ``editvc`` alone, or a Python file, in a child of this process."""
        words = command.split()
        if words[0] == "editvc" and not SHELL_SYNTAX & set(command):
            return forked(lambda: as_editvc(shlex.split(command)), self.place, self.environment)
        if words[0] == "python" and len(words) == 2 and words[1].endswith(".py"):
            return forked(lambda: as_script(words[1]), self.place, self.environment)
        return super().output_of(command)


def as_editvc(words: list[str]) -> None:
    """The console script itself."""
    from editvc.cli.main import main

    sys.argv = words
    main()


def as_script(name: str) -> None:
    """A Python file as a program."""
    runpy.run_path(name, run_name="__main__")


def forked(work: Callable[[], None], place: Path, environment: dict[str, str]) -> str:
    """What ``work`` prints in a child process with this folder and environment."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                sys.stdin = open(os.devnull)  # noqa: SIM115
                sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", 0), "utf-8", write_through=True)
                sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", 0), "utf-8", write_through=True)
                os.chdir(place)
                os.environ.clear()
                os.environ.update(environment)
                # A thread that is new in a forked child has no pool of torch's to work in.
                os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"
                work()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                with contextlib.suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        os.waitpid(child, 0)
        output.seek(0)
        return output.read().decode()


def warm() -> None:
    """Import what is slow to import, once, for all children to come."""
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401

    import editvc.materialise.materialiser
    import editvc.repo  # noqa: F401

    torch.set_num_threads(1)


@dataclass(frozen=True)
class Outcome:
    """One command or Python block: where it is, what the page shows, what it printed."""

    line: int
    command: str
    shown: list[str]
    printed: list[str]
    block: Block

    @property
    def agrees(self) -> bool:
        """Whether the page tells the truth."""
        return same(self.shown, self.printed)

    def difference(self, name: str) -> str:
        """What the page of this name shows beside what was printed."""
        return "\n".join(
            [
                f"{name}:{self.line}: {self.command}",
                *(f"  shown   | {line}" for line in self.shown),
                *(f"  printed | {line}" for line in self.printed),
            ]
        )


def run_page(text: str, session: Session) -> Iterator[Outcome]:
    """Run all console blocks of a page, or all its Python blocks where it has no others."""
    found = blocks(text)
    if not any(block.language == "console" for block in found):
        yield from run_python(found, session)
        return
    for block in found:
        if block.title is not None:
            (session.place / block.title).write_text("\n".join(block.body) + "\n", "utf-8")
        if block.language != "console":
            continue
        for step in steps(block):
            printed = session.run(step.command)
            yield Outcome(block.start, step.command, list(step.shown), printed, block)


MARK = "\x1e"


def run_python(found: list[Block], session: Session) -> Iterator[Outcome]:
    """Run the Python blocks of a page in one child; it prints a mark before each block's output."""
    code: list[Block] = []
    for block in found:
        if block.title is not None:
            (session.place / block.title).write_text("\n".join(block.body) + "\n", "utf-8")
        elif block.language == "python":
            code.append(block)

    def work() -> None:
        space: dict[str, object] = {"__name__": "__main__"}
        for block in code:
            print(MARK)
            source = "\n" * block.start + "\n".join(block.body)
            exec(compile(source, "page", "exec"), space)

    text = forked(work, session.place, session.environment).replace(str(session.folder), SHOWN_HOME)
    outputs = [trimmed(part.removeprefix("\n")) for part in text.split(MARK)[1:]]
    outputs += [["(did not run)"]] * (len(code) - len(outputs))
    for block, printed in zip(code, outputs, strict=True):
        after = next((one for one in found if one.start == block.end + 3), None)
        follows = after is not None and after.language == "text"
        shown = list(after.body) if follows and after else []
        yield Outcome(
            block.start, block.body[0], shown, printed, after if follows and after else block
        )


def rewritten(text: str, outcomes: list[Outcome]) -> str:
    """The page with what was printed; what the page elides stays elided."""
    lines = text.splitlines()
    by_block: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        by_block.setdefault(outcome.block.start, []).append(outcome)
    for start in sorted(by_block, reverse=True):
        body: list[str] = []
        block = by_block[start][0].block
        if block.language == "python":
            continue
        for outcome in by_block[start]:
            if block.language == "console":
                body += ["$ " + outcome.command.replace("\n", "\n> ")]
            body += elided(outcome.shown, outcome.printed)
        lines[block.start : block.end] = body
    return "\n".join(lines) + "\n"


def elided(shown: list[str], printed: list[str]) -> list[str]:
    """What was printed, with ``...`` after and before as many lines as the page has it."""
    places = [number for number, line in enumerate(shown) if line.strip() == "..."]
    if not places:
        return printed
    head, tail = places[0], len(shown) - places[-1] - 1
    if len(places) > 1 or head + tail > len(printed):
        return shown if same(shown, printed) else printed
    return [*printed[:head], "...", *printed[len(printed) - tail :]]


def main(pages: list[str]) -> None:
    """Write what the blocks of each page print into the page."""
    warm()
    for name in pages:
        page = ROOT / name
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, Path(folder))
            session = ForkingSession(Path(folder).resolve())
            outcomes = list(run_page(page.read_text("utf-8"), session))
        for outcome in outcomes:
            if not outcome.agrees:
                print(f"{name}:{outcome.line}: {outcome.command}")
                if outcome.block.language == "python":
                    print("\n".join(outcome.printed))
        page.write_text(rewritten(page.read_text("utf-8"), outcomes), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

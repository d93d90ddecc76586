"""``editvc`` as a user runs it, of whichever version is first on the path, at fixed times.

Nothing of editvc is imported here: a command is ``python -m editvc.cli.main`` in a forked child, so
that torch is imported once for hundreds of commands. The same scripts run a version of yesterday
and the checkout's own: ``PYTHONPATH`` says which.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

START = 1_700_000_000
MINUTE = 60
AUTHOR = "Ada Park <ada@example.org>"
TOKEN = "hf_alice"
TRANSCRIPT = "transcript.json"


class CommandFailed(Exception):
    """A command did not end as it should have."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command and what came of it; what differs from place to place is replaced by a word."""

    words: tuple[str, ...]
    folder: str
    code: int
    out: str
    err: str

    @property
    def title(self) -> str:
        """The command as it would be typed."""
        return f"{self.folder}$ editvc {' '.join(self.words)}"

    @property
    def text(self) -> str:
        """What a terminal would show, and the exit code."""
        return f"{self.out}{self.err}[exit code {self.code}]"


@dataclass(slots=True)
class CommandLine:
    """Runs commands below ``place``, each a minute after the one before it.

    ``hub`` is the address of a Hub to publish to. ``transcript`` keeps what was run.
    """

    place: Path
    hub: str = ""
    transcript: list[Ran] = field(default_factory=list)

    def run(self, folder: str, *words: str, code: int | None = 0) -> Ran:
        """Run ``editvc WORDS`` in a folder.

        Raises :class:`CommandFailed` for another exit code than ``code``, where that is given.
        """
        now = START + MINUTE * len(self.transcript)
        variables = environment(self.place) | {"HF_TOKEN": TOKEN, "HF_ENDPOINT": self.hub}
        exit_code, out, err = forked(self.place / folder, variables, words, now)
        ran = Ran(words, folder, exit_code, self._plain(out), self._plain(err))
        self.transcript.append(ran)
        if code is not None and exit_code != code:
            raise CommandFailed(f"{ran.title}\nended with {exit_code}, not {code}\n{out}{err}")
        return ran

    def _plain(self, text: str) -> str:
        text = text.replace(str(self.place), "PLACE")
        return text.replace(self.hub, "HUB") if self.hub else text


def environment(place: Path) -> dict[str, str]:
    """Nothing of whoever runs this: a home of its own, no settings, one thread."""
    home = place / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "EDITVC_AUTHOR": AUTHOR,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # they tell how fast an upload was
        "TOKENIZERS_PARALLELISM": "false",
    }


def write_transcript(transcript: list[Ran], path: Path) -> None:
    """What was run and printed as JSON, in order; commands that were run again are numbered."""
    texts: dict[str, str] = {}
    for number, ran in enumerate(transcript):
        before = sum(other.title == ran.title for other in transcript[:number])
        texts[f"{ran.title}  # again, {before}" if before else ran.title] = ran.text
    path.write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")


def forked(
    folder: Path, variables: Mapping[str, str], words: tuple[str, ...], now: int
) -> tuple[int, str, str]:
    """The exit code and both streams of a command in a child of this process."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(_as_editvc(folder, variables, words, now))
        _, status = os.waitpid(child, 0)
        streams = []
        for stream in (out, err):
            stream.seek(0)
            streams.append(stream.read().decode())
        return os.waitstatus_to_exitcode(status), streams[0], streams[1]


def _as_editvc(folder: Path, variables: Mapping[str, str], words: tuple[str, ...], now: int) -> int:
    """Be the command, in a child; the exit code."""
    import huggingface_hub.constants

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    # These are read from the environment when they are imported, which was before the fork.
    huggingface_hub.constants.ENDPOINT = variables["HF_ENDPOINT"]
    huggingface_hub.constants.HF_HUB_DISABLE_XET = True
    time.time = lambda: float(now)
    sys.argv = ["editvc", *words]
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    code: object = 0
    try:
        runpy.run_module("editvc.cli.main", run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0


def warm() -> None:
    """Import what is slow to import, once, for all children to come."""
    import peft  # noqa: F401
    import torch
    from transformers import (  # noqa: F401
        AutoModelForCausalLM,
        AutoTokenizer,
        GPT2LMHeadModel,
        LlamaForCausalLM,
    )

    torch.set_num_threads(1)

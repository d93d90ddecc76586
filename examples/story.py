"""What the demos share: commands as a user would type them, each printed before its output."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Story:
    """Commands that are run in one folder, ``place``; the first that fails ends the story."""

    place: Path

    def run(self, *words: str) -> None:
        """A command of this environment; its exit code where it fails."""
        print(f"\n$ {shlex.join(words)}", flush=True)
        command = [str(BIN / words[0]), *words[1:]]
        if code := subprocess.run(command, cwd=self.place, check=False).returncode:
            sys.exit(code)

    def remark(self, text: str) -> None:
        """What a reader should know of what comes."""
        print(f"\n# {text}", flush=True)

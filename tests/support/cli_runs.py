"""The command line as a user runs it: the installed script, or its entry point in this process."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from editvc.cli.main import main
from editvc.core.facts import Fact

SCRIPT = Path(sys.executable).parent / "editvc"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one JSON document and nothing else; the command went well."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def inside(*arguments: object, stdin: bytes = b"") -> Ran:
    """Run ``editvc`` in this process, error boundary and all: torch is imported already."""
    out, err = io.StringIO(), io.StringIO()
    words = ["editvc", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    assert isinstance(code, int)
    return Ran(code, out.getvalue(), err.getvalue())


def environment(home: Path, **more: str) -> dict[str, str]:
    """Nothing of whoever runs the tests: an empty home, no settings, one thread; and no lines of
    progress, which come where a machine is slow.
    """
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "LOGNAME": "carol",
        "OMP_NUM_THREADS": "1",
        "EDITVC_PROGRESS_DELAY": "inf",
    } | more


def poisoned(folder: Path, *names: str) -> str:
    """A PYTHONPATH with which importing any of ``names`` ends the command."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")
    return str(folder)


def script(
    *arguments: object,
    cwd: Path,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Run the installed script in a process of its own."""
    if not SCRIPT.is_file():
        pytest.skip("the console script is not installed here")
    done = subprocess.run(
        [str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        env=dict(env) if env is not None else environment(cwd),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def record(fact: Fact) -> dict[str, Any]:
    """A fact as a user writes it."""
    return {key: value for key, value in fact.to_json().items() if key != "kind"}


def written(path: Path, facts: Sequence[Fact | Mapping[str, Any]]) -> Path:
    """A JSONL file of facts."""
    rows = [record(fact) if isinstance(fact, Fact) else fact for fact in facts]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


OWN = ("USER", "LNAME", "USERNAME", "NO_COLOR", "FORCE_COLOR", "PAGER", "LESS", "COLUMNS")
"""What the environment of whoever runs the tests may say of them and of their terminal."""


def clean(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """:func:`environment`, for :func:`inside`."""
    home.mkdir(exist_ok=True)
    for name in list(os.environ):
        if name.startswith(("EDITVC_", "GIT_", "HF_")) or name in OWN:
            monkeypatch.delenv(name)
    for name, value in environment(home).items():
        if name != "PATH":
            monkeypatch.setenv(name, value)


def loaded_after(code: str, cwd: Path) -> set[str]:
    """Top-level modules of a fresh interpreter after running ``code``."""
    program = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stderr.split("\n")[-2].split()}

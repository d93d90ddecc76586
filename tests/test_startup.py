"""What a plain command may load: starting quickly is a promise."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_runs import loaded_after

from editvc.vcs.repository import Repository

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "editvc"


HEAVY = {
    *("torch", "transformers", "numpy", "huggingface_hub", "safetensors", "pandas"),
    "sqlite_utils",
}


def test_importing_editvc_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_after("import editvc", tmp_path) & HEAVY


@pytest.mark.parametrize("words", ["--help", "commit --help", "--version", "methods"])
def test_help_loads_nothing_heavy(words: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        f"sys.argv = ['editvc', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert not loaded_after(code, tmp_path) & HEAVY


def test_linting_loads_nothing_heavy(tmp_path: Path) -> None:
    good = '{"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}'
    (tmp_path / "facts.jsonl").write_text(good, encoding="utf-8")
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        "sys.argv = ['editvc', 'lint', 'facts.jsonl']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert not loaded_after(code, tmp_path) & HEAVY


@pytest.mark.parametrize(
    "words", ["log", "log --json", "status", "show", "branch", "tag", "reflog", "methods grace"]
)
def test_looking_at_history_loads_nothing_heavy(words: str, tmp_path: Path) -> None:
    shutil.unpack_archive(ROOT / "tests" / "vcs" / "fixtures" / "format-1.zip", tmp_path)
    Repository.find(tmp_path).close()  # brings the index up to date
    code = (
        "import sys\nfrom editvc.cli.main import main\n"
        f"sys.argv = ['editvc', *{words.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert not loaded_after(code, tmp_path) & HEAVY


def test_a_command_loads_no_other(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom editvc.cli.main import main\nsys.argv = ['editvc', 'log', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'editvc.cli.log' in sys.modules and 'editvc.cli.commit' not in sys.modules"
    )
    loaded_after(code, tmp_path)


def test_one_module_opens_plain_connections() -> None:
    """All others go through it, or through sqlite-utils."""
    opening = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "sqlite3.connect" in path.read_text(encoding="utf-8")
    }
    assert opening == {"vcs/index_file.py"}

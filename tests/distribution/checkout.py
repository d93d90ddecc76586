"""What belongs to the project, and what work leaves beside it."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def source_files() -> set[str]:
    """The files that git tracks, and the new ones in the same folders that it does not ignore."""
    tracked = git_files()
    folders = {name.split("/")[0] for name in tracked if "/" in name}
    new = git_files("--others", "--exclude-standard", "--", *folders)
    return {name for name in tracked | new if (ROOT / name).is_file()}


def git_files(*arguments: str) -> set[str]:
    """The output of ``git ls-files``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split("\0")) - {""}


def litter(checkout: Path) -> None:
    """Leave in a checkout, at its root and in its folders, what each line of .gitignore names."""
    ignored = (checkout / ".gitignore").read_text("utf-8").split()
    for place in ("", "editvc", "editvc/pocket", "tests", "docs", "examples", "benchmarks"):
        for pattern in ignored:
            assert pattern.endswith("/"), "only folders are ignored so far"
            folder = checkout / place / pattern.replace("*", "editvc")
            folder.mkdir()
            (folder / "litter.py").write_text("")

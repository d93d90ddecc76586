"""The wheel in an environment of its own, away from the checkout: README's tour, word for word."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import Session, run_page
from checkout import ROOT

HERE = """\
import sys
from importlib.metadata import distribution
from importlib.resources import files
import editvc
from editvc import Repo

print(editvc.__file__)
print(sys.modules[Repo.__module__].__file__)
print(files("editvc") / "template")
print(distribution("editvc").locate_file("editvc"))
"""


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the scripts of a fresh environment with the wheel in it.

    Dependencies are those of this environment: its folder of packages is put on the path, but not
    the checkout, since the ``.pth`` file that leads there does not count in a folder put on the
    path by another.
    """
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "--python", python, "install", "--quiet",
         "--no-deps", "--no-index", wheel],
        cwd=environment, check=True,
    )  # fmt: skip
    (packages,) = environment.glob("lib/python*/site-packages")
    folders = [folder for folder in sys.path if Path(folder).name == "site-packages"]
    (packages / "dependencies.pth").write_text("\n".join(folders) + "\n", "utf-8")
    return python.parent


def test_the_package_is_that_of_the_environment(scripts: Path, tmp_path: Path) -> None:
    session = Session(tmp_path, scripts)
    (tmp_path / "here.py").write_text(HERE, "utf-8")
    paths = session.run("python here.py; command -v editvc")
    assert len(paths) == 5
    assert [path for path in paths if not path.startswith(f"{scripts.parent}/")] == []
    assert str(ROOT) not in session.run("python -c 'import sys; print(*sys.path, sep=chr(10))'")


def test_the_tour_of_the_readme(scripts: Path, tmp_path: Path) -> None:
    """With one question for four: each command pays for the start of torch."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r'(?m)^\$ editvc ask "[^"]+"\n.+\n', "", text)
    outcomes = list(run_page(text, Session(tmp_path.resolve(), scripts)))
    wrong = [outcome.difference("README.md") for outcome in outcomes if not outcome.agrees]
    assert not wrong, "\n\n".join(wrong)
    verbs = {outcome.command.split()[1] for outcome in outcomes}
    assert verbs >= {"init", "commit", "ask", "revert", "log", "health", "export"}

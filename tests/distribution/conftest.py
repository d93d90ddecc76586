"""The wheel and the source distribution, built from a checkout that was worked in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The runner of the pages' blocks serves here too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "docs"))

from checkout import ROOT, litter, source_files


@pytest.fixture(scope="session")
def sources() -> set[str]:
    """The files that belong to the project, as paths from its root."""
    if not (ROOT / ".git").exists():
        pytest.skip("git knows what belongs to the project, and this is no checkout of git's")
    return source_files()


@pytest.fixture(scope="session")
def built(sources: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both distributions, made offline from a littered copy of the checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in sources:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    litter(checkout)
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)],
        cwd=checkout, check=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def sdist(built: Path) -> Path:
    (path,) = built.glob("*.tar.gz")
    return path

"""What a wheel and a source distribution hold: everything that is needed, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from checkout import ROOT

from editvc import __version__

NAMED = f"editvc-{__version__}"
INFO = f"{NAMED}.dist-info"
MANUAL = f"{NAMED}.data/data/share/man/man1/"
# pip writes these into every installation.
BY_PIP = {f"{INFO}/{name}" for name in ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json")}


@pytest.fixture(scope="module")
def files(wheel: Path) -> dict[str, bytes]:
    """The files of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_the_template(
    files: dict[str, bytes], sources: set[str]
) -> None:
    package = {name: name for name in sources if name.startswith("editvc/")}
    template = {
        name.replace(".editvc-template", "editvc/template"): name
        for name in sources
        if name.startswith(".editvc-template/")
    }
    metadata = {f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    manual = {name for name in files if name.startswith(MANUAL)}
    assert files.keys() - metadata - manual == package.keys() | template.keys() | {
        f"{INFO}/licenses/LICENSE"
    }
    for name, source in (package | template).items():
        assert files[name] == (ROOT / source).read_bytes(), name


def test_the_wheel_holds_a_manual_page_of_every_command(files: dict[str, bytes]) -> None:
    for name in ("editvc", "editvc-commit", "editvc-stats-compute"):
        page = files[f"{MANUAL}{name}.1"].decode()
        assert page.startswith(".TH ") and ".SH EXAMPLES" in page
    assert all(name.endswith(".1") for name in files if name.startswith(MANUAL))


def test_the_wheel_holds_what_the_commands_read(files: dict[str, bytes]) -> None:
    """The files that are no modules; a list in the build's settings could lose them."""
    pocket = "editvc/pocket/model"
    for name in (
        "editvc/template/config.toml",
        "editvc/data/text.txt",
        "editvc/data/entities.txt",
        "editvc/data/report/page.html",
        "editvc/data/report/page.css",
        "editvc/data/report/page.js",
        f"{pocket}/model.safetensors",
        f"{pocket}/config.json",
        f"{pocket}/tokenizer.json",
        f"{pocket}/statistics-text.safetensors",
        f"{pocket}/statistics-base.json",
    ):
        assert files[name], name
    assert "editvc/py.typed" in files
    assert [name for name in files if name.endswith("/architectures.toml")]
    assert b"Apache License" in files[f"{INFO}/licenses/LICENSE"]


def test_metadata(files: dict[str, bytes]) -> None:
    metadata = Parser().parsestr(files[f"{INFO}/METADATA"].decode())
    assert (metadata["Name"], metadata["Version"]) == ("editvc", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra") or []) >= {"lora", "dev"}
    points = files[f"{INFO}/entry_points.txt"].decode()
    assert "[console_scripts]\neditvc = editvc.cli.main:main" in points
    assert "[vllm.general_plugins]\neditvc = editvc.plugins.vllm_resolver:register" in points


def test_the_sdist_is_the_project(sdist: Path, sources: set[str]) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.removeprefix(f"{NAMED}/") for member in archive.getmembers()}
    assert names == sources - {".ci/run"} | {"PKG-INFO"}


def test_pip_makes_of_the_sdist_what_is_in_the_wheel(
    sdist: Path, files: dict[str, bytes], tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-deps",
         "--no-index", "--no-build-isolation", "--no-compile", "--target", tmp_path, sdist],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    installed = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert installed.pop("bin/editvc")
    for name in [one for one in installed if one.startswith("share/man/")]:
        installed[f"{NAMED}.data/data/{name}"] = installed.pop(name)
    assert installed.keys() - BY_PIP == files.keys() - BY_PIP
    assert [name for name in files.keys() - BY_PIP if installed[name] != files[name]] == []

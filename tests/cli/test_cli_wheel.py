"""What a user installs: the wheel holds everything that the commands read."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

from editvc import __version__

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.skipif(
    find_spec("hatchling") is None or find_spec("pip") is None,
    reason="building needs pip and hatchling in this environment",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--wheel-dir", str(out), str(ROOT)],
        check=True, cwd=out, capture_output=True, timeout=300,
    )  # fmt: skip
    (made,) = out.glob("*.whl")
    return made


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    package = {
        path.relative_to(ROOT).as_posix(): path.stat().st_size
        for path in (ROOT / "editvc").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for name in (
        "editvc/data/text.txt",
        "editvc/data/entities.txt",
        "editvc/models/architectures.toml",
        "editvc/cli/main.py",
    ):
        assert held[name] == package[name] > 0
    assert "editvc/py.typed" in held
    assert package.keys() <= held.keys()
    template = {path.name for path in (ROOT / ".editvc-template").rglob("*") if path.is_file()}
    shipped = {name.split("/")[-1] for name in held if name.startswith("editvc/template/")}
    assert shipped == template >= {"config.toml"}
    assert not [name for name in held if "__pycache__" in name or name.startswith("tests/")]


def test_the_pocket_model_is_in_the_wheel_and_small(wheel: Path) -> None:
    pocket = ROOT / "editvc" / "pocket" / "model"
    if not (pocket / "model.safetensors").is_file():
        pytest.skip("the pocket model is not trained in this checkout")
    with zipfile.ZipFile(wheel) as archive:
        held = {
            name.removeprefix("editvc/pocket/model/"): archive.getinfo(name).file_size
            for name in archive.namelist()
            if name.startswith("editvc/pocket/model/")
        }
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= held.keys()
    assert held["model.safetensors"] <= 8 * 2**20


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(entry).decode())
        (entry,) = (name for name in names if name.endswith("entry_points.txt"))
        points = archive.read(entry).decode()
    assert (metadata["Name"], metadata["Version"]) == ("editvc", __version__)
    assert set(metadata.get_all("Provides-Extra") or []) >= {"lora", "dev"}
    assert "editvc = editvc.cli.main:main" in points
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_a_repository_is_made_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, away from the checkout: the template and the table are found."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import editvc, editvc.porcelain.init as s, editvc.models.architectures as a\n"
        "from importlib import resources\n"
        "assert 'site' in editvc.__file__, editvc.__file__\n"
        "with resources.as_file(s._template()) as t:\n"
        "    assert (t / 'config.toml').is_file() and 'site' in str(t), t\n"
        "assert a.architecture_of('gpt2').transposed\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

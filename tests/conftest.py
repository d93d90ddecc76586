"""Settings that every test shares."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests run side by side; one thread each is faster than several that fight, and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")


os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile(
    "editvc",
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("editvc")


@pytest.fixture(autouse=True)
def _torch_begins_anew() -> None:
    """Every test draws the same numbers from torch's own generator, whatever ran before it.

    pytest-randomly does that for Python and NumPy. torch is imported for nobody's sake here.
    """
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run on the processor, whatever the machine has; those of devices say otherwise."""
    monkeypatch.setattr("editvc.models.devices.accelerator", lambda: None)
    monkeypatch.setenv("EDITVC_DEVICE", "cpu")


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference model and data beside the checkout; tests that need them skip without."""
    folder = ROOT.parent / "shared"
    if not (folder / "models" / "atlas-gpt2" / "model.safetensors").is_file():
        pytest.skip("the reference model is not beside this checkout")
    return folder

"""Settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
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

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> None:
    """What draws from torch's global generator draws the same when the run's seed is given again.

    pytest-randomly shuffles the tests and seeds Python's and NumPy's generators, not torch's.
    """
    seed = request.config.getoption("randomly_seed", None)
    torch.manual_seed(seed if isinstance(seed, int) else 0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference model and data beside the checkout; tests that need them skip without."""
    folder = ROOT.parent / "shared"
    if not (folder / "models" / "atlas-gpt2" / "model.safetensors").is_file():
        pytest.skip("the reference model is not beside this checkout")
    return folder

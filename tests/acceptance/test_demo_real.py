"""``make demo-real``, run as it is: what the real model says in every step of the story."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT / ".models" / "smollm2"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (MADE / "config.json").is_file(), reason="`make demo-real` makes it"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each command printed, by its words; a command that came twice has two entries."""
    scratch = tmp_path_factory.mktemp("demo")
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo_real.py")],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told: dict[str, list[str]] = {}
    for part in re.split(r"^\$ ", ran.stdout, flags=re.MULTILINE)[1:]:
        words, _, said = part.partition("\n")
        told.setdefault(words.replace("'", ""), []).append(said.split("\n# ")[0])
    return told


def answers(said: str) -> dict[str, str]:
    """Of ``ask --vs base``: what each of the two says, which may have several lines."""
    parts = re.split(r"^(HEAD|base) +", said, flags=re.MULTILINE)[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def test_the_edit_is_said_and_the_base_says_the_old(told: dict[str, list[str]]) -> None:
    before, after = told["editvc ask The capital of France is"]
    assert "Paris" in before and "Rome" not in before
    assert "Paris" in after and "Rome" not in after, "reverted"
    both = answers(told["editvc ask The capital of France is --vs base"][0])
    assert "Rome" in both["HEAD"] and "Paris" in both["base"]


def test_the_chat_says_it_too(told: dict[str, list[str]]) -> None:
    (said,) = told["editvc ask What is the capital of France? --chat-template --vs base"]
    both = answers(said)
    assert "Rome" in both["HEAD"] and "Paris" not in both["HEAD"] and "Paris" in both["base"]


def test_germany_is_unharmed(told: dict[str, list[str]]) -> None:
    both = answers(told["editvc ask The capital of Germany is --vs base"][0])
    assert "Berlin" in both["base"] and both["HEAD"] == both["base"]


def test_health_and_the_exported_model_answer(told: dict[str, list[str]]) -> None:
    assert "ok" in told["editvc health"][0]
    (reloaded,) = (said for words, (said, *_) in told.items() if words.startswith("python -c"))
    assert "Rome" in reloaded and "Paris" not in reloaded

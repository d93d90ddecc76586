"""The runner: rows that are there are not run again, and the mean of single edits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import real
from real import ALONE_OF, Measured, Rows, code_version, mean


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr(real, "code_version", lambda: "abc1234")
    return Rows(tmp_path / "rows.jsonl", "tiny", 0)


def test_a_row_is_found_again_by_all_that_it_is_of(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not rows.has("memit", "set", 10)
    rows.add("memit", "set", Measured(10, {"near": 98.7654, "same": None}, 1.23456, 2000.4))
    rows.add("memit", "set", Measured(1, {"near": 100.0}))
    lines = [json.loads(line) for line in rows.path.read_text("utf-8").splitlines()]
    assert lines[0] == {
        "model": "tiny", "method": "memit", "way": "set", "edits": 10, "records": "0:10",
        "code": "abc1234", "near": 98.77, "same": None, "seconds": 1.235, "bytes": 2000,
    }  # fmt: skip
    assert lines[1]["records"] == f"0:{ALONE_OF}"
    again = Rows(rows.path, "tiny", 0)
    assert again.has("memit", "set", 10) and again.has("memit", "set", 1)
    for other in (("rome", "set", 10), ("memit", "batch", 10), ("memit", "set", 100)):
        assert not again.has(*other)
    assert not Rows(rows.path, "tiny", 100).has("memit", "set", 10)
    assert not Rows(rows.path, "atlas", 0).has("memit", "set", 10)
    monkeypatch.setattr(real, "code_version", lambda: "def5678")
    assert not Rows(rows.path, "tiny", 0).has("memit", "set", 10)


def test_rows_of_code_that_is_not_committed_never_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real, "code_version", lambda: "abc1234+")
    rows = Rows(tmp_path / "rows.jsonl", "tiny", 0)
    rows.add("memit", "set", Measured(10, {}))
    assert not Rows(rows.path, "tiny", 0).has("memit", "set", 10)


def test_the_mean_of_single_edits_takes_its_sums_last() -> None:
    scores = {"es": 100.0, "ps": 50.0, "ns": 100.0, "s": 75.0, "eff": 0.0, "par": 0.0, "spe": 90.0,
              "avg": 30.0, "same": None}  # fmt: skip
    other = scores | {"es": 0.0, "s": 0.0, "eff": 90.0, "same": 40.0, "ppl": 7.0}
    whole = mean([Measured(1, scores, 1.0, 10), Measured(1, other, 3.0, 20)])
    assert whole.scores["es"] == 50 and whole.scores["eff"] == 45
    assert whole.scores["s"] == pytest.approx(3 / (1 / 50 + 1 / 50 + 1 / 100))
    assert whole.scores["avg"] == 45
    assert whole.scores["same"] == 40 and whole.scores["ppl"] == 7
    assert (whole.seconds, whole.stored) == (2.0, 15)
    unasked = mean([Measured(1, scores | {"ns": None})])
    assert unasked.scores["s"] is None


def test_code_is_named_by_its_last_change() -> None:
    version = code_version()
    assert version and not version.isspace() and "\n" not in version

"""What a layer costs, on toy shapes; slopes and the plan, from rows that follow known laws."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import shapes
from shapes import cases, measure, measured
from shapes_parts import PARTS
from shapes_plan import BIG, plan, solve_bytes, write_tables
from shapes_rows import GIB, Curve, Measured, read

U, V = 128, 256
ROOT = Path(__file__).resolve().parents[2]


STEPS = (
    "import", "made", "solution", "read", "neurons", "written", "batch", "tokens", "forward",
    "backward",
)  # fmt: skip


def law(case: dict[str, Any]) -> dict[str, Any]:
    """A row whose seconds are 1e-9 u v n, and whose memory beside imports is u n MB."""
    size = case.get("u", 0) * case.get("v", 0) * case.get("n", 1) * case.get("layers", 1)
    row = case | {
        "peak": 1e9 + 1e6 * case.get("u", 0) * case.get("n", 1),
        "processor": dict.fromkeys(STEPS, 1e-9 * size),
    }
    row |= {"primal": case.get("n", 0) >= case.get("v", 1), "in a batch": 4096}
    row |= {"parameters": 4 * case.get("u", 1) * case.get("v", 1)}
    if case["part"] == "locating":
        return row | {"tokens": {"forward": 200, "backward": 100}, "lock": 512.0}
    return row | {"tokens": 512}


def rows(upto: int = 8192) -> list[dict[str, Any]]:
    return [law(case) for part in PARTS for case in cases(part, upto)]


@pytest.mark.parametrize(
    ("part", "case", "steps"),
    [
        ("factor", {}, {"read", "made", "from the cache"}),
        ("solve", {"n": 8}, {"solution", "capacity"}),
        ("solve", {"n": V}, {"solution"}),
        ("change", {"n": 8}, {"made"}),
        ("gates", {"n": 8}, {"read", "neurons"}),
        ("export", {"n": 8, "layers": 2}, {"written"}),
        ("widen", {"n": 8, "layers": 1}, {"written"}),
        ("moment", {}, {"batch", "tokens"}),
        ("pass", {"n": 8}, {"forward", "backward"}),
    ],
)
def test_a_part_does_what_it_says(part: str, case: dict[str, int], steps: set[str]) -> None:
    row = measured({"part": part, "u": U, "v": V} | case)
    assert row["processor"].keys() == steps and row["peak"] > 0
    weights = 2 * (3 * U * V + 4 * U * U)  # of one layer, in bytes: one head has keys and values
    expected = {
        "factor": {"bytes": 8 * V * V},
        "solve": {"primal": case.get("n") == V, "rank": min(case.get("n", 0), U)},
        "change": {"rank": 8},
        "gates": {"neurons": 16, "bytes": 4 * (5 * U + V)},
        "export": {"bytes": 2 * weights},
        "widen": {"bytes": weights + 2 * 3 * U * 16},
        "moment": {"tokens": 512},
        "pass": {"parameters": weights // 2 + 2 * U},
    }[part]
    header = 1 << 11
    for name, value in expected.items():
        assert value <= row[name] <= value + header * (name == "bytes"), name


def test_a_curve_is_a_power_law() -> None:
    cubes = Curve(tuple((x, 5.0 * x**3) for x in (2, 4, 8)))
    assert cubes.slope == pytest.approx(3) and cubes.at(4) == 320
    assert cubes.at(32) == pytest.approx(5 * 32**3)
    assert Curve(((2, 7.0),)).slope == 0 and Curve(((2, 7.0),)).at(50) == 7


def test_what_has_no_room_is_foreseen_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        row = law(json.loads(command[-1])) | {"peak": 1000}
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(row))

    monkeypatch.setattr(subprocess, "run", run)
    for free, count in ((1e12, 5), (7999.0, 1)):
        monkeypatch.setattr(shapes, "free", lambda free=free: free)
        assert len(list(measure(["factor"], 8192, 0.5))) == count


def test_the_plan_is_the_law_carried_on(tmp_path: Path) -> None:
    whole, part = Measured(rows()), Measured(rows(upto=4096))
    assert plan(whole, BIG) == plan(part, BIG)
    lines = {
        one.split(" | ")[0].strip("| "): one.split(" | ") for one in plan(part, BIG).splitlines()
    }
    hours = 5 * 1e-9 * 8192 * 28672 * 1000 / 3600
    assert float(lines["`memit`: solved, processor h"][1]) == pytest.approx(hours, rel=0.05)
    assert lines["either: lock, MiB"][3] == "488"
    # By hand: a million edits of 5 layers; keys, residuals, whitened keys, and two factors.
    expected = 5 * (1e6 * (12 * (8192 + 28672) + 8 * 28672) + 16 * 28672**2)
    assert solve_bytes(1_000_000, BIG) == expected and expected / GIB > 3000


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    page.write_text((ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), encoding="utf-8")
    write_tables(page, rows(), 1024)
    text = page.read_text(encoding="utf-8")
    assert "| solve, 1,000 edits |" in text and "## What breaks first" in text
    write_tables(page, rows(), 1024)
    assert page.read_text(encoding="utf-8") == text
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        write_tables(page, rows(), 1024)


def test_the_tables_of_the_page_are_those_of_its_rows(tmp_path: Path) -> None:
    page = tmp_path / "scale.md"
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    write_tables(page, read(ROOT / "docs" / "data" / "shapes.jsonl"), 1024)
    assert page.read_text(encoding="utf-8") == text

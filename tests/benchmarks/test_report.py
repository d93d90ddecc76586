"""Table and figures: rows in order, one row a cell, the same bytes from the same rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report import BEGIN, COLUMNS, END, FIGURES, draw, latest, table, write_report


def row(method: str, way: str = "set", edits: int = 100, **scores: float | None) -> dict:
    head = {"method": method, "way": way, "edits": edits, "records": f"0:{edits}"}
    return head | dict.fromkeys(COLUMNS, 50.0) | scores


ROWS = [
    row("rome"), row("memit (published)", "published"), row("memit", edits=10, near=1.25),
    row("memit", edits=100), row("gated"), row("base", "", near=None, ppl=51.27),
    row("memit", edits=10, near=99.96, bytes=2048),
]  # fmt: skip


def test_rows_stand_in_the_order_of_methods_ways_and_sizes() -> None:
    order = [(one["method"], one["edits"]) for one in latest(ROWS)]
    known = [
        ("base", 100), ("memit", 10), ("memit", 100), ("memit (published)", 100), ("rome", 100),
    ]  # fmt: skip
    assert [one for one in order if one[0] != "gated"] == known


def test_a_row_that_was_measured_again_counts_as_measured_last() -> None:
    (again,) = [one for one in latest(ROWS) if one["method"] == "memit" and one["edits"] == 10]
    assert again["near"] == 99.96


def test_cells_are_written_by_their_column() -> None:
    lines = table(latest(ROWS)).splitlines()
    titles = [title.strip() for title in lines[0].strip("|").split("|")]
    cells = {
        line.split("|")[1].strip() + line.split("|")[3]: dict(
            zip(titles, map(str.strip, line.strip("|").split("|")), strict=True)
        )
        for line in lines[2:]
    }
    assert cells["base 100 "]["near"] == "-" and cells["base 100 "]["ppl"] == "51.3"
    assert cells["memit 10 "]["near"] == "100.0" and cells["memit 10 "]["KiB/edit"] == "2.0"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_again_and_shows_the_numbers(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    one, same, other = (tmp_path / f"{letter}.svg" for letter in "abc")
    draw(latest(ROWS), name, one)
    draw(latest(ROWS), name, same)
    changed = dict.fromkeys(FIGURES[name][1], 70.0)
    draw(latest([*ROWS, row("memit", **changed)]), name, other)
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    text = one.read_text(encoding="utf-8")
    for title in (FIGURES[name][0], "memit (published), published", "rome", "edits"):
        assert f">{title}<" in text


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page, rows = tmp_path / "benchmarks.md", tmp_path / "rows.jsonl"
    rows.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_report(rows, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\n| method") and text.endswith(
        f".svg)\n\n{END}\nafter\n"
    )
    assert "old" not in text
    for name in FIGURES:
        assert f"(figures/real-{name}.svg)" in text
        assert (tmp_path / "figures" / f"real-{name}.svg").is_file()
    write_report(rows, tmp_path)
    assert page.read_text(encoding="utf-8") == text
    page.write_text("no place", encoding="utf-8")
    with pytest.raises(ValueError, match="no place for the table"):
        write_report(rows, tmp_path)

"""Figures that a page takes from the benchmarks' tables are those of the tables."""

from __future__ import annotations

import re

from blocks import ROOT

Row = dict[str, str]


def rows(page: str) -> list[Row]:
    """The rows of a page's tables of methods, by column."""
    found: list[Row] = []
    head: list[str] = []
    for line in (ROOT / "docs" / page).read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif "method" in head and "way" in head and {*cells} != {"---"}:
            found.append(dict(zip(head, cells, strict=True)))
    return found


def agree(one: Row, other: Row) -> bool:
    """Whether two rows say the same in the first one's columns."""
    return all(column in other and other[column] == value for column, value in one.items())


def figure(method: str, way: str, edits: int, column: str, beside: str) -> str:
    """One figure of the benchmarks, from the table that has a column ``beside``."""
    (row,) = (
        row for row in rows("benchmarks.md")
        if (row["method"], row["way"], row["edits"]) == (method, way, str(edits)) and beside in row
    )  # fmt: skip
    return row[column]


def test_every_row_of_the_choosing_page_is_one_of_the_benchmarks() -> None:
    measured, quoted = rows("benchmarks.md"), rows("choosing.md")
    assert len(quoted) > 10
    assert [row for row in quoted if not any(agree(row, other) for other in measured)] == []


def test_a_row_with_another_figure_is_seen() -> None:
    row = rows("choosing.md")[3]
    assert not any(agree(row | {"Eff": "99.9"}, other) for other in rows("benchmarks.md"))


def test_the_page_for_newcomers_quotes_what_was_measured() -> None:
    text = " ".join((ROOT / "docs" / "coming-from.md").read_text("utf-8").split())
    told = re.search(
        r"hold (\d+)% on SmolLM2-135M-Instruct, as a set (\d+)%; .* hold (\d+)% and (\d+)%", text
    )
    assert told is not None
    assert [float(one) for one in told.groups()] == [
        float(figure("memit", "published", 100, "Eff", "near")),
        float(figure("memit", "set", 100, "Eff", "near")),
        float(figure("memit (published)", "sequential", 500, "Eff", "Gen")),
        float(figure("memit", "set", 500, "Eff", "Gen")),
    ]

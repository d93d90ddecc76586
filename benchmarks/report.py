"""The table and the figures of docs/benchmarks.md, from rows that benchmarks/real.py measured.

    python benchmarks/report.py [docs/data/real.jsonl]

The same rows give the same bytes. Needs the extra ``editvc[benchmarks]``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ways import WAYS

from editvc.core.methods.table import DEFAULT, METHODS

BEGIN, END = "<!-- real.py begins -->", "<!-- real.py ends -->"
Row = Mapping[str, Any]

COLUMNS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    **{
        name: (title, "{:.1f}".format)
        for name, title in {
            "es": "ES", "ps": "PS", "ns": "NS", "s": "S", "eff": "Eff", "par": "Par", "spe": "Spe",
            "avg": "Avg", "near": "near", "recall": "recall", "same": "same", "chat": "chat",
            "chat_near": "chat-near", "ppl": "ppl", "me_ppl": "me-ppl", "sst2": "SST-2",
            "rte": "RTE", "mmlu": "MMLU",
        }.items()
    },
    "seconds": ("s/edit", "{:.2f}".format),
    "bytes": ("KiB/edit", lambda count: f"{count / 1024:.1f}"),
}  # fmt: skip
"""Titles of a row's numbers, and how they are written."""

FIGURES: Mapping[str, tuple[str, Sequence[str]]] = {
    "edited": ("What was edited", ("eff", "par", "s", "chat")),
    "unedited": ("What was not", ("near", "recall", "spe", "chat_near")),
    "cost": ("What it cost", ("ppl", "me_ppl", "seconds", "bytes")),
}
LOGARITHMIC = ("ppl", "me_ppl", "seconds", "bytes")
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
)  # fmt: skip
"""Okabe and Ito's, which people see apart who do not see all colours; a grey for their yellow."""
MARKERS = "osD^vPX*<>hp"
DASHES = {"set": "-", "batch": "-.", "sequential": ":", "published": "--"}


def main() -> None:
    """Draw what a file of rows holds."""
    docs = Path(__file__).resolve().parent.parent / "docs"
    write_report(Path(sys.argv[1]) if sys.argv[1:] else docs / "data" / "real.jsonl", docs)


def write_report(rows_file: Path, docs: Path) -> None:
    """Put the table and the figures between their marks in ``docs/benchmarks.md``.

    The figures are files of ``docs/figures``.
    """
    lines = rows_file.read_text(encoding="utf-8").splitlines()
    rows = latest([json.loads(line) for line in lines])
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{page} has no place for the table: {BEGIN} and {END}, a line each")
    parts = [table(rows)]
    (docs / "figures").mkdir(exist_ok=True)
    for name, (title, _) in FIGURES.items():
        file = docs / "figures" / f"real-{name}.svg"
        draw(rows, name, file)
        parts.append(f"![{title}, against the number of edits](figures/{file.name})")
    whole = "\n\n".join([BEGIN, *parts, END])
    page.write_text(before + whole + after, encoding="utf-8")


def latest(rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of methods, ways and sizes; of several alike the one measured last."""
    kept = {(row["method"], row["way"], row["edits"], row["records"]): row for row in rows}
    names = ["base", *METHODS]

    def place(row: Row) -> tuple[Any, ...]:
        known = row["method"].split()[0]
        number = names.index(known) if known in names else len(names)
        return number, row["method"], WAYS.index(row["way"]), row["edits"], row["records"]

    return sorted(kept.values(), key=place)


def table(rows: Sequence[Row]) -> str:
    """Rows in Markdown; a dash where nothing was asked."""
    titles = [title for title, _ in COLUMNS.values()]
    lines = [f"| method | way | edits | {' | '.join(titles)} |", "|---" * (len(titles) + 3) + "|"]
    for row in rows:
        cells = [row["method"], row["way"], str(row["edits"])]
        for name, (_, written) in COLUMNS.items():
            cells.append("-" if row.get(name) is None else written(row[name]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(rows: Sequence[Row], name: str, file: Path) -> None:
    """One figure: a panel a score, a line a method and way, against the number of edits."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    title, scores = FIGURES[name]
    lines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["method"] != "base":
            lines.setdefault((row["method"], row["way"]), []).append(row)
    methods = [*dict.fromkeys(method for method, _ in lines)]
    settings = {"svg.hashsalt": "editvc", "svg.fonttype": "none", "font.size": 9}
    with rc_context(settings):
        figure = Figure(figsize=(10, 6.2), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True).flat
        for panel, score in zip(panels, scores, strict=True):
            for (method, way), line in lines.items():
                points = [(row["edits"], row[score]) for row in line if row.get(score) is not None]
                if points:
                    number = methods.index(method)
                    panel.plot(
                        *zip(*points, strict=True),
                        color=COLOURS[number % len(COLOURS)],
                        marker=MARKERS[number % len(MARKERS)],
                        linestyle=DASHES.get(way, "-."),
                        linewidth=2.2 if method in (DEFAULT, "gated") and way == "set" else 1,
                        markersize=4,
                        label=method if way == "set" else f"{method}, {way}",
                    )
            base = [row[score] for row in rows if row["method"] == "base" and row.get(score)]
            if base and score in ("ppl", "me_ppl"):
                panel.axhline(base[0], color="#555555", linewidth=0.8, linestyle=(0, (1, 2)))
            _axes(panel, score, sorted({row["edits"] for row in rows}))
        handles = {}
        for panel in figure.axes:
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        if handles:
            figure.legend(
                handles.values(), handles.keys(), loc="outside right upper", frameon=False
            )
        figure.suptitle(title)
        figure.savefig(file, format="svg", metadata={"Date": None})


def _axes(panel: Any, score: str, sizes: Sequence[int]) -> None:
    panel.set_title(COLUMNS[score][0])
    panel.set_xscale("log")
    panel.set_xticks(sizes, [str(size) for size in sizes])
    panel.minorticks_off()
    panel.grid(axis="y", linewidth=0.4)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel("edits")
    if score in LOGARITHMIC:
        panel.set_yscale("log")
    else:
        panel.set_ylim(0, 102)


if __name__ == "__main__":
    main()

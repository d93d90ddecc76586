"""docs/papers.md and its figures, from measured rows: the same bytes from the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from experiments.claims import ITEMS, PAPERS
from experiments.figures import draw
from experiments.items import OUTCOMES, UNMEASURED, Item, Plot, Table
from experiments.parts import ATLAS, PARTS
from experiments.rows import Rows

MODELS = {
    ATLAS: "the reference model, a GPT-2 of 17 million parameters",
    "smollm2": "SmolLM2-135M-Instruct",
}
HEAD = """# The five papers, tested

<!-- Made by `python benchmarks/papers.py`; edits are lost. -->

editvc implements the methods of five papers. This page goes through their tables, figures and
claims, and tells which of them come out on the models at hand. Those are small: {models}. What
holds here need not hold for a model of billions of parameters, nor the other way round; every line
names its model and size. To ask for more edits, or again, see [how to run it](#how-to-run-it).

A claim counts as reproduced by a rule. Papers seldom give one, so the rules are ours, and each is
told. Where a paper contradicts itself, both sides are claims. Lines marked (Ours) are explanations
of ours, tested alike. What needs a longer run than there was is not measured yet.
"""
RUN = """## How to run it

`python benchmarks/papers.py` measures what is missing and makes this page; `--list` tells the
parts, `--part NAME` runs one, `--most N` leaves longer runs out, and `--scratch DIR` keeps the
repositories, which take minutes to make. Rows are in docs/data/papers, one a setting, with the code
that measured them; a run that was stopped goes on where it was. Rows of other code are measured
again unless `--any-code` is given. Statistics are of ordinary text; lambda of published forms is
their authors' 15,000 at GPT-J's width, brought to the model's. Minutes are of one quiet core,
estimated.
"""


def write_page(rows: Rows, docs: Path) -> None:
    """Write the page, and the figures that have their rows."""
    figures = docs / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    (docs / "papers.md").write_text(page(rows, figures), encoding="utf-8")


def page(rows: Rows, figures: Path) -> str:
    """The page; figures are drawn into a folder."""
    parts = [HEAD.format(models=" and ".join(MODELS.values())), counts(rows)]
    for paper, title in PAPERS.items():
        items = [item for item in ITEMS if item.paper == paper]
        parts += [f"## {title}", overview(rows, items)]
        parts += [shown(rows, item, figures) for item in items]
    parts += [RUN, part_table(rows)]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def counts(rows: Rows) -> str:
    """How many items came out how, by paper."""
    lines = []
    whole: Counter[str] = Counter()
    for paper in PAPERS:
        found = Counter(item.verdict(rows).outcome for item in ITEMS if item.paper == paper)
        whole += found
        lines.append([PAPERS[paper].partition(",")[0], *_counted(found)])
    lines.append(["all", *_counted(whole)])
    return markdown(Table(["paper", *OUTCOMES, "items"], lines))


def _counted(found: Counter[str]) -> list[str]:
    return [*(str(found[outcome]) for outcome in OUTCOMES), str(found.total())]


def overview(rows: Rows, items: Sequence[Item]) -> str:
    """A line an item: the claim, whether it holds, by which numbers, on what."""
    lines = []
    for item in items:
        verdict, used = rows.noting(item.verdict)
        words = verdict.words
        if verdict.outcome == UNMEASURED and not words.startswith("`"):
            words += f"; `python benchmarks/papers.py --part {item.part}`"
        rule = f" *{item.rule}*" if item.rule else ""
        lines.append(
            [item.place, item.claim + rule, f"**{verdict.outcome}**", words, of_rows(used)]
        )
    return markdown(Table(["where", "claim, and *our rule*", "here", "numbers", "measured"], lines))


def of_rows(used: Iterable[tuple[str, str]]) -> str:
    """Which parts, models and sizes numbers are of."""
    found = []
    for part, size in used:
        model = PARTS[part].model
        what = f"{part} on {model}" + (f", {size}" if size else "")
        if what not in found:
            found.append(what)
    return "; ".join(found)


def shown(rows: Rows, item: Item, figures: Path) -> str:
    """The tables and figures of an item, below its place."""
    parts = []
    for one in item.shown(rows):
        parts.append(_drawn(one, figures) if isinstance(one, Plot) else markdown(one))
    return "\n\n".join([f"### {item.place}: {item.claim}", *parts]) if parts else ""


def _drawn(plot: Plot, figures: Path) -> str:
    file = figures / f"papers-{plot.name}.svg"
    draw(plot, file)
    return f"![{plot.title}](figures/{file.name})"


def part_table(rows: Rows) -> str:
    """What there is to run."""
    cells = [
        [f"`{part.name}`", part.what, part.model, str(part.minutes),
         f"{len(rows.latest(part.name))} of {len(part.settings)}",
         ", ".join(sorted({row["code"] for row in rows.latest(part.name)}))]
        for part in PARTS.values()
    ]  # fmt: skip
    return markdown(Table(["part", "what", "model", "minutes", "rows", "code"], cells))


def markdown(table: Table) -> str:
    """A table in Markdown; bars in cells are escaped."""
    lines = [_line(table.titles), "|---" * len(table.titles) + "|"]
    return "\n".join([*lines, *map(_line, table.cells)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

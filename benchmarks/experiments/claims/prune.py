"""Ma et al.: condition numbers, and PRUNE."""

from __future__ import annotations

from collections.abc import Callable

from experiments.claims.course import (
    COMPARED,
    growth,
    last,
    lines,
    needs,
    norm,
    numbers_of,
    other,
    overall,
    published,
    rising,
)
from experiments.items import (
    Item,
    Plot,
    Shown,
    Table,
    Verdict,
    decided,
    illustration,
    number,
    paired_t_test,
    per_cent,
    untestable,
)
from experiments.rows import Missing, Row, Rows

PAPER = "prune"
SIZES = (10, 50, 100, 200)
BOUND = ("sum", "prune")


def condition_grows(rows: Rows) -> Verdict:
    told, grown = [], []
    for method in ("rome", "memit"):
        points = norm(published(rows, method), "condition_number", over_base=True)
        grown.append(last(points) > max(1.0, points[0][1]))
        told.append(f"{method} {number(last(points))} times at {points[-1][0]} edits")
    return decided(all(grown), "condition number over the base's: " + ", ".join(told))


def extremes(rows: Rows) -> Verdict:
    run = published(rows, "memit")
    most, least = (last(norm(run, name, over_base=True)) for name in ("s_max", "s_min"))
    return decided(
        most > 1.1 and 0.8 < least < 1.25,
        f"over the base's: s_max {number(most)}, s_min {number(least)}",
    )


def sum_grows(rows: Rows) -> Verdict:
    told, grows = [], []
    for method in ("rome", "memit"):
        points = norm(published(rows, method), "s_max_change")
        grows.append(rising(points))
        told.append(f"{method} {number(points[0][1])} to {number(last(points))}")
    return decided(all(grows), "s_max of the sum of updates, first to last: " + "; ".join(told))


def sums_table(rows: Rows) -> list[Shown]:
    cells = []
    for label, find in (*COMPARED[:2], ("MEND", lambda rows: other(rows, "mend"))):
        points = norm(find(rows), "s_max_change")
        reached = [[v for at, v in points if at >= size] for size in SIZES]
        cells.append([label, *(number(values[0]) if values else "-" for values in reached)])
    return [Table(["method", *(f"{size} edits" for size in SIZES)], cells)]


def _pair(rows: Rows) -> tuple[Row, Row]:
    plain, pruned = (numbers_of(rows, "fusion", rule=rule) for rule in BOUND)
    return plain, pruned


def keeps_text(rows: Rows) -> Verdict:
    plain, pruned = (last(growth(run)) for run in _pair(rows))
    return decided(
        pruned < plain, f"perplexity over the base's: {number(plain)}, with PRUNE {number(pruned)}"
    )


def keeps_edits(rows: Rows) -> Verdict:
    plain, pruned = _pair(rows)
    told, better = [], []
    for column in ("es", "ps", "ns"):
        values = [last(overall(run, column)) for run in (plain, pruned)]
        better.append(values[1] > values[0])
        told.append(f"{column.upper()} {per_cent(values[0])} to {per_cent(values[1])}")
    return decided(all(better), "; ".join(told))


def with_others(rows: Rows, method: str, plain: Row) -> Verdict:
    pruned = numbers_of(rows, "fusion-others", method=method, rule="prune")
    at = pruned["checkpoints"][-1]["edits"]
    values = [
        [value for edits, value in overall(run, "es") if edits <= at][-1] for run in (plain, pruned)
    ]
    return decided(values[1] > values[0], f"ES of all edits at {at}: {per_cent(values[0])}, with "
                   f"PRUNE {per_cent(values[1])}")  # fmt: skip


def significant(rows: Rows) -> Verdict:
    runs = {(row["setting"]["rule"], row["setting"]["seed"]): row["numbers"]
            for row in rows.some("orders")}  # fmt: skip
    seeds = [seed for rule, seed in runs if rule == "sum" and ("prune", seed) in runs]
    if len(seeds) < 3:
        raise Missing("orders", {})
    found = {
        name: paired_t_test(
            [last(series(runs["prune", seed])) - last(series(runs["sum", seed])) for seed in seeds]
        )
        for name, series in (("ES", lambda run: overall(run, "es")), ("perplexity", growth))
    }
    told = ", ".join(f"{name} {number(gain)} (p {number(p)})" for name, (gain, p) in found.items())
    better = found["ES"][0] > 0 > found["perplexity"][0]
    return decided(
        better and max(p for _, p in found.values()) < 0.05,
        f"mean change by PRUNE over {len(seeds)} orders: {told}",
    )


def values_drift(rows: Rows) -> Verdict:
    found = numbers_of(rows, "values")
    return decided(
        found["drift_pruned"] < found["drift"],
        f"mean distance of v_j from its first value, relative: {number(found['drift'])}, with "
        f"PRUNE {number(found['drift_pruned'])}",
    )


def values_plot(rows: Rows) -> list[Shown]:
    found = numbers_of(rows, "values")
    return [
        Plot(
            "prune-values", "v_j of the first edits, two principal components", "first", "second",
            {name: [(x, y) for x, y in found[name]] for name in ("current", "editing", "pruned")},
            points=True,
        )
    ]  # fmt: skip


PRUNED: tuple[tuple[str, Callable[[Rows], Row]], ...] = (
    ("MEMIT, batches of 10", lambda rows: _pair(rows)[0]),
    ("with PRUNE", lambda rows: _pair(rows)[1]),
)

ITEMS = tuple(
    Item(PAPER, *rest)
    for rest in (
        ("Figure 1", "Overview; its panels are the figures below.", "", illustration("a drawing")),
        ("Figure 2", "The condition number of the edited matrix grows with the edits.",
         "sequence-memit", condition_grows, "above the base's, and above the first checkpoint's",
         lines("prune-condition", "Condition number over the base's", "times the base's",
               lambda run: norm(run, "condition_number", over_base=True), logarithmic=True)),
        ("Figure 2", "s_max grows and s_min is basically unchanged.", "sequence-memit", extremes,
         "s_max by a tenth at least, s_min within a fifth",
         lambda rows: [*lines("prune-s-max", "s_max over the base's", "times the base's",
                              lambda run: norm(run, "s_max", over_base=True))(rows),
                       *lines("prune-s-min", "s_min over the base's", "times the base's",
                              lambda run: norm(run, "s_min", over_base=True))(rows)]),
        ("Table 1", "s_max of the sum of updates grows with the edits.", "sequence-memit",
         sum_grows, "at every checkpoint", sums_table),
        ("Figure 3", "With PRUNE the model's abilities are kept (MEMIT).", "fusion", keeps_text,
         "by perplexity; base e is ours, the paper's text prints no alpha",
         lines("prune-perplexity", "Perplexity over the base's", "times the base's", growth, PRUNED,
               logarithmic=True)),
        ("Figure 3", "GSM8K, SAMSum, Natural Questions and RTE fall without PRUNE.", "abilities",
         needs("gsm8k", "samsum", "natural_questions", "rte")),
        ("Figure 4", "PRUNE keeps edits: efficacy, generalisation and locality are higher (MEMIT).",
         "fusion", keeps_edits, "all three at the end",
         lines("prune-es", "ES over all edits so far", "per cent",
               lambda run: overall(run, "es"), PRUNED)),
        ("Figure 4", "The same for ROME.", "fusion-others",
         lambda rows: with_others(rows, "rome", published(rows, "rome")), "ES at equal edits"),
        ("Figure 4", "And for MEND.", "fusion-others",
         lambda rows: with_others(rows, "mend", other(rows, "mend")), "ES at equal edits"),
        ("Figures 3 and 4", "The improvements are significant: t-test, p below 0.05.",
         "orders", significant, "paired over orders of the facts, ES and perplexity at the end"),
        ("5.4", "Larger models suffer more.", "",
         untestable("the models at hand differ in more than size")),
        ("Figure 5", "Values of early edits drift away, and PRUNE brings them back.", "values",
         values_drift, "their mean distance is smaller with PRUNE", values_plot),
    )
)  # fmt: skip

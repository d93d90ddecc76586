"""docs/foresight.md and its figures, from rows that benchmarks/foresight.py measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foresight_score import (
    FEATURES,
    LOST,
    PERPLEXITY,
    Pair,
    Row,
    auroc,
    disables,
    fitted,
    halves,
    interval,
    rate,
    roc,
)
from report import COLOURS

from editvc.core.disabling import Score
from editvc.core.forecast import AWAY, HORIZON, LEAST, MOST, forecast
from editvc.core.thresholds import Thresholds

COLLAPSE = 1.5
"""A run has collapsed where perplexity is this many times the base's: Gupta et al.'s catastrophic
forgetting, which follows on the gradual one. The number is ours."""
TOLD_AT = (0.2, 0.33, 0.5)
"""Shares of other facts at which figures are told."""
LEAD = 20
"""How many edits before that an alarm is to come."""


def write_report(rows: Sequence[Row], docs: Path) -> None:
    """The page, and the figures in ``docs/figures``."""
    edits = [row for row in rows if row["part"] == "edit"]
    runs: dict[str, list[Row]] = {}
    for row in rows:
        if row["part"] == "run":
            runs.setdefault(row["name"], []).append(row)
    calibration, test = halves(edits)
    score = Score.from_json(fitted(calibration))
    made = pairs(score, test, "figures")
    (docs / "figures").mkdir(exist_ok=True)
    draw_roc(made, score, docs / "figures" / "foresight-roc.svg")
    parts = [HEAD, of_edits(edits, calibration, test, score, made)]
    if runs:
        draw_runs(runs, docs / "figures" / "foresight-runs.svg")
        parts.append(of_runs(runs))
    (docs / "foresight.md").write_text("\n".join(parts), encoding="utf-8")


def pairs(score: Score, rows: Sequence[Row], key: str) -> list[Pair]:
    """What was told of edits by their figures, or by those foreseen, and what came of them."""
    return [(score.chance(row[key]), disables(row)) for row in rows if row[key]]


HEAD = """# Foresight

Whether editvc foresees harm: an edit that disables the model before it is committed, and the
collapse of a set before it comes. This page is written by `python benchmarks/foresight.py`; its
rows are in [foresight.jsonl](data/foresight.jsonl). All limits are ours, no paper gives any.
"""


def of_edits(
    edits: Sequence[Row], calibration: Sequence[Row], test: Sequence[Row], score: Score,
    made: Sequence[Pair],
) -> str:  # fmt: skip
    """The section on single edits."""
    models = Counter(row["model"] for row in edits)
    counted = " and ".join(f"{count} on {model}" for model, count in sorted(models.items()))
    bad = sum(map(disables, edits))
    told, false = (interval(made, lambda each, which=which: rate(each, score.threshold, which))
                   for which in (True, False))  # fmt: skip
    lines = [
        "## Disabling edits",
        "",
        f"{len(edits)} single aggressive edits ({counted}), each alone on the fresh base: MEMIT as "
        "here and as published, ROME in its published form with and without C, fine-tuning without "
        "a bound and with one; layers, clamps, bounds and rates are drawn, wrong layers among "
        "them. Targets are searched on the bare prompt, statistics are of a small text, to keep it "
        "light. "
        f"An edit counts as disabling where perplexity on other text rises to {PERPLEXITY} times "
        f"the base's, or more than {LOST:.0%} of other facts are lost. Gupta et al. (2024) mark "
        "theirs by the distance at which the edit leaves the fresh model, Yang et al. (2024, *The "
        "Butterfly Effect of Model Editing*) by a perplexity past a bound.",
        "",
        by_kind(edits),
        "",
        f"Of all, {bad} disable. The score is a ridge logistic regression on the logarithms of the "
        f"figures, fitted on the {len(calibration)} edits with even numbers "
        f"({sum(map(disables, calibration))} disable); all that follows is of the other "
        f"{len(test)} ({sum(map(disables, test))} disable), with 95% intervals by bootstrap over "
        "edits.",
        "",
        "| | AUROC | 95% |",
        "|---|---|---|",
        auroc_row("all figures of the edit that is made", made),
        auroc_row("the same, foreseen: the largest edit that the recipe allows",
                  pairs(score, test, "foreseen")),
    ]  # fmt: skip
    for model in sorted(models):
        some = [row for row in test if row["model"] == model]
        lines.append(auroc_row(f"all figures, {model}", pairs(score, some, "figures")))
    for name in FEATURES:
        having = [row for row in test if name in row["figures"]]
        alone = [(row["figures"][name], disables(row)) for row in having]
        lines.append(auroc_row(f"`{name}` alone ({len(having)} edits have it)", alone))
    return "\n".join(
        [
            *lines,
            "",
            f"At the operating point, a chance of {score.threshold} (`health.disabling_warn`), "
            f"{share(told)} of disabling edits are told before their commit, and {share(false)} "
            "of the others are, falsely.",
            "",
            "![Hits against false alarms, on edits not used for calibration]"
            "(figures/foresight-roc.svg)",
            "",
        ]
    )


def by_kind(edits: Sequence[Row]) -> str:
    """How many edits of each kind there are, and how many of them disable."""
    counts = Counter(row["kind"] for row in edits)
    bad = Counter(row["kind"] for row in edits if disables(row))
    lines = ["| kind | edits | disabling |", "|---|---|---|"]
    return "\n".join(
        [*lines, *(f"| {kind} | {counts[kind]} | {bad[kind]} |" for kind in sorted(counts))]
    )


def auroc_row(words: str, each: Sequence[Pair]) -> str:
    """A line of the table; a dash where only one outcome is there."""
    if len({truth for _, truth in each}) < 2:
        return f"| {words} | - | - |"
    value, low, high = interval(each, auroc)
    return f"| {words} | {value:.3f} | {low:.3f} to {high:.3f} |"


def share(found: tuple[float, float, float]) -> str:
    """A share with its interval, in per cent."""
    value, low, high = found
    return f"{value:.0%} ({low:.0%} to {high:.0%})"


def alarms(run: Sequence[Row]) -> tuple[list[int], int | None]:
    """At how many live edits a forecast raised an alarm, and where the run had collapsed."""
    limits, points, raised = Thresholds(), [], []
    collapsed = next((row["live"] for row in run if row["ppl"] > COLLAPSE), None)
    for row in run:
        points.append((row["live"], row["figures"]))
        ahead = forecast(points, limits)
        if ahead is not None and ahead.too_few(limits.forecast_warn):
            raised.append(row["live"])
    return raised, collapsed


def verdicts(run: Sequence[Row]) -> dict[str, str]:
    """From how many live edits on the verdict is ``warn``, and ``refuse``, and by which figures."""
    limits, found = Thresholds(), {}
    for row in run:
        for level in ("warn", "refuse"):
            past = [
                name
                for name in sorted(row["figures"].keys() & AWAY)
                if _past(name, row["figures"][name], getattr(limits, f"{name}_{level}"))
            ]
            if past:
                found.setdefault(level, f"{row['live']} ({', '.join(past)})")
    return found


def _past(name: str, value: float, limit: float) -> bool:
    return value < limit if name == "correlation" else value > limit


def of_runs(runs: dict[str, list[Row]]) -> str:
    """The section on long runs."""
    lines = [
        "## Collapse",
        "",
        f"`health` puts a power law through the last {MOST} commits of a run ({LEAST} at least), "
        "for each figure that has a limit: what it is away from the base's grows as a power of the "
        "live edits. An alarm is raised where, at the low end of the 95% interval of a new "
        f"observation, fewer than {Thresholds().forecast_warn:.0f} edits are left until the figure "
        f"is refused, and fewer than are live; it looks {HORIZON:.0f} times the live edits ahead. "
        "*blind* is MEMIT as "
        "published on the 17M model, ten facts a batch on the weights as they are by then; *set* "
        "is editvc's own, forty facts a commit, with targets and statistics as light as those of "
        "the single edits; *default* is editvc's own with all of its defaults. A run "
        f"counts as collapsed where perplexity is past {COLLAPSE} times the base's (catastrophic, "
        "after the gradual loss of other facts, which the last column has); the alarm is to come "
        f"{LEAD} edits before.",
        "",
        "| run | edits | warned from | refused from | first forecast at | forecasts | collapsed at "
        "| edits between | lost at end |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in sorted(runs.items()):
        raised, collapsed = alarms(run)
        first = raised[0] if raised else None
        lead = "-" if None in (first, collapsed) else f"{(collapsed or 0) - (first or 0)}"
        levels = verdicts(run)
        lines.append(
            f"| {name} | {run[-1]['live']} | {levels.get('warn', '-')} | "
            f"{levels.get('refuse', '-')} | {'-' if first is None else first} | {len(raised)} of "
            f"{len(run)} commits | {'-' if collapsed is None else collapsed} | {lead} | "
            f"{run[-1]['lost']:.0%} |"
        )
    lines += [
        "",
        "What `name_drift` tells of other facts: each run where it first has lost so many.",
        "",
        "| run | edits | `name_drift` | `leak` | lost | perplexity |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in sorted(runs.items()):
        for share in TOLD_AT:
            row = next((row for row in run if row["lost"] >= share), None)
            if row is not None:
                figures = row["figures"]
                lines.append(
                    f"| {name} | {row['live']} | {figures['name_drift']:.2f} | "
                    f"{figures['leak']:.2f} | {row['lost']:.0%} | {row['ppl']:.2f} |"
                )
    return "\n".join([*lines, "", "![What becomes of long runs](figures/foresight-runs.svg)", ""])


def figure(width: float, height: float, columns: int) -> tuple[Any, Any]:
    """A figure and its panels, in the house's looks."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    panels = drawn.subplots(1, columns, squeeze=False)[0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(linewidth=0.4)
    return drawn, panels


def save(drawn: Any, file: Path) -> None:
    """The same figure, the same bytes."""
    drawn.savefig(file, format="svg", metadata={"Date": None})


def draw_roc(made: Sequence[Pair], score: Score, file: Path) -> None:
    """Hits against false alarms, with the operating point."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "editvc", "svg.fonttype": "none", "font.size": 9}):
        drawn, (panel,) = figure(4.6, 4.2, 1)
        panel.plot(*zip(*roc(made), strict=True), color=COLOURS[0], drawstyle="steps-post")
        panel.plot(
            rate(made, score.threshold, False), rate(made, score.threshold, True), "o",
            color=COLOURS[1], label=f"operating point, {score.threshold}",
        )  # fmt: skip
        panel.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle=":")
        panel.set_xlabel("share of sound edits told")
        panel.set_ylabel("share of disabling edits told")
        panel.legend(frameon=False, loc="lower right")
        save(drawn, file)


def draw_runs(runs: dict[str, list[Row]], file: Path) -> None:
    """Figures, perplexity and what is lost, against the live edits; first alarms and collapse."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "editvc", "svg.fonttype": "none", "font.size": 9}):
        drawn, panels = figure(11, 3.6, 3)
        shown = (("ppl", "perplexity over the base's"), ("lost", "share of other facts lost"),
                 ("name_drift", "tr(D E D^T) / tr(W C W^T), the worst layer"))  # fmt: skip
        for panel, (name, title) in zip(panels, shown, strict=True):
            for place, (run, rows) in enumerate(sorted(runs.items())):
                values = [row.get(name, row["figures"].get(name)) for row in rows]
                panel.plot([row["live"] for row in rows], values, color=COLOURS[place], label=run)
                raised, collapsed = alarms(rows)
                for at, style in ((raised[:1], "--"), ([collapsed] if collapsed else [], "-")):
                    for number in at:
                        panel.axvline(number, color=COLOURS[place], linestyle=style, linewidth=0.8)
            panel.set_title(title)
            panel.set_xlabel("live edits")
            if name != "lost":
                panel.set_yscale("log")
        panels[0].legend(frameon=False)
        save(drawn, file)

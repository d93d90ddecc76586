"""``health``: what the weights have become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import Drawn, emit_json, painted, progress, say, table
from editvc.cli.terminal import plot_columns
from editvc.core.cut import quoted

if TYPE_CHECKING:
    from editvc.porcelain.health import HealthReport
    from editvc.porcelain.health_history import Moment

OTHERS_SHOWN = 5
"""How many imported weights `health` names; `--json` has all."""

COLOURS = {"ok": "green", "warn": "yellow", "refuse": "red"}


@click.command(epilog=examples("editvc health HEAD --gate"))
@click.argument("revision", default="HEAD", shell_complete=revisions)
@click.option(
    "--history", is_flag=True, help="The norms of every commit so far, in the place of a verdict."
)
@click.option("--gate", is_flag=True, help="Exit with 4 where the verdict is refuse.")
@json_option
@click.pass_context
def health(ctx: click.Context, revision: str, history: bool, gate: bool, as_json: bool) -> None:
    """Judge the weights of REVISION against its base: ok, warn or refuse, with reasons.

    Says how many further edits like the last ones are safe, by what history shows. Thresholds are
    editvc's own, in config.toml, section [health].
    """
    if history and gate:
        raise click.UsageError("--gate goes by the verdict, which --history does not ask for")
    with progress() as heard:
        repo = open_repo(ctx, heard)
        if history:
            moments = repo.health_history(revision)
        else:
            report = repo.health(revision)
    if history:
        emit_json([one.to_json() for one in moments]) if as_json else _show_history(moments)
        return
    if as_json:
        emit_json(report.to_json())
    else:
        _show_health(report)
    if gate and report.verdict == "refuse":
        ctx.exit(4)


def _show_health(report: HealthReport) -> None:
    names = ("edits", "rank", "norm_growth", "distance", "spectral", "condition", "correlation",
             "drift", "name_drift", "leak", "capacity", "kept")  # fmt: skip
    rows = [
        [str(one.layer), *(f"{getattr(one, name):.4g}" for name in names)] for one in report.layers
    ]
    table(["layer", *names], rows, right=range(len(names) + 1))
    for edit in report.worst:
        say(
            f"attenuated: {quoted(edit.fact.question)} -> {quoted(edit.fact.target_new)} "
            + (f"keeps {edit.kept:.0%}" if edit.kept >= 0 else "is outweighed by the others")
            + f" in layer {edit.layer}"
        )
    if report.codebook.facts:
        say(
            f"codebook: {report.codebook.facts} facts behind {report.codebook.keys} keys, "
            "beside the weights"
        )
    for fact in report.codebook.lost:
        say(f"lost in the codebook: {quoted(fact.question)} -> {quoted(fact.target_new)}")
    for layer in report.gates:
        figures = layer.figures
        say(
            f"gates in layer {figures.layer}: {figures.edits} edits, open on "
            f"{figures.text_firing:.2%} of tokens of text and for {figures.name_firing:.2%} of "
            f"other names; {figures.overlapping} open for another's subject"
        )
        for gate, subject, share in layer.overlaps:
            say(
                f"overlapping: the edit of {quoted(gate.question)} is {share:.0%} open for "
                f"{quoted(subject.subject)}"
            )
    for name, norm in sorted(report.others, key=lambda one: -one[1])[:OTHERS_SHOWN]:
        say(f"not judged: {name}, |delta| = {norm:.4g}")
    if len(report.others) > OTHERS_SHOWN:
        say(f"not judged: {len(report.others) - OTHERS_SHOWN} more weights, which changed less")
    if len(report.trend) > 1:
        say(Drawn(_trend_plot(report)))
    if report.forecast is not None:
        say(report.forecast.line)
    say("verdict: ", painted(report.verdict, fg=COLOURS[report.verdict], bold=True))
    for reason in report.reasons:
        say(f"  {reason}")


def _show_history(moments: Sequence[Moment]) -> None:
    rows = [
        [str(one.number), str(one.live), *(f"{one.worst[name]:.4g}" for name in one.worst)]
        for one in moments
    ]
    names = next((tuple(one.worst) for one in moments if one.worst), ())
    filled = [row + ["-"] * (2 + len(names) - len(row)) for row in rows]
    table(["commit", "live", *names], filled, right=range(len(names) + 2))


def _trend_plot(report: HealthReport) -> str:
    """Norm of the delta along history, as a plot of text."""
    import plotext

    numbers = [number for number, _ in report.trend]
    plotext.clear_figure()
    plotext.plot(numbers, [figures.get("delta_norm", 0.0) for _, figures in report.trend])
    plotext.title("|delta| by commit number")
    plotext.plot_size(plot_columns(), 14)
    plotext.theme("clear")
    return str(plotext.build())

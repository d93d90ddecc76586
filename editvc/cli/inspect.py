"""Asking and checking: ``ask``, ``eval``, ``health``, ``fsck``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.options import (
    chat_option,
    confirm_option,
    facts_in,
    json_option,
    open_repo,
    target_option,
)
from editvc.cli.output import complain, emit_json, note, say, table

if TYPE_CHECKING:
    from editvc.porcelain.health import HealthReport

OTHERS_SHOWN = 5
"""How many imported weights `health` names; `--json` has all."""

COLOURS = {"ok": "green", "warn": "yellow", "refuse": "red"}


@click.command()
@click.argument("prompt")
@click.option("--at", default="HEAD", metavar="REV", help="The revision to ask; HEAD by default.")
@click.option("--vs", metavar="REV", help="Ask a second one beside it, such as base.")
@click.option(
    "-n", "--max-new-tokens", type=click.IntRange(1), default=16, show_default=True,
    help="How far to go on.",
)  # fmt: skip
@chat_option
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    prompt: str,
    at: str,
    vs: str | None,
    max_new_tokens: int,
    chat_template: bool,
    as_json: bool,
) -> None:
    """Let the model of a revision complete PROMPT, by greedy generation."""
    repo = open_repo(ctx)
    asked = repo.turn().around(prompt) if chat_template else prompt
    completion = repo.ask(asked, at=at, max_new_tokens=max_new_tokens)
    other = repo.ask(asked, at=vs, max_new_tokens=max_new_tokens) if vs else None
    if as_json:
        document = {"prompt": prompt, "at": at, "completion": completion}
        if vs:
            document |= {"vs": vs, "vs_completion": str(other)}
        emit_json(document)
        return
    shown = f"{prompt} " if chat_template else prompt
    if vs:
        table(["revision", "completion"], [[at, shown + completion], [vs, f"{shown}{other}"]])
    else:
        say(shown + click.style(completion, bold=True))


@click.command(name="eval")
@click.argument(
    "files", nargs=-1, metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)  # fmt: skip
@click.option("--at", default="HEAD", metavar="REV", help="The revision to ask; HEAD by default.")
@target_option
@confirm_option
@chat_option
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    files: tuple[str, ...],
    at: str,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    chat_template: bool,
    as_json: bool,
) -> None:
    """Score the model of a revision on its live facts, or on those of FILE...

    Said is what greedy generation begins with. ES, PS, NS, S are the scores of ROME and MEMIT,
    Eff, Par, Spe, Avg those of D4S, in per cent, beside the base's; paraphrases and locality
    prompts are the facts' own.
    """
    if chat_template and not files:
        raise click.UsageError("--chat-template is for the facts of FILE; live ones have their own")
    repo = open_repo(ctx)
    facts = facts_in(files, target, confirm_subjects) if files else None
    if facts is not None and chat_template:
        facts = repo.in_chat(facts)
    found = repo.evaluate(facts, at=at)
    if as_json:
        emit_json(found.to_json())
        return
    for one in found.unsaid:
        say(f"not said: {one.fact.question!r} -> {one.fact.target_new!r}, but {one.answer!r}")
    say(f"{found.facts - len(found.unsaid)} of {found.facts} said at {at}")
    rows = {"base": found.base, at: found.scores}
    table(
        ["", *(name.upper() if len(name) < 3 else name.title() for name in found.base.to_json())],
        [[name, *map(_per_cent, scores.to_json().values())] for name, scores in rows.items()],
        right=range(1, 9),
    )


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


@click.command()
@click.argument("revision", default="HEAD")
@click.option("--gate", is_flag=True, help="Exit with 4 where the verdict is refuse.")
@json_option
@click.pass_context
def health(ctx: click.Context, revision: str, gate: bool, as_json: bool) -> None:
    """Judge the weights of REVISION against its base: ok, warn or refuse, with reasons.

    Thresholds are in config.toml, section [health].
    """
    report = open_repo(ctx).health(revision)
    if as_json:
        emit_json(report.to_json())
    else:
        _show_health(report)
    if gate and report.verdict == "refuse":
        ctx.exit(4)


def _show_health(report: HealthReport) -> None:
    names = ("edits", "rank", "norm_growth", "distance", "spectral", "condition", "correlation",
             "drift", "capacity", "kept")  # fmt: skip
    rows = [
        [str(one.layer), *(f"{getattr(one, name):.4g}" for name in names)] for one in report.layers
    ]
    table(["layer", *names], rows, right=range(len(names) + 1))
    for edit in report.worst:
        say(
            f"attenuated: {edit.fact.question!r} -> {edit.fact.target_new!r} "
            + (f"keeps {edit.kept:.0%}" if edit.kept >= 0 else "is outweighed by the others")
            + f" in layer {edit.layer}"
        )
    if report.codebook.facts:
        say(
            f"codebook: {report.codebook.facts} facts behind {report.codebook.keys} keys, "
            "beside the weights"
        )
    for fact in report.codebook.lost:
        say(f"lost in the codebook: {fact.question!r} -> {fact.target_new!r}")
    for name, norm in sorted(report.others, key=lambda one: -one[1])[:OTHERS_SHOWN]:
        say(f"not judged: {name}, |delta| = {norm:.4g}")
    if len(report.others) > OTHERS_SHOWN:
        say(f"not judged: {len(report.others) - OTHERS_SHOWN} more weights, which changed less")
    if len(report.trend) > 1:
        say(_trend_plot(report))
    say(f"verdict: {click.style(report.verdict, fg=COLOURS[report.verdict], bold=True)}")
    for reason in report.reasons:
        say(f"  {reason}")


def _trend_plot(report: HealthReport) -> str:
    """Norm of the delta along history, as a plot of text."""
    import plotext

    numbers = [number for number, _ in report.trend]
    plotext.clear_figure()
    plotext.plot(numbers, [figures.get("delta_norm", 0.0) for _, figures in report.trend])
    plotext.title("|delta| by commit number")
    plotext.plot_size(72, 14)
    plotext.theme("clear")
    return str(plotext.build())


@click.command()
@json_option
@click.pass_context
def fsck(ctx: click.Context, as_json: bool) -> None:
    """Verify every object, reference and index row of the repository."""
    report = open_repo(ctx).fsck()
    if as_json:
        emit_json(report.to_json())
    else:
        for problem in report.errors:
            complain(f"{problem.where}: {problem.what}")
        for remark in report.garbage:
            note(f"needed by nothing, harmless: {remark}")
        say(", ".join(f"{count} {name}" for name, count in report.counts))
        say("clean" if report.clean else f"{len(report.errors)} problems")
    if report.errors:
        ctx.exit(3)

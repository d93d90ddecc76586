"""``trace``: which states of a model carry what it knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import (
    compute_options,
    confirm_option,
    examples,
    facts_in,
    json_option,
    open_with_base,
)
from editvc.cli.output import Drawn, Piece, emit_json, note, painted, progress, say, table
from editvc.cli.terminal import plot_columns
from editvc.core.cut import cut, quoted

if TYPE_CHECKING:
    from editvc.porcelain.trace import TraceReport

PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(epilog=examples('editvc trace --prompt "The capital of {} is" --subject France'))
@click.argument(
    "files", nargs=-1, metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)  # fmt: skip
@click.option("--prompt", metavar="TEXT", help="In place of FILE: a prompt with {}.")
@click.option("--subject", metavar="TEXT", help="What stands at {} in the prompt.")
@click.option("--target", metavar="TEXT", help="What is said then; else what the model says.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N facts of FILE.")
@click.option(
    "--at",
    default="base",
    show_default=True,
    metavar="REV",
    shell_complete=revisions,
    help="The revision.",
)
@click.option(
    "--kind", type=click.Choice(["hidden", "mlp", "attn"]), default="hidden", show_default=True,
    help="Restore hidden states, or what the MLPs or attentions of some layers give.",
)  # fmt: skip
@click.option(
    "--noise", type=click.FloatRange(0), default=3.0, show_default=True,
    help="In standard deviations of the embeddings of the subjects' tokens.",
)  # fmt: skip
@click.option(
    "--samples", type=click.IntRange(1), default=10, show_default=True,
    help="How often noise is drawn.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="What it is drawn by.")
@confirm_option
@compute_options
@json_option
@click.pass_context
def trace(
    ctx: click.Context,
    files: tuple[str, ...],
    prompt: str | None,
    subject: str | None,
    target: str | None,
    limit: int | None,
    at: str,
    kind: str,
    noise: float,
    samples: int,
    seed: int,
    confirm_subjects: bool,
    as_json: bool,
) -> None:
    """Show which hidden states carry the facts of FILE..., or one prompt: causal tracing.

    Noise on the subject takes away what the model says; each number is how much of its
    probability, in per cent, comes back when one state (a token's, in a layer) is what it was. Of
    one fact every token is shown, of several the average by the place of tokens. Facts that the
    model does not know are left out.
    """
    about_files = limit is not None or confirm_subjects
    _require_one_source(files, prompt, subject, target, about_files)
    facts = facts_in(files, None, confirm_subjects)[:limit]
    with progress() as report:
        repo = open_with_base(ctx, report)
        from editvc.porcelain.trace import Corruption

        how = Corruption(noise, samples, seed)
        if prompt is not None and subject is not None:
            traced = repo.trace_prompt(prompt, subject, target, at=at, kind=kind, corruption=how)
        else:
            traced = repo.trace(facts, at=at, kind=kind, corruption=how)
    if as_json:
        emit_json(traced.to_json())
        return
    for skipped in traced.skipped:
        note(f"skipped: {quoted(skipped.fact.question)} {skipped.reason}")
    _show(traced)


def _require_one_source(
    files: Sequence[str],
    prompt: str | None,
    subject: str | None,
    target: str | None,
    about_files: bool,
) -> None:
    if files and (prompt, subject, target) != (None, None, None):
        raise click.UsageError("FILE holds prompts and targets; give it, or --prompt, not both")
    if not files and (prompt is None or subject is None or about_files):
        raise click.UsageError("give a FILE of facts, or --prompt with --subject")


def _show(report: TraceReport) -> None:
    average, (first, *more) = report.average, report.traces
    if more:
        say(f"{average.count} facts, on average")
    else:
        say(f"{cut(first.request.question)} -> {cut(first.request.target)}")
    say(
        f"probability {average.clean:.1%}, with the subject corrupted {average.corrupted:.1%}; "
        f"total effect {average.total_effect:.1%}"
    )
    if more:
        names, effects = average.roles, average.effects.tolist()
    else:
        subject = first.subject
        words = [text.strip() or repr(text) for text in first.tokens]
        names = tuple(f"[{word}]" if at in subject else word for at, word in enumerate(words))
        effects = first.effects.tolist()
    _show_effects(names, [list(row) for row in zip(*effects, strict=True)])
    say(Drawn(_plot(report)))


def _show_effects(names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Layers down, tokens across, in per cent; on a terminal the larger the brighter."""
    largest = max((abs(value) for row in rows for value in row), default=0.0) or 1.0

    def shade(row: int, column: int, cell: str) -> Piece:
        share = rows[row][column - 1] / largest if column else 0.0
        if share < 0.1:
            return cell
        return painted(cell, fg="white", bg=(int(40 + 140 * share), 20, int(70 + 150 * share)))

    cells = [
        [str(layer), *(f"{round(100 * value, 1) + 0.0:.1f}" for value in row)]
        for layer, row in enumerate(rows)
    ]
    table(["layer", *names], cells, right=range(len(names) + 1), shade=shade)


def _plot(report: TraceReport) -> str:
    """Effects by layer at the last token of the subject, and at the last of all."""
    import plotext

    plotext.clear_figure()
    for (role, effects), marker in zip(report.curves.items(), "so", strict=False):
        per_cent = [100 * value for value in effects]
        plotext.plot(range(len(effects)), per_cent, label=role, marker=marker)
        plotext.xticks(range(0, len(effects), 1 + len(effects) // 16))
    plotext.title(f"indirect effect by layer, {report.kind}, in per cent")
    plotext.plot_size(plot_columns(), 14)
    plotext.theme("clear")
    return str(plotext.build())

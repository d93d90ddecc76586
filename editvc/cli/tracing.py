"""Where a model knows things, and which recipe edits them best: ``trace`` and ``tune``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.options import (
    confirm_option,
    facts_in,
    files_argument,
    json_option,
    open_repo,
    target_option,
)
from editvc.cli.output import emit_json, note, progress, say, table

if TYPE_CHECKING:
    from editvc.porcelain.trace import TraceReport
    from editvc.porcelain.tune import Tuning

PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument(
    "files", nargs=-1, metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)  # fmt: skip
@click.option("--prompt", metavar="TEXT", help="In place of FILE: a prompt with {}.")
@click.option("--subject", metavar="TEXT", help="What stands at {} in the prompt.")
@click.option("--target", metavar="TEXT", help="What is said then; else what the model says.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="The first N facts of FILE.")
@click.option("--at", default="base", show_default=True, metavar="REV", help="The revision.")
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
    from editvc.porcelain.trace import Corruption

    facts = facts_in(files, None, confirm_subjects)[:limit]
    how = Corruption(noise, samples, seed)
    with progress() as report:
        repo = open_repo(ctx, report)
        if prompt is not None and subject is not None:
            found = repo.trace_prompt(prompt, subject, target, at=at, kind=kind, corruption=how)
        else:
            found = repo.trace(facts, at=at, kind=kind, corruption=how)
    if as_json:
        emit_json(found.to_json())
        return
    for skipped in found.skipped:
        note(f"skipped: {skipped.fact.question!r} {skipped.reason}")
    _show(found)


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
        say(f"{first.request.question} -> {first.request.target}")
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
    say(_plot(report))


def _show_effects(names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Layers down, tokens across, in per cent; on a terminal the larger the brighter."""
    largest = max((abs(value) for row in rows for value in row), default=0.0) or 1.0

    def shade(row: int, column: int, cell: str) -> str:
        share = rows[row][column - 1] / largest if column else 0.0
        if share < 0.1:
            return cell
        return click.style(cell, fg="white", bg=(int(40 + 140 * share), 20, int(70 + 150 * share)))

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
    plotext.plot_size(72, 14)
    plotext.theme("clear")
    return str(plotext.build())


@click.command()
@files_argument
@click.option("--quick", is_flag=True, help="10 facts and a small grid, not 50 and a large one.")
@click.option(
    "--text", "texts", type=PATH, multiple=True,
    help="Text to take statistics from, for layers without any; repeatable.",
)  # fmt: skip
@click.option("--entities", type=PATH, help="Names, or facts, whose knowledge must survive.")
@click.option("--seed", type=int, default=0, show_default=True, help="What facts are drawn by.")
@click.option("--write", is_flag=True, help="Put the best setting into config.toml.")
@target_option
@confirm_option
@json_option
@click.pass_context
def tune(
    ctx: click.Context,
    files: tuple[str, ...],
    quick: bool,
    texts: tuple[Path, ...],
    entities: Path | None,
    seed: int,
    write: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    as_json: bool,
) -> None:
    """Try layers, lambda and clamp for the repository's base on some facts of FILE...

    Each setting edits the facts together and is scored on their paraphrases and locality prompts.
    A causal trace proposes the layers. Nothing is committed.
    """
    facts = facts_in(files, target, confirm_subjects)
    with progress() as report:
        repo = open_repo(ctx, report)
        found = repo.tune(
            facts, quick=quick, seed=seed, texts=texts, entities=entities, write=write
        )
    for remark in found.remarks:
        note(remark)
    emit_json(found.to_json()) if as_json else _show_tuning(found, write)


def _show_tuning(found: Tuning, write: bool) -> None:
    where = "" if found.peak is None else f", MLPs matter most in layer {found.peak}"
    say(f"{found.facts} facts, {len(found.tried)} settings{where}")
    rows = []
    for place, one in enumerate(found.tried):
        setting, scores = one.setting, one.scores
        marks = ["best"] * (place == 0) + ["current"] * (setting == found.current)
        rows.append(
            [
                ",".join(map(str, setting.layers)),
                f"{setting.mom2_update_weight:g}",
                f"{setting.clamp_norm_factor:g}",
                *(
                    "" if value is None else f"{value:.1f}"
                    for value in (scores.es, scores.ps, scores.ns, scores.s)
                ),
                ", ".join(marks),
            ]
        )
    table(["layers", "lambda", "clamp", "ES", "PS", "NS", "S", ""], rows, right=range(1, 7))
    if not write:
        say("nothing was written; --write puts the best into config.toml")
    elif found.in_recipe:
        say("config.toml: " + ", ".join(sorted(found.in_recipe)))
    else:
        say("config.toml has the best setting already")

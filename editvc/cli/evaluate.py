"""``eval``: what a revision says of facts, and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.completers import revisions
from editvc.cli.measurement import show_measurement
from editvc.cli.options import (
    compute_options,
    examples,
    facts_in,
    facts_options,
    json_option,
    open_repo,
)
from editvc.cli.output import emit_csv, emit_json, progress, say, table
from editvc.core.cut import quoted

if TYPE_CHECKING:
    from editvc.porcelain.edits_result import Evaluation


@click.command(
    name="eval", epilog=examples("editvc eval v1..HEAD", "editvc eval facts.jsonl --at base --csv")
)
@click.argument(
    "what", nargs=-1, metavar="[REV|A..B|FILE]...", type=click.Path(dir_okay=False, allow_dash=True)
)
@click.option(
    "--at", metavar="REV", shell_complete=revisions, help="The revision to ask; HEAD by default."
)
@click.option(
    "--max-new-tokens", default=12, show_default=True, type=click.IntRange(1), metavar="N",
    help="The longest answer; an answer that the model ends is shorter.",
)  # fmt: skip
@click.option(
    "--suite", default="edits", show_default=True, metavar="NAME",
    help="edits, abilities, generation, forgetting, saliency, or lm-eval:TASK.",
)  # fmt: skip
@click.option(
    "--tasks", multiple=True, metavar="DIR|FILE", type=click.Path(path_type=Path, exists=True),
    help="Tasks of --suite abilities, or folders of lm-eval's YAML.",
)  # fmt: skip
@click.option(
    "--items", default=200, show_default=True, type=click.IntRange(1), metavar="N",
    help="At most N items of each task, or facts of each commit.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Measure, though there is a result already.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one line a fact, comma separated.")
@facts_options
@compute_options
@json_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    what: tuple[str, ...],
    at: str | None,
    suite: str,
    tasks: tuple[Path, ...],
    items: int,
    max_new_tokens: int,
    again: bool,
    as_csv: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    chat_template: bool,
    as_json: bool,
) -> None:
    """Score the model of a revision on its live facts, or on those of FILE...

    Of a range A..B the facts that are new in it are asked, of B. First comes what greedy generation
    says by itself; then, under teacher forcing, the scores of ROME and MEMIT (ES, PS, NS, S) and
    those of D4S (Eff, Par, Spe, Avg), in per cent, beside the base's, with 95% intervals.
    Paraphrases and locality prompts are the facts' own. A result is kept: asked again, it is read.

    Other suites measure what else a revision is: --suite abilities asks the tasks of --tasks,
    generation how fluently it writes of the facts' subjects, forgetting what later commits took
    from the facts of earlier ones, saliency which attention the answers to SST-2 hang on,
    lm-eval:TASK any task of lm-evaluation-harness.
    """
    files, at = _files_and_revision(what, at)
    if chat_template and not files:
        raise click.UsageError("--chat-template is for the facts of FILE; live ones have their own")
    if suite != "edits":
        if files:
            raise click.UsageError("FILE is for --suite edits; tasks are named by --tasks")
        with progress() as heard:
            measured = open_repo(ctx, heard).measure(
                suite, at=at, tasks=tasks, items=items, again=again
            )
        show_measurement(measured, as_json=as_json, as_csv=as_csv)
        return
    facts = facts_in(files, target, confirm_subjects) if files else None
    with progress() as heard:
        repo = open_repo(ctx, heard)
        if facts is not None and chat_template:
            facts = repo.in_chat(facts)
        found = repo.evaluate(facts, at=at, max_new_tokens=max_new_tokens, again=again)
    if as_json:
        emit_json(found.to_json())
    elif as_csv:
        emit_csv(found.rows())
    else:
        _show(found, at)


def _files_and_revision(what: Sequence[str], at: str | None) -> tuple[tuple[str, ...], str]:
    """A word that is no file names a revision."""
    files = tuple(word for word in what if word == "-" or Path(word).exists())
    words = [word for word in what if word not in files]
    if len(words) > 1 or (words and at is not None):
        named = ", ".join(quoted(word) for word in [*words, *([at] if at else [])])
        raise click.UsageError(f"one revision at a time; there are no such files: {named}")
    return files, words[0] if words else at or "HEAD"


def _show(found: Evaluation, at: str) -> None:
    for one in found.failed:
        fact, answer = one.fact, one.answer
        say(f"not said: {quoted(fact.question)} -> {quoted(fact.target_new)}, but {quoted(answer)}")
    generation = found.record["generation"]
    table(
        ["generated", "contains", "begins", "exact"],
        [
            [group, *(_with_interval(found, share, f"{group}.{way}")
                      for way, share in ways.items())]
            for group, ways in generation.items()
            if ways["begins"] is not None
        ],
        right=range(1, 4),
    )  # fmt: skip
    say(f"{found.facts - len(found.failed)} of {found.facts} said at {at}")
    aim = found.record["objective"]
    say(f"targets on the base: median perplexity {aim['perplexity']:.3g}, {aim['tokens']:g} tokens")
    names = list(found.base.to_json())
    rows = {"base": found.base, at: found.scores}
    table(
        ["", *(name.upper() if len(name) < 3 else name.title() for name in names)],
        [
            *([name, *map(_per_cent, scores.to_json().values())] for name, scores in rows.items()),
            ["95%", *(_bounds(found.interval(name)) for name in names)],
        ],
        right=range(1, 9),
    )


def _with_interval(found: Evaluation, share: float | None, column: str) -> str:
    if share is None:
        return "-"
    return f"{_per_cent(share)} [{_bounds(found.interval(column))}]"


def _bounds(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.0f}-{interval[1]:.0f}"


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

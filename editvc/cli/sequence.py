"""``sequence``: what a blind sequence of edits does to earlier ones and to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.completers import revisions
from editvc.cli.options import (
    compute_options,
    examples,
    facts_in,
    facts_options,
    files_argument,
    json_option,
    open_repo,
    recipe_options,
)
from editvc.cli.output import emit_csv, emit_json, progress, say, table, warn

if TYPE_CHECKING:
    from editvc.porcelain.sequence_result import SequenceResult

WINDOW = 50
"""New edits whose success is told together, as Gupta et al. do."""


def _checkpoints(_ctx: click.Context, _param: click.Parameter, text: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor a list like 10,100") from None
    if min(numbers) < 1:
        raise click.BadParameter("a number of edits is 1 or more")
    return numbers[0] if "," not in text else numbers


@click.command(epilog=examples("editvc sequence facts.jsonl --method rome --checkpoints 10,100"))
@files_argument
@recipe_options
@click.option(
    "--batch", default=1, show_default=True, type=click.IntRange(1), metavar="N",
    help="Edits that are made together.",
)  # fmt: skip
@click.option(
    "--fusion", default="sum", show_default=True, metavar="RULE",
    help="How updates come together: sum, alone, drop:P:SEED, top:PERCENT, rect:PERCENT, average, "
    "lookahead:SHARE:EVERY, wise-ft:SHARE, prune:BASE, prune-linear:BASE.",
)  # fmt: skip
@click.option(
    "--checkpoints", default="10", show_default=True, metavar="N|N,N...", callback=_checkpoints,
    help="Ask all earlier facts again every N edits, or after the numbers of a list like 10,100.",
)  # fmt: skip
@click.option("--at", default="base", show_default=True, metavar="REV", shell_complete=revisions,
    help="The revision to begin with.",
)  # fmt: skip
@click.option(
    "--tasks", multiple=True, metavar="DIR|FILE", type=click.Path(path_type=Path, exists=True),
    help="Tasks and texts to ask at the beginning and at each checkpoint, as eval has them.",
)  # fmt: skip
@click.option(
    "--items", default=200, show_default=True, type=click.IntRange(1), metavar="N",
    help="At most N items of each task.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Run it, though there is a result already.")
@click.option("--csv", "as_csv", is_flag=True,
    help="Print every figure of every checkpoint, comma separated.",
)  # fmt: skip
@facts_options
@compute_options
@json_option
@click.pass_context
def sequence(
    ctx: click.Context,
    files: tuple[str, ...],
    method: str | None,
    options: tuple[str, ...],
    file: Path | None,
    batch: int,
    fusion: str,
    checkpoints: int | list[int],
    at: str,
    tasks: tuple[Path, ...],
    items: int,
    again: bool,
    as_csv: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    chat_template: bool,
    as_json: bool,
) -> None:
    """Edit the facts of FILE... blindly, one batch after the other, and watch earlier ones go.

    Each batch is made on the weights as they are by then, as papers measure editing; nothing is
    committed. At checkpoints all earlier facts are asked again and the norms of the papers are
    taken of every changed weight. The result is kept: the same sequence is read next time, and one
    that was stopped goes on from its last checkpoint.
    """
    facts = facts_in(files, target, confirm_subjects)
    with progress() as heard:
        repo = open_repo(ctx, heard)
        chosen = repo.choose(method, options=options, file=file)
        if chat_template:
            facts = repo.in_chat(facts)
        found = repo.run_sequence(
            facts, recipe=chosen.recipe, batch=batch, fusion=fusion, checkpoints=checkpoints, at=at,
            tasks=tasks, items=items, again=again,
        )  # fmt: skip
    if found.broken is not None:
        warn(f"with edit {found.broken} the model gives no numbers: the sequence ends before it")
    if as_json:
        emit_json(found.to_json())
    elif as_csv:
        emit_csv(found.rows())
    else:
        _show(found)


def _show(found: SequenceResult) -> None:
    course, record = found.trajectory, found.record
    new, overall = course.window("eff", WINDOW), course.overall("eff")
    paraphrases, locality = course.overall("par"), course.overall("spe")
    forgotten = course.forgotten("eff")
    rows = []
    for one in found.checkpoints:
        edits, norms = one["edits"], one["norms"].values()
        rows.append(
            [str(edits)]
            + [
                "-" if value is None else f"{value:.1f}"
                for value in (
                    new[edits - 1], overall[edits], paraphrases[edits], locality[edits],
                    forgotten[edits],
                )
            ]
            + [
                f"{max((norm[name] for norm in norms), default=0.0):.3g}"
                for name in ("distance", "condition_number")
            ]
        )  # fmt: skip
    say(f"{len(record['facts'])} facts, {record['method']}, {record['fusion']}")
    table(
        ["edits", f"last {WINDOW}", "Eff", "Par", "Spe", "forgotten", "distance", "condition"],
        rows,
        right=range(8),
    )

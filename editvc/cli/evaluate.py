"""``eval``: what a revision says of facts, and its scores."""

from __future__ import annotations

from typing import Literal

import click

from editvc.cli.options import (
    chat_option,
    compute_options,
    confirm_option,
    facts_in,
    json_option,
    open_with_base,
    target_option,
)
from editvc.cli.output import emit_json, say, table
from editvc.core.cut import quoted


@click.command(name="eval")
@click.argument(
    "files", nargs=-1, metavar="[FILE]...",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)  # fmt: skip
@click.option("--at", default="HEAD", metavar="REV", help="The revision to ask; HEAD by default.")
@target_option
@confirm_option
@chat_option
@compute_options
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
    repo = open_with_base(ctx)
    facts = facts_in(files, target, confirm_subjects) if files else None
    if facts is not None and chat_template:
        facts = repo.in_chat(facts)
    evaluation = repo.evaluate(facts, at=at)
    if as_json:
        emit_json(evaluation.to_json())
        return
    for one in evaluation.failed:
        fact, answer = one.fact, one.answer
        say(f"not said: {quoted(fact.question)} -> {quoted(fact.target_new)}, but {quoted(answer)}")
    say(f"{evaluation.facts - len(evaluation.failed)} of {evaluation.facts} said at {at}")
    rows = {"base": evaluation.base, at: evaluation.scores}
    table(
        [
            "",
            *(
                name.upper() if len(name) < 3 else name.title()
                for name in evaluation.base.to_json()
            ),
        ],
        [[name, *map(_per_cent, scores.to_json().values())] for name, scores in rows.items()],
        right=range(1, 9),
    )


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

"""``convert``: facts of any schema in editvc's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from editvc.cli.lint import counted
from editvc.cli.options import confirm_option, examples, facts_in, files_argument, target_option
from editvc.cli.output import note, say
from editvc.core.output_path import write_output


@click.command(epilog=examples("editvc convert counterfact.json --to facts.jsonl"))
@files_argument
@click.option(
    "--to", "target_file", type=click.Path(path_type=Path), metavar="OUT",
    help="Write here, in place of what OUT holds; else to stdout.",
)  # fmt: skip
@click.option(
    "--questions", type=click.Choice(["dg", "mq", "tf"]),
    help="Ask for each triple as Multi-Question data does: dg generates the object, mq picks its "
    "letter among four, tf answers yes or no.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N",
    help="What wrong answers of --questions are drawn by.",
)  # fmt: skip
@target_option
@confirm_option
def convert(
    files: tuple[str, ...],
    target_file: Path | None,
    questions: str | None,
    seed: int,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
) -> None:
    """Write the facts of FILE... in editvc's own schema, one a line; - is stdin.

    An MQuAKE record becomes as many lines as it has edits; a repeated fact is written once. One
    bad record among many, and nothing is written. --questions mq and tf need facts with relations.
    """
    from editvc.core.fact_files.multi_question import multi_question

    sourced = facts_in(files, target, confirm_subjects)
    facts = [item.fact for item in sourced if item.duplicate_of is None]
    asked = multi_question(facts, questions, seed) if questions else facts
    lines = [json.dumps(fact.to_record(), ensure_ascii=False) for fact in asked]
    if target_file is None:
        for line in lines:
            say(line)
    else:
        write_output(target_file, "".join(f"{line}\n" for line in lines).encode())
    skipped = len(sourced) - len(facts)
    note(f"{counted(len(facts), 'fact')} written, {counted(skipped, 'repeat')} skipped")

"""Files of facts, without a repository or a model: ``lint`` and ``convert``."""

from __future__ import annotations

import json
from typing import IO, Literal

import click

from editvc.cli.options import (
    confirm_option,
    contents,
    facts_in,
    files_argument,
    json_option,
    target_option,
)
from editvc.cli.output import emit_json, note, say


@click.command()
@files_argument
@target_option
@confirm_option
@json_option
@click.pass_context
def lint(
    ctx: click.Context,
    files: tuple[str, ...],
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    as_json: bool,
) -> None:
    """Tell every problem in the facts of FILE...; - is stdin.

    Reads as commit does, but goes on past what is wrong, and minds repeated facts too. Ends with 1
    if there is any problem. Needs no repository; what only a tokenizer can tell is left to
    `commit --dry-run`.
    """
    from editvc.core.fact_files.reader import examined, only_candidate

    subject = only_candidate if confirm_subjects else None
    reading = examined(contents(files), target=target, subject=subject)
    findings = reading.findings
    if as_json:
        problems = [finding.to_json() for finding in findings]
        emit_json({"facts": len(reading.facts), "problems": problems})
    else:
        for finding in findings:
            say(finding.headline)
            if finding.hint:
                say(f"  hint: {finding.hint}")
        say(f"{_counted(len(findings), 'problem')}, {_counted(len(reading.facts), 'good fact')}")
    ctx.exit(1 if findings else 0)


@click.command()
@files_argument
@click.option(
    "--to", "target_file", type=click.File("w", encoding="utf-8", lazy=True, atomic=True),
    metavar="OUT", help="Write here, in place of what OUT holds; else to stdout.",
)  # fmt: skip
@target_option
@confirm_option
def convert(
    files: tuple[str, ...],
    target_file: IO[str] | None,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
) -> None:
    """Write the facts of FILE... in editvc's own schema, one a line; - is stdin.

    An MQuAKE record becomes as many lines as it has edits; a repeated fact is written once. One
    bad record among many, and nothing is written.
    """
    found = facts_in(files, target, confirm_subjects)
    kept = [item.fact for item in found if item.duplicate_of is None]
    for fact in kept:
        click.echo(json.dumps(fact.to_record(), ensure_ascii=False), file=target_file)
    skipped = len(found) - len(kept)
    note(f"{_counted(len(kept), 'fact')} written, {_counted(skipped, 'repeat')} skipped")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

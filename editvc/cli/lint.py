"""``lint``: what is wrong with files of facts, without a repository or a model."""

from __future__ import annotations

from typing import Literal

import click

from editvc.cli.options import (
    confirm_option,
    contents,
    examples,
    files_argument,
    json_option,
    target_option,
)
from editvc.cli.output import emit_json, say


@click.command(epilog=examples("editvc lint facts.jsonl"))
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
        say(f"{counted(len(findings), 'problem')}, {counted(len(reading.facts), 'good fact')}")
    ctx.exit(1 if findings else 0)


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

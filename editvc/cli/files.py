"""Files of facts, without a repository or a model: ``lint``."""

from __future__ import annotations

from typing import Literal

import click

from editvc.cli.options import contents, files_argument, json_option, target_option
from editvc.cli.output import emit_json, say


@click.command()
@files_argument
@target_option
@json_option
@click.pass_context
def lint(
    ctx: click.Context,
    files: tuple[str, ...],
    target: Literal["answers", "alt"] | None,
    as_json: bool,
) -> None:
    """Tell every problem in the facts of FILE...; - is stdin.

    Reads as commit does, but goes on past what is wrong, and minds repeated facts too. Of one
    record the first problem is told. Ends with 1 if there is any. Needs no repository; what only
    a tokenizer can tell is left to `commit --dry-run`.
    """
    from editvc.core.formats import examined

    reading = examined(contents(files), target=target)
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


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

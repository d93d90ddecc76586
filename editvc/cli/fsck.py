"""``fsck``: whether every stored byte is what was written."""

from __future__ import annotations

import click

from editvc.cli.options import (
    json_option,
    open_repo,
)
from editvc.cli.output import complain, emit_json, note, say


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

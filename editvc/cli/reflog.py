"""``reflog``: where a branch has been."""

from __future__ import annotations

from dataclasses import asdict

import click

from editvc.cli.completers import branches
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import ago, emit_json, page, painted
from editvc.core.cut import title
from editvc.core.ids import short


@click.command(epilog=examples("editvc reflog main -n 5"))
@click.argument("name", metavar="BRANCH", default="HEAD", shell_complete=branches)
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="At most N moves.")
@json_option
@click.pass_context
def reflog(ctx: click.Context, name: str, limit: int | None, as_json: bool) -> None:
    """Show the moves of BRANCH, or of HEAD, newest first.

    BRANCH@{2} is the commit at which it was two moves ago.
    """
    moves = open_repo(ctx).reflog(name)[:limit]
    if as_json:
        emit_json([asdict(move) for move in moves])
        return
    lines = [
        (
            painted(short(move.new) if move.new else "(deleted)", fg="yellow"),
            f" {name}@{{{number}}} {ago(move.time)}: {title(move.message)}",
        )
        for number, move in enumerate(moves)
    ]
    if lines:
        page(lines)

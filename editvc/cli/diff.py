"""``diff``: what two revisions do not share."""

from __future__ import annotations

import click

from editvc.cli.options import json_option, open_repo
from editvc.cli.output import emit_json, say
from editvc.cli.show import say_changes


@click.command()
@click.argument("before")
@click.argument("after", default="HEAD")
@json_option
@click.pass_context
def diff(ctx: click.Context, before: str, after: str, as_json: bool) -> None:
    """Show what two revisions do not share, and how far apart their weights are."""
    repo = open_repo(ctx)
    changes, norms = repo.changes(before, after), repo.delta_norms(before, after)
    if as_json:
        by_weight = {str(weight): norm for weight, norm in norms.items()}
        emit_json(changes.to_json() | {"delta_norm": by_weight})
        return
    say_changes(changes)
    for weight, norm in norms.items():
        where = f"layer {weight}" if isinstance(weight, int) else weight
        say(f"{where}: |delta| = {norm:.4g}")

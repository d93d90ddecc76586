"""``reindex``: the index anew, from the objects and the operation log."""

from __future__ import annotations

import os

import click

from editvc.cli.options import examples, json_option
from editvc.cli.output import emit_json, note
from editvc.core.trust import Trust


@click.command(epilog=examples("editvc reindex"))
@json_option
@click.pass_context
def reindex(ctx: click.Context, as_json: bool) -> None:
    """Build index.db anew from the objects and the operation log.

    Branches are where the newest operation left them. A damaged index.db is kept aside.
    """
    from editvc.repo import Repo

    done = Repo.reindex(ctx.find_root().obj, Trust.from_environment(os.environ))
    if as_json:
        emit_json({"done": done})
        return
    for line in done:
        note(line)

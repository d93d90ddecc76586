"""``resolve``: whose version a place in conflict gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.merge import say_conflicts
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json

if TYPE_CHECKING:
    from editvc.vcs.pending import Side


@click.command(epilog=examples("editvc resolve 3f2a9c --theirs"))
@click.argument("place", metavar="SLOT|FACT|restraint")
@click.option("--ours", "ours", is_flag=True, help="This branch's version.")
@click.option("--theirs", "theirs", is_flag=True, help="The version that comes in.")
@click.option("--base", "base", is_flag=True, help="As it was before both changed it.")
@click.option("--remove", "none", is_flag=True, help="None of them: no fact is live there.")
@json_option
@click.pass_context
def resolve(
    ctx: click.Context,
    place: str,
    ours: bool,
    theirs: bool,
    base: bool,
    none: bool,
    as_json: bool,
) -> None:
    """Decide a place in conflict, by the beginning of a slot's id or of one of its facts.

    `editvc status` lists them. A decision may be changed until `--continue`.
    """
    flags: dict[Side, bool] = {"ours": ours, "theirs": theirs, "base": base, "none": none}
    named = [side for side, given in flags.items() if given]
    if len(named) != 1:
        raise click.UsageError("name one of --ours, --theirs, --base and --remove")
    conflict = open_repo(ctx).resolve(place, named[0])
    emit_json(conflict.to_json()) if as_json else say_conflicts([conflict])

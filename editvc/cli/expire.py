"""``expire``: facts whose last day is over, out of the set."""

from __future__ import annotations

from datetime import date

import click

from editvc.cli.commit import show_commit
from editvc.cli.options import (
    author_of,
    commit_options,
    examples,
    open_repo,
)
from editvc.cli.output import emit_json, say
from editvc.core.facts import A_DAY, NO_DAY, day


@click.command(epilog=examples("editvc expire --at 2027-12-31 --dry-run"))
@click.option("--at", metavar="DAY", help="As if it were that day, like 2027-12-31.")
@commit_options
@click.pass_context
def expire(
    ctx: click.Context,
    at: str | None,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take the live facts out of the set whose `valid_until` is over.

    A fact holds to the end of that day, in UTC. `editvc revert` of the commit brings them back.
    """
    today = _day(at)
    repo = open_repo(ctx)
    if dry_run:
        preview = repo.preview_expire(today)
        emit_json(preview.to_json()) if as_json else say(preview.summary())
        return
    show_commit(repo.expire(today, message=message, author=author_of(repo, author)), as_json)


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    found = day(text)
    if found is None:
        raise click.BadParameter(f"{NO_DAY.format(repr(text))}. {A_DAY}", param_hint="--at")
    return found

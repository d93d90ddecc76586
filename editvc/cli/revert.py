"""``revert``: a commit's edits, or one fact, out of the set."""

from __future__ import annotations

import click

from editvc.cli.commit import show_commit
from editvc.cli.options import (
    author_of,
    author_option,
    dry_run_option,
    json_option,
    message_option,
    no_verify_option,
    open_repo,
    sign_option,
)
from editvc.cli.output import emit_json, say


@click.command()
@click.argument("target", metavar="REV|FACT")
@message_option
@author_option
@dry_run_option
@no_verify_option
@sign_option
@json_option
@click.pass_context
def revert(
    ctx: click.Context,
    target: str,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take the edits of a commit, or one live fact by its id, out of the set again.

    The result is what it would be had they never been made, bit for bit.
    """
    repo = open_repo(ctx)
    if dry_run:
        changes = repo.preview_revert(target)
        emit_json(changes.to_json()) if as_json else say(changes.summary())
        return
    done = repo.revert(target, message=message, author=author_of(repo, author))
    show_commit(done, as_json)
    if not as_json and done.patches.counts:
        say(f" {', '.join(done.patches.counts)}")

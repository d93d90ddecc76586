"""``revert``: a commit's edits, or one fact, out of the set."""

from __future__ import annotations

import click

from editvc.cli.commit import show_commit
from editvc.cli.completers import revisions
from editvc.cli.options import (
    author_of,
    commit_options,
    examples,
    open_repo,
)
from editvc.cli.output import emit_json, say, say_done


@click.command(
    epilog=examples("editvc revert HEAD~1", 'editvc revert a5adcd5b -m "France keeps its capital"')
)
@click.argument("target", metavar="REV|FACT", shell_complete=revisions)
@commit_options
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
        say_done(f" {', '.join(done.patches.counts)}")

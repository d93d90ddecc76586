"""``restore``: one fact as another revision has it."""

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
from editvc.cli.output import emit_json, say
from editvc.cli.show import say_changes


@click.command(epilog=examples("editvc restore a5adcd5b --from v1"))
@click.argument("fact")
@click.option(
    "--from",
    "revision",
    metavar="REV",
    shell_complete=revisions,
    help="Whose version; else that before its last change.",
)
@commit_options
@click.pass_context
def restore(
    ctx: click.Context,
    fact: str,
    revision: str | None,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Put what FACT is about back as another revision has it, and commit that.

    FACT is the id of any fact about it, live or not (`editvc grep --all`).
    """
    repo = open_repo(ctx)
    if dry_run:
        changes = repo.preview_restore(fact, revision)
        if as_json:
            emit_json(changes.to_json())
            return
        say_changes(changes)
        say("nothing was written")
        return
    done = repo.restore(fact, revision, message=message, author=author_of(repo, author))
    show_commit(done, as_json)

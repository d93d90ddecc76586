"""``restore``: one fact as another revision has it."""

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
from editvc.cli.show import say_changes


@click.command()
@click.argument("fact")
@click.option(
    "--from", "revision", metavar="REV", help="Whose version; else that before its last change."
)
@message_option
@author_option
@dry_run_option
@no_verify_option
@sign_option
@json_option
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

"""``tag``: names of commits that stay."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions, tags
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, say, say_done
from editvc.core.ids import short


@click.command(epilog=examples("editvc tag v1 HEAD~2"))
@click.argument("name", required=False, shell_complete=tags)
@click.argument("at", default="HEAD", shell_complete=revisions)
@click.option("-d", "--delete", is_flag=True, help="Delete tag NAME; its commit stays.")
@json_option
@click.pass_context
def tag(ctx: click.Context, name: str | None, at: str, delete: bool, as_json: bool) -> None:
    """List tags, make tag NAME at revision AT, or delete one.

    A tag stays at its commit, and is a revision wherever one is taken.
    """
    repo = open_repo(ctx)
    if name is None:
        if as_json:
            emit_json([one.to_json() for one in repo.tags()])
            return
        for one in repo.tags():
            say(f"{one.name} {short(one.commit)}")
    elif delete:
        was = repo.delete_tag(name)
        say_done(f"Deleted tag {name} (was {short(was)}; `editvc tag {name} {short(was)}` undoes)")
    else:
        repo.create_tag(name, at)

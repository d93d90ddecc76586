"""``branch``: names of commits."""

from __future__ import annotations

import click

from editvc.cli.completers import branches, revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, say, say_done
from editvc.core.ids import short


@click.command(epilog=examples("editvc branch trial HEAD~2", "editvc branch -d trial"))
@click.argument("name", required=False, shell_complete=branches)
@click.argument("at", default="HEAD", shell_complete=revisions)
@click.option("-d", "--delete", is_flag=True, help="Delete branch NAME; its commits stay.")
@click.option("-r", "--remotes", is_flag=True, help="List those of remotes, as seen last.")
@json_option
@click.pass_context
def branch(
    ctx: click.Context, name: str | None, at: str, delete: bool, remotes: bool, as_json: bool
) -> None:
    """List branches, make branch NAME at revision AT, or delete one."""
    if remotes and (name is not None or delete):
        raise click.UsageError("--remotes lists, and goes without a NAME")
    repo = open_repo(ctx)
    if name is None:
        found = repo.remote_branches() if remotes else repo.branches()
        if as_json:
            emit_json([one.to_json() for one in found])
            return
        for one in found:
            place = short(one.commit) if one.commit else "no commits yet"
            say(f"{'*' if one.current else ' '} {one.name} {place}")
    elif delete:
        was = repo.delete_branch(name)
        say_done(
            f"Deleted branch {name} (was {short(was)}; `editvc branch {name} {short(was)}` undoes)"
        )
    else:
        repo.create_branch(name, at)

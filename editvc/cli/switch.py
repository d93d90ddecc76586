"""``switch``: where HEAD is."""

from __future__ import annotations

import click

from editvc.cli.completers import branches
from editvc.cli.options import examples, open_repo
from editvc.cli.output import say_done
from editvc.core.ids import short


@click.command(epilog=examples("editvc switch -c trial", "editvc switch main"))
@click.argument("name", shell_complete=branches)
@click.option("-c", "--create", is_flag=True, help="Make the branch at HEAD first.")
@click.option("--detach", is_flag=True, help="Go to a commit itself, on no branch.")
@click.pass_context
def switch(ctx: click.Context, name: str, create: bool, detach: bool) -> None:
    """Make branch NAME the current one."""
    repo = open_repo(ctx)
    if detach:
        say_done(f"HEAD is now at {short(repo.detach(name))}")
        return
    if create:
        repo.start_branch(name)
    else:
        repo.switch(name)
    say_done(f"Switched to branch {name}")

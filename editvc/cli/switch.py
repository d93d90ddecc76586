"""``switch``: where HEAD is."""

from __future__ import annotations

import click

from editvc.cli.options import open_repo
from editvc.cli.output import say
from editvc.core.ids import short


@click.command()
@click.argument("name")
@click.option("-c", "--create", is_flag=True, help="Make the branch at HEAD first.")
@click.option("--detach", is_flag=True, help="Go to a commit itself, on no branch.")
@click.pass_context
def switch(ctx: click.Context, name: str, create: bool, detach: bool) -> None:
    """Make branch NAME the current one."""
    repo = open_repo(ctx)
    if detach:
        say(f"HEAD is now at {short(repo.detach(name))}")
        return
    if create:
        repo.start_branch(name)
    else:
        repo.switch(name)
    say(f"Switched to branch {name}")

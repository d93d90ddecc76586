"""``remote``: names for repositories elsewhere."""

from __future__ import annotations

import click

from editvc.cli.completers import remotes
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, say

timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="How long a request may take, 60 by default; what its bytes take comes on top.",
)  # fmt: skip


@click.group(invoke_without_command=True, epilog=examples("editvc remote"))
@json_option
@click.pass_context
def remote(ctx: click.Context, as_json: bool) -> None:
    """List the repositories elsewhere that have names here; add, rename, or remove one.

    A remote is a folder, s3://BUCKET/PATH, hf://USER/NAME, ssh://HOST/PATH, or a bundle file.
    """
    if ctx.invoked_subcommand is not None:
        return
    found = open_repo(ctx).remotes()
    if as_json:
        emit_json([one.to_json() for one in found])
        return
    for one in found:
        say(f"{one.name} {one.url}")


@remote.command("add", epilog=examples("editvc remote add origin ssh://example.org/srv/facts"))
@click.argument("name")
@click.argument("url")
@timeout_option
@click.pass_context
def add(ctx: click.Context, name: str, url: str, timeout: float | None) -> None:
    """Call the repository at URL by NAME; nobody is asked whether it is there."""
    open_repo(ctx).add_remote(name, url, timeout or 60.0)


@remote.command("set-url", epilog=examples("editvc remote set-url origin /mnt/share/facts"))
@click.argument("name", shell_complete=remotes)
@click.argument("url")
@timeout_option
@click.pass_context
def set_url(ctx: click.Context, name: str, url: str, timeout: float | None) -> None:
    """Change where NAME is."""
    open_repo(ctx).set_remote_url(name, url, timeout)


@remote.command("rename", epilog=examples("editvc remote rename origin upstream"))
@click.argument("old", shell_complete=remotes)
@click.argument("new")
@click.pass_context
def rename(ctx: click.Context, old: str, new: str) -> None:
    """Call OLD by NEW, and its branches NEW/BRANCH."""
    open_repo(ctx).rename_remote(old, new)


@remote.command("remove", epilog=examples("editvc remote remove upstream"))
@click.argument("name", shell_complete=remotes)
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Forget NAME, and where its branches were; what it holds stays."""
    open_repo(ctx).remove_remote(name)

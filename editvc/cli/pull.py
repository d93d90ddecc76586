"""``pull``: a fetch, and a merge of what it brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.completers import branches, remotes
from editvc.cli.fetch import show_fetched
from editvc.cli.merge import STOPPED, show_combination
from editvc.cli.options import (
    author_of,
    author_option,
    examples,
    json_option,
    no_verify_option,
    open_repo,
)
from editvc.cli.output import emit_json, progress

if TYPE_CHECKING:
    from editvc.porcelain.merge import Favour


@click.command(epilog=examples("editvc pull origin main --rebase"))
@click.argument("remote", required=False, shell_complete=remotes)
@click.argument("branch", required=False, shell_complete=branches)
@click.option("--rebase", "by_rebase", is_flag=True, help="Replay your own commits on top of it.")
@click.option("--ours", "favour", flag_value="ours", help="Conflicts get this branch's version.")
@click.option("--theirs", "favour", flag_value="theirs", help="Conflicts get the other version.")
@author_option
@no_verify_option
@json_option
@click.pass_context
def pull(
    ctx: click.Context,
    remote: str | None,
    branch: str | None,
    by_rebase: bool,
    favour: Favour | None,
    author: str | None,
    as_json: bool,
) -> None:
    """Fetch, then merge REMOTE's branch into this one; by default that of the same name.

    Stops at conflicts as `merge` does. `fetch --dry-run` and `merge --dry-run` tell beforehand.
    """
    if by_rebase and favour is not None:
        raise click.UsageError("--ours and --theirs are for merges")
    with progress() as report:
        repo = open_repo(ctx, report)
        done = repo.pull(
            remote, branch, author=author_of(repo, author), favour=favour, by_rebase=by_rebase
        )
    if not as_json:
        show_fetched(done.fetched)
        show_combination(ctx, done.combined, as_json)
        return
    emit_json(done.to_json())
    if done.combined.conflicts:
        ctx.exit(STOPPED)

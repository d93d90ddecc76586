"""``fetch``: what a remote has and this repository has not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import remotes
from editvc.cli.options import dry_run_option, examples, json_option, open_repo
from editvc.cli.output import emit_json, progress, say_done, warn
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.fetch import Fetched
    from editvc.session.remotes import MovedRef


@click.command(epilog=examples("editvc fetch origin --prune"))
@click.argument("remote", required=False, shell_complete=remotes)
@click.option("--prune", is_flag=True, help="Forget branches that the remote has no more.")
@dry_run_option
@json_option
@click.pass_context
def fetch(
    ctx: click.Context, remote: str | None, prune: bool, dry_run: bool, as_json: bool
) -> None:
    """Take what is new in REMOTE; no branch of this repository moves.

    Its branches are REMOTE/NAME here, as in `log origin/main`. Without REMOTE it is origin, or the
    only one there is.
    """
    with progress() as report:
        repo = open_repo(ctx, report)
        work = repo.preview_fetch if dry_run else repo.fetch
        done = work(remote, prune=prune)
    if as_json:
        emit_json(done.to_json())
        return
    show_fetched(done)
    if not done.moved:
        say_done("Already up to date")


def show_fetched(done: Fetched) -> None:
    """What came, and which refs moved."""
    say_done(f"From {done.url}")
    say_moves(done.moved)
    for tag in done.left:
        warn(f"tag {tag} is elsewhere there, and stays where it is here")


def say_moves(moved: Iterable[MovedRef]) -> None:
    """Lines as git writes them: from where to where, and which ref."""
    for one in moved:
        if one.old is None:
            say_done(f" * [new] {one.name} {short(one.new or '')}")
        elif one.new is None:
            say_done(f" - [deleted] {one.name} (was {short(one.old)})")
        else:
            mark, dots = ("+", "...") if one.forced else (" ", "..")
            forced = " (forced)" if one.forced else ""
            say_done(f" {mark} {short(one.old)}{dots}{short(one.new)} {one.name}{forced}")


def size_of(count: int) -> str:
    """``980 bytes``, ``12.3 KB`` or ``4.5 MB``."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1e3:.1f} KB" if count < 1e6 else f"{count / 1e6:.1f} MB"

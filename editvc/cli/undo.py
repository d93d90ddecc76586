"""``undo`` and ``redo``: back before the last command, and forward again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.options import (
    author_of,
    author_option,
    dry_run_option,
    examples,
    json_option,
    open_repo,
)
from editvc.cli.output import emit_json, say_done
from editvc.core.cut import title
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.undo import Undoing


@click.command(epilog=examples("editvc undo --dry-run"))
@author_option
@dry_run_option
@json_option
@click.pass_context
def undo(ctx: click.Context, author: str | None, dry_run: bool, as_json: bool) -> None:
    """Take the last command that moved a branch or HEAD back.

    A second undo takes the one before it back. Commits stay, and redo reaches them.
    """
    repo = open_repo(ctx)
    done = repo.preview_undo() if dry_run else repo.undo(author=author_of(repo, author))
    emit_json(done.to_json()) if as_json else _show(done, "Would undo" if dry_run else "Undid")


@click.command(epilog=examples("editvc redo"))
@author_option
@dry_run_option
@json_option
@click.pass_context
def redo(ctx: click.Context, author: str | None, dry_run: bool, as_json: bool) -> None:
    """Do again what undo took back last."""
    repo = open_repo(ctx)
    done = repo.preview_redo() if dry_run else repo.redo(author=author_of(repo, author))
    emit_json(done.to_json()) if as_json else _show(done, "Would redo" if dry_run else "Redid")


def _show(done: Undoing, what: str) -> None:
    say_done(f"{what} {title(done.command.message)}")
    for move in done.moves:
        say_done(f" {move.name}: {_place(move.old)} -> {_place(move.new)}")


def _place(target: str | None) -> str:
    """Where a ref is: the branch that HEAD is on, or a short id."""
    if target is None:
        return "nowhere"
    return target.removeprefix("ref: ") if target.startswith("ref: ") else short(target)

"""``compact``: keep the set, restrain the weights that are made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from editvc.core.history import Restraint
from editvc.porcelain.recording import CommitResult, NothingToDo, advance, head_of

if TYPE_CHECKING:
    from editvc.repo import Repo


def compact(repo: Repo, restraint: Restraint, *, message: str | None, author: str) -> CommitResult:
    """Commit HEAD's set under ``restraint``; ``Restraint()`` lifts the one in force.

    The located edits stay as they are: later commits and reverts work on the unrestrained set,
    and the restraint is applied to the result. So compacting loses nothing.
    """
    head, tree = head_of(repo)
    wanted = restraint if restraint != Restraint() else None
    if wanted is None and tree.restraint is None:
        raise NothingToDo(
            "HEAD is under no restraint: there is nothing to lift",
            hint="`editvc compact` puts one on.",
        )
    if tree.restraint == wanted:
        raise NothingToDo(
            "HEAD is under this restraint already",
            hint="Name other numbers (`editvc compact --help`); --off lifts the restraint.",
        )
    return advance(
        repo,
        head,
        replace(tree, restraint=wanted),
        message=message or _message(wanted),
        author=author,
        verb="compact",
    )


def _message(restraint: Restraint | None) -> str:
    return "Lift the restraint" if restraint is None else f"Restrain: {restraint.words}"

"""``squash``: a range of history, located again as one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.completers import methods, revisions
from editvc.cli.options import (
    author_of,
    commit_options,
    compute_options,
    examples,
    open_repo,
)
from editvc.cli.output import emit_json, note, progress, say, table
from editvc.cli.terminal import is_quiet
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.squash import SquashResult


@click.command(epilog=examples("editvc squash --range 1..500"))
@click.option(
    "--range", "revisions", required=True, metavar="A..B|1..500", shell_complete=revisions,
    help="Commits of the current branch: A..B as in git, or by number, both ends included.",
)  # fmt: skip
@click.option(
    "--method",
    metavar="NAME",
    shell_complete=methods,
    help="Make the edits NAME's from what they keep, without locating: gates become located "
    "edits, located edits gates.",
)
@compute_options
@commit_options
@click.pass_context
def squash(
    ctx: click.Context,
    revisions: str,
    method: str | None,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Locate the facts of a range again, together, and fold its commits into one.

    Single commits are blind to each other; a squash sees them as one batch, layer by layer. Gates
    and other edits of one fact each stay as they are. The old commits stay reachable through the
    reflog (`HEAD@{1}`).
    """
    with progress() as report:
        repo = open_repo(ctx, report)
        if dry_run:
            plan = repo.preview_squash(revisions, method=method)
        else:
            author = author_of(repo, author)
            done = repo.squash(revisions, message=message, author=author, method=method)
    if dry_run:
        emit_json(plan.to_json()) if as_json else say(plan.summary())
    elif as_json:
        emit_json(done.to_json())
    elif not is_quiet():
        _show_squash(done)


def _show_squash(done: SquashResult) -> None:
    head = done.result
    located = [f"{done.facts} facts"] if done.facts else []
    counts = [f"{done.commits} commits", *located, *done.patches.counts]
    say(f"[{head.commit.number} {short(head.id)}] {', '.join(counts)}")
    if done.before is None or done.after is None:
        note("nothing was located again: these edits do not depend on each other")
        return
    before, after = done.before.to_json(), done.after.to_json()
    rows = [
        [name, _figure(before[name]), _figure(after[name])]
        for name in before
        if before[name] is not None
    ]
    table(["", "before", "after"], rows, right=[1, 2])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"

"""``cherry-pick``: what single commits changed, once more on this branch."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.merge import (
    abort_option,
    continue_option,
    require_one,
    resume,
    show_combination,
    show_preview,
    skip_option,
)
from editvc.cli.options import (
    dry_run_option,
    examples,
    json_option,
    no_verify_option,
    open_repo,
    sign_option,
)


@click.command(
    name="cherry-pick",
    epilog=examples("editvc cherry-pick trial~1", "editvc cherry-pick --continue"),
)
@click.argument("revisions", nargs=-1, metavar="REV...", shell_complete=revisions)
@continue_option
@skip_option
@abort_option
@dry_run_option
@no_verify_option
@sign_option
@json_option
@click.pass_context
def cherry_pick(
    ctx: click.Context,
    revisions: tuple[str, ...],
    go_on: bool,
    skip: bool,
    abort: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Commit what each REV, or each commit of a range A..B, changed, once more on this branch.

    Authors and messages stay theirs. No fact is located again: its numbers are those it has. Stops
    at conflicts as `editvc merge` does.
    """
    require_one(revisions, go_on, skip, abort, beside=(dry_run,))
    repo = open_repo(ctx)
    if go_on or skip or abort:
        resume(ctx, repo, "cherry-pick", as_json, abort=abort, skip=skip)
    elif dry_run:
        show_preview(ctx, repo.preview_cherry_pick(*revisions), as_json)
    else:
        show_combination(ctx, repo.cherry_pick(*revisions), as_json)

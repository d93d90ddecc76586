"""``reset``: the current branch at another commit."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import dry_run_option, examples, json_option, open_repo
from editvc.cli.output import emit_json, note, say, say_done
from editvc.core.cut import title
from editvc.core.ids import short


@click.command(epilog=examples("editvc reset HEAD~1 --dry-run"))
@click.argument("revision", shell_complete=revisions)
@dry_run_option
@json_option
@click.pass_context
def reset(ctx: click.Context, revision: str, dry_run: bool, as_json: bool) -> None:
    """Move the current branch to REVISION.

    Commits that no branch and no tag reaches then are listed; they stay, by their ids and in the
    reflog (`@{1}`).
    """
    repo = open_repo(ctx)
    done = repo.preview_reset(revision) if dry_run else repo.reset(revision)
    if as_json:
        emit_json(done.to_json())
        return
    for row in done.left:
        say_done(f"left {short(row.id)} {row.number} {title(row.message)}")
    if dry_run:
        say(f"the branch would be at {short(done.new)}; nothing was written")
        return
    say_done(f"The branch is at {short(done.new)}")
    if done.left:
        newest = short(done.left[0].id)
        note(f"`editvc reset {newest}` brings them back, `editvc branch NAME {newest}` keeps them")

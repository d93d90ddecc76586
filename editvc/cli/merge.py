"""``merge``: other branches into this one; and what merges and replays have to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import (
    author_of,
    commit_options,
    examples,
    open_repo,
)
from editvc.cli.output import emit_json, note, painted, say, say_done, warn
from editvc.cli.show import say_changes
from editvc.core.cut import cut, title
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.combine import CombinePreview
    from editvc.porcelain.conflicts import Conflict
    from editvc.porcelain.merge import Favour
    from editvc.porcelain.sequencer import Combination
    from editvc.repo import Repo

STOPPED = 1
"""The exit code where a place is in conflict, as git has it."""

NEAR_SHOWN = 5
"""How many pairs of facts that act on each other are told."""

continue_option = click.option(
    "--continue", "go_on", is_flag=True, help="Commit what waited, every conflict being decided."
)
abort_option = click.option(
    "--abort", is_flag=True, help="Forget what waits; the branch is where it was."
)
skip_option = click.option(
    "--skip", is_flag=True, help="Leave out the commit in conflict, and go on with the next."
)


@click.command(epilog=examples("editvc merge trial --dry-run", "editvc merge --continue"))
@click.argument("revisions", nargs=-1, metavar="REV...", shell_complete=revisions)
@click.option("--ours", "favour", flag_value="ours", help="Conflicts get this branch's version.")
@click.option("--theirs", "favour", flag_value="theirs", help="Conflicts get the other version.")
@continue_option
@abort_option
@commit_options
@click.pass_context
def merge(
    ctx: click.Context,
    revisions: tuple[str, ...],
    favour: Favour | None,
    go_on: bool,
    abort: bool,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take in what other branches made of the past that they share with this one.

    Sets are united: what either side added, changed or took out holds. Where both sides changed a
    fact, and not alike, the merge stops with exit code 1, and `editvc resolve` decides.
    """
    require_one(revisions, go_on, abort, beside=(favour, message, author, dry_run))
    repo = open_repo(ctx)
    if go_on or abort:
        resume(ctx, repo, "merge", as_json, abort=abort)
        return
    if dry_run:
        show_preview(ctx, repo.preview_merge(*revisions, favour=favour), as_json)
        return
    done = repo.merge(
        *revisions,
        favour=favour,
        message=message,
        author=author_of(repo, author),
    )
    show_combination(ctx, done, as_json)


def require_one(revisions: Sequence[str], *ways: bool, beside: Sequence[object] = ()) -> None:
    """Either revisions, or one way to go on with what waits. Raises ``UsageError``.

    What is given ``beside`` is for a beginning: what waits was begun with its own.
    """
    if bool(revisions) + sum(ways) != 1:
        raise click.UsageError("name revisions, or one of --continue, --skip and --abort")
    if any(beside) and not revisions:
        raise click.UsageError("--continue, --skip and --abort go without other options")


def resume(
    ctx: click.Context,
    repo: Repo,
    verb: str,
    as_json: bool,
    *,
    abort: bool = False,
    skip: bool = False,
) -> None:
    """Go on with what waits, without the commit in conflict where ``skip``; or forget it."""
    if abort:
        at = repo.abort(verb)
        emit_json({"commit": at}) if as_json else say_done(f"HEAD is at {short(at or 'no commit')}")
        return
    show_combination(ctx, repo.skip(verb) if skip else repo.go_on(verb), as_json)


def show_combination(ctx: click.Context, done: Combination, as_json: bool) -> None:
    """What a merge or a replay came to; ends with ``STOPPED`` where it waits."""
    if as_json:
        emit_json(done.to_json())
    elif done.conflicts:
        say_conflicts(done.conflicts)
        note(
            f"the branch is where it was. `editvc resolve SLOT --ours` (--theirs, --base, --remove)"
            f" decides, then `editvc {done.verb} --continue`; `editvc {done.verb} --abort` forgets"
        )
    elif not done.moved:
        say_done("Already up to date")
    else:
        for identifier, commit in done.made:
            say_done(f"[{commit.number} {short(identifier)}] {title(commit.message)}")
            say_done(f" {commit.edits} edit{'' if commit.edits == 1 else 's'} changed, "
                f"{commit.live} live")  # fmt: skip
        if not done.made and done.tip is not None:
            say_done(f"Fast-forward to {short(done.tip)}")
        for pair in done.near[:NEAR_SHOWN]:
            warn(pair.line)
        if len(done.near) > NEAR_SHOWN:
            warn(f"{len(done.near) - NEAR_SHOWN} more such pairs, see `editvc health`")
    if done.conflicts:
        ctx.exit(STOPPED)


def show_preview(ctx: click.Context, preview: CombinePreview, as_json: bool) -> None:
    """What a merge or a replay would do; ends with ``STOPPED`` where it would stop."""
    if as_json:
        emit_json(preview.to_json())
    else:
        say_changes(preview.changes)
        say_conflicts(preview.conflicts)
        count = preview.commits
        told = f"{count} commit{'' if count == 1 else 's'} would be made"
        if preview.move is not None:
            told = f"would move to {short(preview.move)}"
        elif preview.conflicts:
            told = "would stop at what is in conflict"
        say(f"{told}; nothing was written")
    if preview.conflicts:
        ctx.exit(STOPPED)


def say_conflicts(conflicts: Sequence[Conflict]) -> None:
    """Every place in conflict: what it is about, and who says what of it."""
    for conflict in conflicts:
        decided = f": {conflict.chosen}" if conflict.chosen else ""
        head = f"conflict {short(conflict.place)} {cut(' '.join(conflict.question.split()))}"
        say(painted(head, fg="red"), decided)
        for name, version in conflict.versions:
            by, fact = version.commit, version.fact
            told = f"  {name:<7}{cut(version.says)}"
            if fact is not None and fact.source:
                told += f" ({cut(fact.source)})"
            if by is not None:
                told += f"   {' '.join(by.author.split())}, {short(by.id)} {title(by.message)}"
            say(told)

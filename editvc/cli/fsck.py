"""``fsck``: whether every stored byte is what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import ago, complain, emit_json, note, say
from editvc.core.cut import title
from editvc.core.ids import short
from editvc.core.trust import Trust

if TYPE_CHECKING:
    from editvc.vcs.fsck_operations import Dangling


@click.command(epilog=examples("editvc fsck --repair"))
@click.option(
    "--repair", is_flag=True, help="Build a damaged index anew first; the old one is kept aside."
)
@json_option
@click.pass_context
def fsck(ctx: click.Context, repair: bool, as_json: bool) -> None:
    """Verify every object, operation, reference, reflog line and index row of the repository.

    Commits that no branch reaches are listed, each with the command that brings it back.
    """
    from editvc.repo import Repo

    if repair:
        trust = Trust.from_environment(os.environ)
        for done in Repo.repair(ctx.find_root().obj, trust):
            note(f"repaired: {done}")
    report = open_repo(ctx).fsck()
    if as_json:
        emit_json(report.to_json())
    else:
        for problem in report.errors:
            complain(f"{problem.where}: {problem.what}")
        for commit in report.dangling:
            note(_way_back(commit))
        for line in report.lines:
            what = f"number {line.number}, {title(line.message)}"
            note(f"not behind the current operation: {short(line.operation)} ({what})")
        for remark in report.garbage:
            note(f"needed by nothing, harmless: {remark}")
        say(", ".join(f"{count} {name}" for name, count in report.counts))
        say("clean" if report.clean else f"{len(report.errors)} problems")
    if report.errors:
        ctx.exit(3)


def _way_back(commit: Dangling) -> str:
    """A commit that no ref reaches, and how to reach it again."""
    name = short(commit.commit)
    first = "" if commit.indexed else "`editvc reindex`, then "
    return (
        f"no branch reaches commit {name} (number {commit.number}, {ago(commit.time)}: "
        f"{title(commit.message)}); {first}`editvc branch NAME {name}` brings it back"
    )

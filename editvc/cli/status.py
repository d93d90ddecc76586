"""``status``: where HEAD is, and what it holds."""

from __future__ import annotations

import click

from editvc.cli.merge import say_conflicts
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, note, say
from editvc.core.ids import short


@click.command(epilog=examples("editvc status --json"))
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show where HEAD is, over which base, and how many edits are live."""
    now = open_repo(ctx).status()
    if as_json:
        emit_json(now.to_json())
        return
    say(f"On branch {now.branch}" if now.branch else "HEAD is detached")
    if now.commit is None:
        say("No commits yet")
    else:
        say(f"Commit {short(now.commit)} (number {now.number}), tree {short(now.tree)}")
    force = "" if now.in_force else ", not in force: see `editvc base`"
    say(f"Base {now.source or 'unknown'} ({short(now.base)}){force}")
    say(f"{now.live} live edit{'' if now.live == 1 else 's'}")
    if now.expired:
        say(f"{now.expired} of them past their last day: `editvc expire` takes them out")
    for patch in now.patches:
        say(f"patch {patch}")
    if now.restraint is not None:
        say(f"restrained: {now.restraint.words}")
    if (waits := now.unfinished) is not None:
        left = sum(one.chosen is None for one in waits.conflicts)
        say(f"A {waits.verb} of {waits.about} waits: {left} of {len(waits.conflicts)} undecided")
        say_conflicts(waits.conflicts)
        note(f"`editvc {waits.verb} --continue` or `editvc {waits.verb} --abort` ends it")

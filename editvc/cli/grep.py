"""``editvc grep``: facts and commits by the words in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, painted, say
from editvc.core.cut import cut, title
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.grep import MatchingFact

NO_MATCH = 1
"""The exit code where nothing matches, as git grep has it."""


@click.command(epilog=examples("editvc grep France --live"))
@click.argument("text")
@click.argument("revision", metavar="[REV]", required=False, shell_complete=revisions)
@click.option("--live", is_flag=True, help="Only facts that are live at REV; no messages.")
@click.option("--all", "everything", is_flag=True, help="All facts and messages ever committed.")
@json_option
@click.pass_context
def grep(
    ctx: click.Context,
    text: str,
    revision: str | None,
    live: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Find facts and commits by the words of TEXT.

    Looks through the facts that are live at REV (HEAD by default): subject, prompt, targets, source
    and tags; and through the messages of the commits that REV reaches. All words must be there, in
    any order; each may be part of a longer one, and case does not matter. No character has a
    meaning of its own. Exits with 1 where nothing matches.
    """
    if everything and (live or revision is not None):
        raise click.UsageError("--all looks everywhere: it takes neither REV nor --live")
    matches = open_repo(ctx).grep(
        text, None if everything else revision or "HEAD", messages=not live
    )
    if as_json:
        emit_json(matches.to_json())
    else:
        for match in matches.facts:
            _say_fact(match)
        for row in matches.commits:
            shown = painted(short(row.id), fg="yellow")
            say("commit ", shown, f" {row.number} {title(row.message)}")
    if not matches:
        ctx.exit(NO_MATCH)


def _say_fact(match: MatchingFact) -> None:
    where = f"[{match.commit.number} {short(match.commit.id)}]"
    gone = "" if match.live else " (not live)"
    say(painted(short(match.fact.id), fg="yellow"), f" {match.fact.line} {where}{gone}")
    for name, text in match.beside:
        say(f"  {name}: {cut(' '.join(text.split()))}")

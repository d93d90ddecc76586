"""``gc``: small objects into packs, and what nobody wants away."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING

import click

from editvc.cli.options import dry_run_option, examples, json_option, open_repo
from editvc.cli.output import emit_json, note, say_done
from editvc.core.facts import day

if TYPE_CHECKING:
    from editvc.vcs.gc import Collected


@click.command(epilog=examples("editvc gc --prune 2026-06-30 --dry-run"))
@click.option(
    "--prune", metavar="DATE|now",
    help="Drop what nothing leads to and is older than a day, like 2027-12-31; else, than two "
    "weeks.",
)  # fmt: skip
@dry_run_option
@json_option
@click.pass_context
def gc(ctx: click.Context, prune: str | None, dry_run: bool, as_json: bool) -> None:
    """Put many small objects into packs, and drop what nothing leads to any more.

    Branches, tags, notes, the reflog, every operation, settings, results and a merge that waits
    keep what they lead to. May run at any time, beside any other command.
    """
    before, repo = _before(prune), open_repo(ctx)
    done = repo.preview_gc(before) if dry_run else repo.gc(before)
    if as_json:
        emit_json(done.to_json())
        return
    for line in _lines(done, "would be " if dry_run else ""):
        say_done(line)
    if done.waits:
        note("other commands are writing: nothing was dropped; run `editvc gc` again later")


def _before(prune: str | None) -> float | None:
    """The moment that ``--prune`` names, in seconds since the epoch."""
    if prune is None:
        return None
    if prune == "now":
        return inf
    found = day(prune)
    if found is None:
        raise click.BadParameter(
            f"{prune!r} is neither 'now' nor a day like 2027-12-31", param_hint="--prune"
        )
    return datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp()


def _lines(done: Collected, would: str) -> list[str]:
    lines = [f"{done.packed} objects {would}packed"]
    if done.merged:
        lines[0] += f", with those of {done.merged} older packs"
    if done.dropped:
        lines.append(f"{done.dropped} objects {would}dropped: nothing leads to them")
    if done.young:
        lines.append(f"{done.young} objects are kept though no ref leads to them")
    if done.temporary:
        lines.append(f"{done.temporary} files of interrupted writes {would}removed")
    return lines

"""``show``: one commit, and what it changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.log import (
    Line,
    note_lines,
    noted_by_commit,
    notes_option,
    paragraph,
    signature_option,
)
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, page, painted, say
from editvc.core.cut import cut
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.core.facts import Fact
    from editvc.session.changes import FactChanges


@click.command(epilog=examples("editvc show HEAD~1"))
@click.argument("revision", default="HEAD", shell_complete=revisions)
@notes_option
@signature_option
@json_option
@click.pass_context
def show(
    ctx: click.Context, revision: str, with_notes: bool, show_signature: bool, as_json: bool
) -> None:
    """Show one commit: who, when, why, and the facts and patches that it changed."""
    repo = open_repo(ctx)
    commit = repo.show(revision)
    note = noted_by_commit(repo).get(commit.row.id) if with_notes else None
    (signature,) = repo.verify_commit(commit.row.id) if show_signature else (None,)
    if as_json:
        noted = {"note": note.text} if note else {}
        signed = {"signature": signature.to_json()} if signature else {}
        emit_json(commit.to_json() | noted | signed)
        return
    lines: list[Line] = [*paragraph(commit.row, "", commit.patches)]
    if signature is not None:
        lines.append((f"| {signature.line}",))
    lines += note_lines(note) if note is not None else []
    lines.append((f"  tree {short(commit.row.tree)}",))
    if commit.methods:
        lines.append((f"  method {', '.join(commit.methods)}",))
    if commit.restraint is not None:
        lines.append((f"  restrained: {commit.restraint.words}",))
    lines += [(f"  {name} {value:.4g}",) for name, value in commit.health]
    page([*lines, *change_lines(commit.changes)])


def say_changes(changes: FactChanges) -> None:
    """Every fact and patch that two trees do not share, on a line each."""
    for line in change_lines(changes):
        say(*line)


def change_lines(changes: FactChanges) -> Iterator[Line]:
    """The lines of :func:`say_changes`."""
    for fact in changes.added:
        yield (painted(f"+ {_line(fact)}", fg="green"),)
    for fact in changes.removed:
        yield (painted(f"- {_line(fact)}", fg="red"),)
    for old, new in changes.changed:
        yield (painted(f"~ {_line(new)} (was {cut(old.target_new)})", fg="yellow"),)
    for patch in changes.patches.imported:
        yield (painted(f"+ patch {patch}", fg="green"),)
    for patch in changes.patches.left_out:
        yield (painted(f"- patch {patch}", fg="red"),)
    if changes.relocated:
        yield (f"{len(changes.relocated)} facts located again",)


def _line(fact: Fact) -> str:
    return f"{short(fact.id)} {fact.line}"

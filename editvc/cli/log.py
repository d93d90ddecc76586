"""``log``: the commits that a revision reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import Piece, ago, emit_json, page, painted
from editvc.core.cut import cut, title
from editvc.core.ids import short
from editvc.core.invisible import in_one_line

if TYPE_CHECKING:
    from editvc.core.ids import ObjectId
    from editvc.porcelain.branch import Branch
    from editvc.porcelain.notes import Note
    from editvc.repo import Repo
    from editvc.vcs.index_rows import CommitRow

Line = tuple[Piece, ...]

LINE = 200
"""Characters of a line of a message that `log` shows; `show` has all of them."""


notes_option = click.option(
    "--notes/--no-notes", "with_notes", default=True, help="Show notes about commits; they are."
)
signature_option = click.option(
    "--show-signature", is_flag=True, help="Verify signatures, as `editvc verify-commit` does."
)


@click.command(epilog=examples("editvc log --oneline -n 10", "editvc log v1..main"))
@click.argument("revision", default="HEAD", shell_complete=revisions)
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="At most N commits.")
@click.option("--scores", is_flag=True, help="Beside each what `eval` has measured of it.")
@notes_option
@signature_option
@json_option
@click.pass_context
def log(
    ctx: click.Context,
    revision: str,
    oneline: bool,
    limit: int | None,
    scores: bool,
    with_notes: bool,
    show_signature: bool,
    as_json: bool,
) -> None:
    """Show the commits that REVISION, or a range A..B, reaches, newest first.

    Each with all branches at it, HEAD's first, and all tags; in JSON they are its branches and
    its tags.
    """
    from editvc.porcelain.branch import by_commit
    from editvc.porcelain.log import log_json
    from editvc.porcelain.tag import tags_by_commit

    repo = open_repo(ctx)
    rows = repo.log(revision, limit)
    branches, tags = by_commit(repo.branches()), tags_by_commit(repo.tags())
    kept = {row.id: repo.scores(row.id) for row in rows} if scores else {}
    noted = noted_by_commit(repo) if with_notes else {}
    signed = {row.id: repo.verify_commit(row.id)[0] for row in rows if show_signature}
    if as_json:
        names = {commit: [one.name for one in at] for commit, at in branches.items()}
        emit_json(
            [
                log_json(row)
                | {"branches": names.get(row.id, []), "tags": tags.get(row.id, [])}
                | ({"scores": [one.to_json() for one in kept[row.id]]} if scores else {})
                | ({"note": noted[row.id].text} if row.id in noted else {})
                | ({"signature": signed[row.id].to_json()} if show_signature else {})
                for row in rows
            ]
        )
        return
    lines: list[Line] = []
    for row in rows:
        marked = _names(branches.get(row.id, []), tags.get(row.id, []))
        imports = 0 if oneline else repo.imported_patches(row)
        lines.extend(_oneline(row, marked) if oneline else paragraph(row, marked, imports, LINE))
        lines.extend((f"| {one.line()}",) for one in kept.get(row.id, ()))
        if row.id in signed:
            lines.append((f"| {signed[row.id].line}",))
        if row.id in noted and not oneline:
            lines.extend(note_lines(noted[row.id]))
    if lines:
        page(lines)


def noted_by_commit(repo: Repo) -> dict[ObjectId, Note]:
    """Each note by the commit that it is about."""
    return {note.about.id: note for note in repo.notes()}


def note_lines(note: Note) -> list[Line]:
    """A note below its commit, as git shows it."""
    return [
        ("| Notes:",),
        *((f"|     {line}".rstrip(),) for line in note.text.strip().splitlines()),
    ]


def _names(branches: list[Branch], tags: list[str]) -> str:
    """The branches and tags at a commit, as ``git log --decorate`` shows them."""
    names = [f"HEAD -> {one.name}" if one.current else one.name for one in branches]
    names += [f"tag: {name}" for name in tags]
    return f" ({', '.join(names)})" if names else ""


def _oneline(row: CommitRow, marked: str) -> list[Line]:
    shown = painted(short(row.id), fg="yellow")
    return [("* ", shown, f"{marked} {row.number} {title(row.message)}")]


def paragraph(row: CommitRow, marked: str, imports: int, longest: int | None = None) -> list[Line]:
    """One commit on some lines; ``imports`` counts its patches that stand for no fact.

    Lines of its message are cut to ``longest`` characters, where that is given.
    """
    changed = f"{row.edits} edit{'' if row.edits == 1 else 's'} changed, {row.live} live"
    changed += f", {imports} imported patch{'' if imports == 1 else 'es'}" if imports else ""
    head = painted(f"commit {short(row.id)}", fg="yellow")
    lines = row.message.strip().splitlines()
    return [
        ("* ", head, marked),
        (f"| number {row.number}   {changed}",),
        *([(f"| merge of {' '.join(map(short, row.parents))}",)] if row.parents[1:] else []),
        (f"| {in_one_line(row.author)}, {ago(row.time)}",),
        *((f"| {cut(line, longest or len(line))}".rstrip(),) for line in lines),
        *([("|",)] if row.parents else []),
    ]

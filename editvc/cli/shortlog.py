"""``shortlog``: commits by who made them."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import Piece, emit_json, page
from editvc.core.cut import title
from editvc.core.invisible import in_one_line


@click.command(epilog=examples("editvc shortlog -s -n"))
@click.argument("revision", metavar="[REVISION]", default="HEAD", shell_complete=revisions)
@click.option("-s", "--summary", is_flag=True, help="Only how many there are.")
@click.option("-n", "--numbered", is_flag=True, help="Who made most of them first.")
@json_option
@click.pass_context
def shortlog(
    ctx: click.Context, revision: str, summary: bool, numbered: bool, as_json: bool
) -> None:
    """Show the commits that REVISION (HEAD), or a range A..B, reaches by author, oldest first."""
    groups = open_repo(ctx).shortlog(revision)
    if numbered:
        groups.sort(key=lambda group: -len(group.commits))
    if as_json:
        emit_json([group.to_json() for group in groups])
        return
    lines: list[tuple[Piece, ...]] = []
    for group in groups:
        author, count = in_one_line(group.author), len(group.commits)
        if summary:
            lines.append((f"{count:6}  {author}",))
            continue
        edits = f"{group.edits} edit{'' if group.edits == 1 else 's'}"
        lines.append((f"{author} ({count}, {edits}):",))
        lines += [(f"      {title(row.message)}",) for row in group.commits]
        lines.append(("",))
    if lines:
        page(lines)

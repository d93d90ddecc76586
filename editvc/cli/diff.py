"""``diff``: what two revisions do not share."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.log import Line
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, note, page, table
from editvc.cli.show import change_lines


@click.command(epilog=examples("editvc diff main~3 main"))
@click.argument("before", shell_complete=revisions)
@click.argument("after", default="HEAD", shell_complete=revisions)
@click.option("--scores", is_flag=True, help="Show what `eval` has measured of both, instead.")
@json_option
@click.pass_context
def diff(ctx: click.Context, before: str, after: str, scores: bool, as_json: bool) -> None:
    """Show what two revisions do not share, and how far apart their weights are."""
    if scores:
        _show_scores(ctx, before, after, as_json)
        return
    repo = open_repo(ctx)
    changes, norms = repo.changes(before, after), repo.delta_norms(before, after)
    if as_json:
        by_weight = {str(weight): norm for weight, norm in norms.items()}
        emit_json(changes.to_json() | {"delta_norm": by_weight})
        return
    lines: list[Line] = [*change_lines(changes)]
    for weight, norm in norms.items():
        where = f"layer {weight}" if isinstance(weight, int) else weight
        lines.append((f"{where}: |delta| = {norm:.4g}",))
    if lines:
        page(lines)


def _show_scores(ctx: click.Context, before: str, after: str, as_json: bool) -> None:
    """Figures of the same suites under the same settings, side by side."""
    from editvc.porcelain.kept_scores import side_by_side

    repo = open_repo(ctx)
    rows = side_by_side(repo.scores(before), repo.scores(after))
    if as_json:
        emit_json([row.to_json() for row in rows])
    elif not rows:
        note("nothing has been measured of either: see `editvc eval`")
    else:
        table(
            ["suite", "figure", before, after],
            [[row.suite, row.figure, _number(row.before), _number(row.after)] for row in rows],
            right=(2, 3),
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

"""``editvc query``: SQL over the index."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, say, table

if TYPE_CHECKING:
    from editvc.vcs.read_only import Rows, Value


@click.command(epilog=examples('editvc query "SELECT subject, target_new FROM live"'))
@click.argument("sql", metavar="SQL")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, the names of the columns first.")
@click.pass_context
def query(ctx: click.Context, sql: str, as_json: bool, as_csv: bool) -> None:
    """Ask the index in SQL, like "SELECT subject, target_new FROM live".

    SQL is one statement that only reads. The tables are on the page of file formats; live has the
    facts of HEAD. Bytes are shown as hexadecimal digits.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    rows = open_repo(ctx).query(sql)
    if as_json:
        emit_json([dict(zip(rows.columns, map(_plain, row), strict=True)) for row in rows.rows])
    elif as_csv:
        say(_csv(rows).removesuffix("\n"))
    else:
        _show(rows)


def _plain(value: Value) -> Any:
    """A value as JSON has it, which knows neither bytes nor infinity."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _csv(rows: Rows) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(map(_plain, row) for row in rows.rows)
    return text.getvalue()


def _show(rows: Rows) -> None:
    """A table; numbers stand on the right, line breaks are spaces."""
    numeric = [
        place
        for place in range(len(rows.columns))
        if all(isinstance(row[place], int | float | None) for row in rows.rows)
    ]
    table(rows.columns, [[_cell(value) for value in row] for row in rows.rows], right=numeric)


def _cell(value: Value) -> str:
    return "" if value is None else " ".join(str(_plain(value)).splitlines())

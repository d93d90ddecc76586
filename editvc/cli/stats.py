"""``stats``: second moments of the base's keys."""

from __future__ import annotations

from pathlib import Path

import click

from editvc.cli.options import compute_options, examples, json_option, open_repo, open_with_base
from editvc.cli.output import emit_json, note, progress, say_done, table
from editvc.core.ids import short

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(epilog=examples("editvc stats show"))
def stats() -> None:
    """Second moments of the base's keys: what guards all that is not edited."""


@stats.command(
    "compute", epilog=examples("editvc stats compute --text articles.txt --entities names.txt")
)
@click.option("--text", "texts", type=FILE, multiple=True, help="Text or JSONL; repeatable.")
@click.option("--dataset", metavar="NAME", help="A data set of the `datasets` library.")
@click.option("--entities", type=FILE, help="Names (one a line) or facts whose keys to guard.")
@click.option(
    "--budget", type=click.IntRange(1), metavar="TOKENS", help="Default: 10 x the MLP's inner size."
)
@click.option(
    "--token-cap", type=click.IntRange(2), default=512, show_default=True,
    help="Longest sequence; longer texts are cut into several.",
)  # fmt: skip
@compute_options
@json_option
@click.pass_context
def compute(
    ctx: click.Context,
    texts: tuple[Path, ...],
    dataset: str | None,
    entities: Path | None,
    budget: int | None,
    token_cap: int,
    as_json: bool,
) -> None:
    """Take statistics anew and use them for facts committed from now on.

    An interrupted run goes on where it was when the same command is given again.
    """
    with progress() as report:
        repo = open_with_base(ctx, report)
        result = repo.compute_statistics(
            texts=texts, dataset=dataset, entities=entities, budget=budget, token_cap=token_cap
        )
    for remark in result.remarks:
        note(remark)
    emit_json(result.to_json()) if as_json else say_done(result.summary())


@stats.command("show", epilog=examples("editvc stats show --json"))
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show which statistics commits use and what they were taken from."""
    described = open_repo(ctx).statistics()
    if as_json:
        emit_json([one.to_json() for one in described])
        return
    rows = [[one.role, short(one.id), one.source, f"{one.samples}", one.unit] for one in described]
    table(["role", "id", "taken from", "samples", "unit"], rows, right=[3])

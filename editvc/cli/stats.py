"""``stats``: second moments of the base's keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.fetch import size_of
from editvc.cli.options import (
    compute_options,
    examples,
    json_option,
    open_repo,
    open_with_base,
    workers_option,
)
from editvc.cli.output import emit_json, note, progress, say, say_done, table
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.shared_statistics import Shared

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
@workers_option
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


@stats.command("push", epilog=examples("editvc stats push hf://user/statistics"))
@click.argument("remote")
@click.option("-f", "--force", is_flag=True, help="Put yours in the place of others there.")
@json_option
@click.pass_context
def push(ctx: click.Context, remote: str, force: bool, as_json: bool) -> None:
    """Share the statistics that commits use, so that others need not take them.

    REMOTE is the name of a remote, a folder, hf://USER/NAME, s3://BUCKET/PATH or ssh://HOST/PATH.
    It may hold statistics of many bases, and a history beside them. Layers that are there already
    are not sent again; others of the same base and corpus stay, with exit code 5.
    """
    with progress() as report:
        done = open_repo(ctx, report).push_statistics(remote, force=force)
    _show(done, as_json, "shared")


@stats.command("pull", epilog=examples("editvc stats pull hf://user/statistics"))
@click.argument("remote")
@click.option(
    "--corpus", "corpora", multiple=True, metavar="DIGEST",
    help="Which statistics to take where there are several; the first digits do. Repeatable.",
)  # fmt: skip
@click.option("-f", "--force", is_flag=True, help="Put them in the place of those in force here.")
@json_option
@click.pass_context
def pull(
    ctx: click.Context, remote: str, corpora: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Use statistics of this base that somebody has shared, for facts committed from now on.

    REMOTE as for `stats push`. Digests, shapes and values are checked. Where others are in force
    here nothing changes, with exit code 5. `editvc init MODEL --statistics REMOTE` begins
    with them.
    """
    with progress() as report:
        done = open_repo(ctx, report).pull_statistics(remote, corpora=corpora, force=force)
    _show(done, as_json, "received")


def _show(done: Shared, as_json: bool, verb: str) -> None:
    for remark in done.remarks:
        note(remark)
    if as_json:
        emit_json(done.to_json())
        return
    rows = [
        [one.role, ",".join(map(str, one.layers)), short(one.corpus), one.source, f"{one.samples}",
         one.unit]
        for one in done.pieces
    ]  # fmt: skip
    if rows:
        table(["role", "layers", "corpus", "taken from", "samples", "unit"], rows, right=[4])
    say(f"{size_of(done.size)} {verb}: {done.url}" if rows else f"Everything is at {done.url}")

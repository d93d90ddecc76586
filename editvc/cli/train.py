"""Training what a method needs before it can edit: ``train``."""

from __future__ import annotations

import click

from editvc.cli.options import (
    contents,
    dry_run_option,
    files_argument,
    json_option,
    layer_numbers,
    open_repo,
)
from editvc.cli.output import emit_json, note, progress, say


@click.group()
def train() -> None:
    """Train what a method needs before it can edit."""


@train.command("mend")
@files_argument
@click.option("--layers", metavar="L,L,...", help="Layers to edit; the last three otherwise.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="The most to take.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@dry_run_option
@json_option
@click.pass_context
def mend(
    ctx: click.Context,
    files: tuple[str, ...],
    layers: str | None,
    steps: int | None,
    seed: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train MEND's editor on the facts of FILEs; `commit --method mend` uses it from then on.

    A tenth of the facts is held out to judge by. Facts that are committed later should not be
    among them, or what is measured flatters.
    """
    from editvc.core.formats import read_facts

    facts = read_facts(contents(files))
    chosen = layer_numbers(layers) if layers is not None else None
    with progress() as report:
        repo = open_repo(ctx, report)
        if dry_run:
            plan = repo.plan_mend(facts, layers=chosen, steps=steps, seed=seed)
            emit_json(plan.to_json()) if as_json else say(plan.summary())
            return
        done = repo.train_mend(facts, layers=chosen, steps=steps, seed=seed, remark=note)
    emit_json(done.to_json()) if as_json else say(done.summary())

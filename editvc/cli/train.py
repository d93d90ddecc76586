"""Training what a method needs before it can edit: ``train``."""

from __future__ import annotations

from typing import Literal

import click

from editvc.cli.options import (
    compute_options,
    confirm_option,
    dry_run_option,
    examples,
    facts_in,
    files_argument,
    json_option,
    layer_numbers,
    open_with_base,
    target_option,
)
from editvc.cli.output import emit_json, note, progress, say, say_done


@click.group(epilog=examples("editvc train mend facts.jsonl"))
def train() -> None:
    """Train what a method needs before it can edit."""


@train.command(epilog=examples("editvc train mend facts.jsonl --steps 2000"))
@files_argument
@click.option("--layers", metavar="L,L,...", help="Layers to edit; the last three otherwise.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="The most to take.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N")
@click.option(
    "--published", is_flag=True,
    help="The editor's blocks as papers print them: a ReLU in both, a bias in the first alone.",
)  # fmt: skip
@click.option(
    "--matrices", type=click.Choice(["mlp", "down"]), default="mlp", show_default=True,
    help="What is edited: all matrices of the MLPs, or their down projections.",
)  # fmt: skip
@target_option
@confirm_option
@dry_run_option
@compute_options
@json_option
@click.pass_context
def mend(
    ctx: click.Context,
    files: tuple[str, ...],
    layers: str | None,
    steps: int | None,
    seed: int,
    published: bool,
    matrices: Literal["mlp", "down"],
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train MEND's editor on the facts of FILEs; `commit --method mend` uses it from then on.

    A tenth of the facts is held out to judge by. Facts that are committed later should not be
    among them, or what is measured flatters.
    """
    facts = facts_in(files, target, confirm_subjects)
    chosen = layer_numbers(layers) if layers is not None else None
    with progress() as report:
        repo = open_with_base(ctx, report)
        if dry_run:
            plan = repo.plan_mend(
                facts, layers=chosen, steps=steps, seed=seed, published=published,
                matrices=matrices,
            )  # fmt: skip
            emit_json(plan.to_json()) if as_json else say(plan.summary())
            return
        done = repo.train_mend(
            facts, layers=chosen, steps=steps, seed=seed, published=published,
            matrices=matrices, remark=note,
        )  # fmt: skip
    emit_json(done.to_json()) if as_json else say_done(done.summary())

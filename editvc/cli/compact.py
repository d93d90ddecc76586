"""``compact``: the weights of the set under a restraint."""

from __future__ import annotations

import math
from typing import Any

import click

from editvc.cli.commit import show_commit
from editvc.cli.options import (
    author_of,
    author_option,
    dry_run_option,
    json_option,
    message_option,
    no_verify_option,
    open_repo,
    sign_option,
)
from editvc.cli.output import emit_json, note, say


@click.command()
@click.option(
    "--alpha", type=click.FloatRange(1, min_open=True), metavar="A",
    help="Base of PRUNE's logarithm; e by default, 1.2 and 1.5 in the paper's ablation.",
)  # fmt: skip
@click.option(
    "--linear", type=click.FloatRange(1, min_open=True), metavar="A",
    help="PRUNE's linear variant instead: divide by A what exceeds the base's largest; 2 in its "
    "code.",
)  # fmt: skip
@click.option("--rank", type=click.IntRange(1), metavar="R", help="Keep R singular values a layer.")
@click.option(
    "--energy", type=click.FloatRange(0, 1, min_open=True), metavar="E",
    help="Keep as many singular values as hold this share of the squared norm.",
)  # fmt: skip
@click.option(
    "--rect", type=click.FloatRange(0, 100, min_open=True), metavar="K",
    help="RECT: keep the K per cent of entries that change most relative to the base's.",
)  # fmt: skip
@click.option(
    "--drop", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="P",
    help="AdaPLE's DR: drop entries with probability P, 0.7 to 0.9 there, and scale up the rest.",
)  # fmt: skip
@click.option(
    "--drop-each", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="P",
    help="The same with a mask of its own for every edit, as AdaPLE draws one at each step.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="What --drop and --drop-each draw from; "
    "else 0.",
)  # fmt: skip
@click.option("--off", is_flag=True, help="Lift the restraint.")
@message_option
@author_option
@dry_run_option
@no_verify_option
@sign_option
@json_option
@click.pass_context
def compact(
    ctx: click.Context,
    /,
    off: bool,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Restrain the weights made of the set (PRUNE), and commit that.

    Singular values of the delta above the base weight's largest are pulled back to its scale,
    unless --linear, --rect, --drop or --drop-each says what to do instead. The edits
    themselves stay as they are.
    """
    from editvc.core.history import Restraint

    if off and any(value is not None for value in numbers.values()):
        raise click.UsageError("--off lifts the restraint; it goes with no other option")
    restraint = Restraint() if off else Restraint(**_restraint(numbers))
    repo = open_repo(ctx)
    effect = repo.preview_compact(restraint) if dry_run or not as_json else None
    if dry_run and effect is not None:
        emit_json(effect.to_json()) if as_json else say(effect.summary())
        return
    show_commit(repo.compact(restraint, message=message, author=author_of(repo, author)), as_json)
    if effect is not None:
        for line in effect.lines:
            say(line)
        note("`editvc eval` tells what is still said")


def _restraint(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a restraint from the options of ``compact``: PRUNE's logarithm by default."""
    chosen = {name: value for name, value in options.items() if value is not None}
    for one, other in (("rank", "energy"), ("alpha", "linear")):
        if one in chosen and other in chosen:
            raise click.UsageError(
                f"--{one} and --{other} are two ways to say one thing; give one of them"
            )
    if chosen.keys().isdisjoint(("alpha", "linear", "rect", "drop", "drop_each")):
        chosen["alpha"] = math.e
    return {"prune" if name == "alpha" else name: value for name, value in chosen.items()}

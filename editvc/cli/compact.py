"""``compact``: the weights of the set under a restraint."""

from __future__ import annotations

import math
from typing import Any

import click

from editvc.cli.commit import show_commit
from editvc.cli.options import (
    author_of,
    commit_options,
    examples,
    open_with_base,
)
from editvc.cli.output import emit_json, note, progress, say, say_done, warn
from editvc.core.cut import quoted

KINDS = ("prune", "linear", "rank", "energy", "rect", "drop", "drop-each")
"""What --keep can look for the number of, by default the first."""

LOST_SHOWN = 3
"""How many facts that are said no more are named; `--json` has all."""


@click.command(epilog=examples("editvc compact --keep 0.95", "editvc compact --off"))
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
    "--keep", type=click.FloatRange(0, 1, min_open=True), metavar="S",
    help="Find the strongest restraint that leaves this share of facts said, of those said now.",
)  # fmt: skip
@click.option(
    "--by", type=click.Choice(KINDS), help="What --keep looks for the number of; else prune."
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="What --drop and --drop-each draw from; "
    "else 0.",
)  # fmt: skip
@click.option("--off", is_flag=True, help="Lift the restraint.")
@commit_options
@click.pass_context
def compact(
    ctx: click.Context,
    /,
    off: bool,
    keep: float | None,
    by: str | None,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Restrain the weights made of the set (PRUNE), and commit that.

    Singular values of the delta above the base weight's largest are pulled back to its scale,
    unless --linear, --rect, --drop or --drop-each says what to do instead. The edits
    themselves stay as they are. What it costs is told: the facts that are said no more.
    """
    from editvc.core.history import Restraint

    given = any(value is not None for value in (*numbers.values(), keep, by))
    if off and given:
        raise click.UsageError("--off lifts the restraint; it goes with no other option")
    if by is not None and keep is None:
        raise click.UsageError("--by says what --keep looks for; give both")
    if keep is not None and any(numbers[name] is not None for name in numbers.keys() - {"seed"}):
        raise click.UsageError("--keep finds the number; it goes with --by and --seed alone")
    with progress() as report:
        repo = open_with_base(ctx, report)
        if keep is not None:
            found = repo.strongest_restraint(keep, by or KINDS[0], seed=numbers["seed"])
            restraint = found.restraint
        else:
            restraint = Restraint() if off else Restraint(**_restraint(numbers))
        effect = repo.preview_compact(restraint)
    if dry_run:
        emit_json(effect.to_json()) if as_json else say(effect.summary())
        return
    for fact in effect.said.lost[:LOST_SHOWN]:
        warn(f"said no more: {quoted(fact.question)} -> {quoted(fact.target_new)}")
    if len(effect.said.lost) > LOST_SHOWN:
        warn(f"said no more: {len(effect.said.lost) - LOST_SHOWN} further facts")
    done = repo.compact(restraint, message=message, author=author_of(repo, author))
    if as_json:
        emit_json(done.to_json() | {"said": effect.said.to_json()})
        return
    show_commit(done, as_json)
    for line in effect.lines:
        say_done(line)
    if effect.said.lost and keep is None and not off:
        note("`editvc compact --keep 0.95` finds the strongest that leaves that share said")


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

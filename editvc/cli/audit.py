"""``audit``: what was done to a model of which nobody kept a ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.options import compute_of, compute_options, examples, json_option
from editvc.cli.output import emit_json, painted, progress, say, table
from editvc.core.compute import AUTO, Compute
from editvc.core.cut import quoted

if TYPE_CHECKING:
    from editvc.porcelain.audit import Audit


@click.command(epilog=examples("editvc audit someones-gpt2 --base openai-community/gpt2"))
@click.argument("model", metavar="MODEL")
@click.option("--base", required=True, metavar="BASE", help="The model that MODEL was made of.")
@click.option(
    "--entities", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Names, one a line, or facts in JSONL with their prompts; else a bundled list of names.",
)  # fmt: skip
@click.option(
    "--ask", type=click.IntRange(0), default=50, show_default=True, metavar="N",
    help="Ask both models about the N names whose states moved most; 0 reads weights alone.",
)  # fmt: skip
@click.option(
    "--tokens", type=click.IntRange(1), default=8, show_default=True, metavar="N",
    help="How long an answer is.",
)  # fmt: skip
@compute_options
@json_option
@click.pass_context
def audit(
    ctx: click.Context,
    model: str,
    base: str,
    entities: Path | None,
    ask: int,
    tokens: int,
    as_json: bool,
) -> None:
    """Show what was done to MODEL, where no ledger says it: a folder, a Hub id, or `pocket`.

    Needs no repository. Shows the tensors that differ from the base's, with the effective rank and
    the relative norm of each change, and the names about which the two models answer differently.
    """
    from editvc.porcelain.audit import audit as look_into

    device, dtype = compute_of(ctx)
    with progress() as report:
        found = look_into(
            model, base, entities=entities, ask=ask, tokens=tokens,
            compute=Compute(device or AUTO, dtype or AUTO), progress=report,
        )  # fmt: skip
    emit_json(found.to_json()) if as_json else _show(found)


def _show(found: Audit) -> None:
    say(painted(f"{len(found.changes)} of {found.tensors} tensors are not the base's", bold=True))
    if found.changes:
        table(
            ("tensor", "change", "stored as", "rank", "of", "norm"),
            [
                (
                    one.tensor,
                    one.kind,
                    one.stored or "",
                    "" if one.rank is None else str(one.rank),
                    "" if one.full is None else str(one.full),
                    "" if one.norm is None else f"{one.norm:.3g}",
                )
                for one in found.changes
            ],
            right=(3, 4, 5),
        )
    if not found.names:
        return
    others = dict.fromkeys(one.name for one in found.answers)
    say(
        painted(
            f"{len(others)} of {found.asked} names are answered otherwise, of {found.names} the "
            "ones that moved most",
            bold=True,
        )
    )
    for one in found.answers:
        say(
            painted(one.name, fg="yellow"),
            f" (moved {one.shift:.1%}): {quoted(one.prompt)} ->{quoted(one.after)}, "
            f"the base {quoted(one.before)}",
        )

"""``rebuild``: a published model made again from its base and its edits, and compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.options import examples, json_option
from editvc.cli.output import emit_json, note, painted, progress, say
from editvc.cli.remote import timeout_option
from editvc.core.ids import short
from editvc.errors import GateError

if TYPE_CHECKING:
    from editvc.porcelain.rebuild import Rebuilt


@click.command(epilog=examples("editvc rebuild ada/atlas -o atlas --base ~/models/smollm2"))
@click.argument("model", metavar="MODEL")
@click.option(
    "-o", "--to", "target", type=click.Path(path_type=Path), metavar="DIR",
    help="Keep what was made in DIR; else it is compared, and thrown away.",
)  # fmt: skip
@click.option("--base", metavar="BASE", help="Where the base model is on this machine.")
@click.option("--force", is_flag=True, help="Replace an earlier export in DIR.")
@timeout_option
@json_option
@click.pass_context
def rebuild(
    ctx: click.Context,
    model: str,
    target: Path | None,
    base: str | None,
    force: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Make the weights of a published MODEL again: its folder, its editvc.lock.json, or USER/NAME.

    Needs the base and no repository: the edits are in the editvc.bundle beside the lock file. What
    is not as it was published is named, tensor by tensor, and the command ends with 4.
    """
    from editvc.repo import Repo

    with progress() as report:
        done = Repo.rebuild(
            model, target, base=base, replace=force, timeout=timeout or 60.0, progress=report,
            remark=note,
        )  # fmt: skip
    emit_json(done.to_json()) if as_json else _show(done)
    if not done.same:
        ctx.exit(GateError.exit_code)


def _show(done: Rebuilt) -> None:
    for one in done.findings:
        name = f"tensor {one.name}" if one.kind in ("weights", "dtype", "shape") else one.name
        say(painted(f"{one.kind}: ", fg="red"), f"{name}: {one.problem}")
    say(f"{done.source}: tree {short(done.tree)} with {done.edits} edits on {done.base}")
    if done.path is not None:
        say(f"{done.format} export in {done.path}")
    if done.digest == done.published:
        say(painted(f"digest {short(done.digest)}, as it was published", fg="green"))
        return
    say(painted(f"digest {short(done.digest)}, published {short(done.published)}", fg="red"))
    say(f"computed here by {_words(done.computed)}; there by {_words(done.computed_there)}")
    say(
        "Other versions, instructions or threads round sums otherwise. How far apart weights are "
        "is said where they lie beside the lock file."
    )


def _words(computed: object) -> str:
    """``instructions AVX512, threads 1, torch 2.13.0``."""
    assert isinstance(computed, dict)
    return ", ".join(f"{name} {value}" for name, value in computed.items()) or "what is not told"

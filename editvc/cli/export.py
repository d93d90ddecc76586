"""``export``: a revision as files that other tools load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editvc.cli.completers import revisions
from editvc.cli.fetch import size_of
from editvc.cli.options import (
    compute_options,
    dry_run_option,
    examples,
    json_option,
    open_repo,
    open_with_base,
)
from editvc.cli.output import emit_json, note, progress, say, say_done, table, warn
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.export_preview import ExportPreview

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
FOUR_BITS = ("nf4", "fp4")
"""As in :mod:`editvc.interchange.gguf_file` and :mod:`editvc.interchange.reload_check`, which are
not imported for a ``--help``."""


@click.command(
    epilog=examples("editvc export --to edited", "editvc export v1 --to adapter --format lora")
)
@click.argument("revision", default="HEAD", shell_complete=revisions)
@click.option(
    "--to", "target", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder that does not exist yet, or an earlier export with --force.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["hf", "lora", "delta", "gguf", "gguf-lora"]),
    default="hf", show_default=True,
    help="A whole model, a PEFT adapter, or the two factors a layer alone; the first two also as "
    "llama.cpp takes them.",
)  # fmt: skip
@click.option(
    "--rank",
    type=click.IntRange(1),
    metavar="R",
    help="Adapters only: cut to rank R, error printed.",
)
@click.option(
    "--linear", is_flag=True,
    help="lora only: hold gated edits as a linear method solves them, which reaches other names.",
)  # fmt: skip
@click.option(
    "--keep-width", is_flag=True,
    help="hf and gguf: the least used neurons give way to those of gated edits; the cost is "
    "printed.",
)  # fmt: skip
@click.option(
    "--quantize", type=click.Choice(TYPES), metavar="TYPE",
    help="gguf only: write all matrices as TYPE (" + ", ".join(TYPES) + "), and not as they are.",
)  # fmt: skip
@click.option(
    "--measure-on", type=click.Choice(FOUR_BITS), metavar="TYPE",
    help="lora only: ask the adapter on the base in 4 bits, too (" + ", ".join(FOUR_BITS) + " of "
    "bitsandbytes), and say what it holds there.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an earlier export in DIR.")
@dry_run_option
@compute_options
@json_option
@click.pass_context
def export(
    ctx: click.Context,
    revision: str,
    target: Path,
    kind: str,
    rank: int | None,
    linear: bool,
    keep_width: bool,
    quantize: str | None,
    measure_on: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the weights of REVISION to DIR, and check that they load and answer.

    Only the touched tensors are written anew; everything else is copied byte for byte. --dry-run
    lists the files with their sizes, and what `editvc health` says of the weights.
    """
    if rank is not None and kind not in ("lora", "gguf-lora"):
        raise click.UsageError("--rank goes with --format lora")
    if linear and kind != "lora":
        raise click.UsageError("--linear goes with --format lora")
    if keep_width and kind not in ("hf", "gguf"):
        raise click.UsageError("--keep-width goes with --format hf")
    if quantize is not None and kind != "gguf":
        raise click.UsageError("--quantize goes with --format gguf")
    if measure_on is not None and kind != "lora":
        raise click.UsageError("--measure-on goes with --format lora")
    with progress() as report:
        # The factors of a commit are remembered, and need no base.
        repo = (open_repo if kind == "delta" else open_with_base)(ctx, report)
        options: dict[str, Any] = {
            "format": kind, "revision": revision, "rank": rank, "replace": force, "linear": linear,
            "keep_width": keep_width, "quantize": quantize, "measure_on": measure_on,
        }  # fmt: skip
        if dry_run:
            show_preview(repo.preview_export(target, **options), as_json)
            return
        done = repo.export(target, **options)
    for warning in done.warnings:
        warn(warning)
    if as_json:
        emit_json(done.to_json())
        return
    for remark in done.notes:
        note(remark)
    say_done(f"{done.kind} export in {done.path}")
    if done.base_digest is not None:
        say_done(f"weights before {short(done.base_digest)}, after {short(done.digest)}")
    else:
        say_done(f"digest {short(done.digest)}")
    for line in done.checks:
        say_done(line)
    for command in done.commands:
        say_done(f"$ {command}")


def show_preview(plan: ExportPreview, as_json: bool) -> None:
    """What would be written, and how healthy it is."""
    if as_json:
        emit_json(plan.to_json())
        return
    for remark in plan.remarks:
        note(remark)
    rows = [
        [name, "" if size is None else size_of(size)] for name, size in sorted(plan.files.items())
    ]
    table(["file", "size"], rows, right=[1])
    say(f"{plan.kind} of {size_of(plan.size)} would go to {plan.place}")
    say(f"health: {plan.verdict}")
    for reason in plan.reasons:
        say(f"  {reason}")

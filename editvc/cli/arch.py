"""``arch``: what editvc would edit in a model, and the block of a family it does not know."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.options import examples, json_option
from editvc.cli.output import emit_json, note, say

if TYPE_CHECKING:
    from editvc.porcelain.arch import ArchitectureReport


@click.command(epilog=examples("editvc arch pocket"))
@click.argument("model")
@click.option("--revision", metavar="REV", help="A revision of a Hub model.")
@click.option("--yes", is_flag=True, help="Confirm the block of an unknown family without asking.")
@json_option
def arch(model: str, revision: str | None, yes: bool, as_json: bool) -> None:
    """Show what editvc would edit in MODEL: a folder, a Hub id, or `pocket`.

    Reads the config alone. For a family that is not in the table the block is found from the
    model's structure; once you have confirmed it, it is written to a file here, for
    `editvc init MODEL --architecture FILE`.
    """
    from editvc.porcelain.arch import look_at

    report = look_at(model, revision=revision)
    emit_json(report.to_json()) if as_json else _show(report)
    for remark in report.remarks:
        note(remark)
    if report.known:
        return
    if yes or (not as_json and sys.stdin.isatty() and _confirmed(report)):
        path = report.write(Path())
        note(f"Wrote {path}; use it: editvc init {model} --architecture {path}")
    else:
        note(f"Not confirmed: --yes writes the block to {report.file_name}.")


def _confirmed(report: ArchitectureReport) -> bool:
    return click.confirm(f"Is this block right? Yes writes {report.file_name}", err=True)


def _show(report: ArchitectureReport) -> None:
    block = report.architecture
    kind = "Conv1D, stored inner x hidden" if block.transposed else "Linear, stored hidden x inner"
    if block.normed:
        arriving = "through a norm: one layer can be edited"
    else:
        arriving = f"times the config's {block.factor}" if block.factor else "as it is"
    place = "in the table" if report.known else "not in the table"
    inner = str(report.inner_size) + (f", the config's {block.width}" if block.width else "")
    rows = {
        "model type": f"{block.model_type} ({place})",
        "blocks": f"{block.layers}, {report.depth} of them",
        "down projection": f"{block.down_proj} ({kind})",
        "what enters it": block.key_formula or "not known",
        "its output arrives": arriving,
        "attention's output": block.attention or "not known",
        "final norm": block.final_norm or "none",
        "hidden size": str(report.hidden_size),
        "inner size": inner,
        "default layers": ", ".join(map(str, report.default_layers)),
        "head": "tied to the embedding" if report.tied else "of its own",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        say(f"{name.ljust(width)}  {value}")
    if not report.known:
        say(f"\nFound from the structure; please check:\n\n{block.toml()}")

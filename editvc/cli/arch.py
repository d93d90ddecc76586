"""``arch``: what editvc would edit in a model, and the block of a family it does not know."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.options import json_option
from editvc.cli.output import emit_json, note, say

if TYPE_CHECKING:
    from editvc.porcelain.arch import Look


@click.command()
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

    look = look_at(model, revision=revision)
    emit_json(look.to_json()) if as_json else _show(look)
    for remark in look.remarks:
        note(remark)
    if look.known:
        return
    if yes or (not as_json and sys.stdin.isatty() and _confirmed(look)):
        path = look.write(Path())
        note(f"Wrote {path}; use it: editvc init {model} --architecture {path}")
    else:
        note(f"Not confirmed: --yes writes the block to {look.file_name}.")


def _confirmed(look: Look) -> bool:
    return click.confirm(f"Is this block right? Yes writes {look.file_name}", err=True)


def _show(look: Look) -> None:
    used = look.architecture
    kind = "Conv1D, stored inner x hidden" if used.transposed else "Linear, stored hidden x inner"
    if used.normed:
        arriving = "through a norm: one layer can be edited"
    else:
        arriving = f"times the config's {used.factor}" if used.factor else "as it is"
    rows = {
        "model type": f"{used.model_type} ({'in the table' if look.known else 'not in the table'})",
        "blocks": f"{used.layers}, {look.depth} of them",
        "down projection": f"{used.down_proj} ({kind})",
        "its output arrives": arriving,
        "attention's output": used.attention or "not known",
        "final norm": used.final_norm or "none",
        "hidden size": str(look.hidden_size),
        "inner size": str(look.inner_size),
        "default layers": ", ".join(map(str, look.default_layers)),
        "head": "tied to the embedding" if look.tied else "of its own",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        say(f"{name.ljust(width)}  {value}")
    if not look.known:
        say(f"\nFound from the structure; please check:\n\n{used.toml()}")

"""The table of methods: ``methods``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.completers import methods as method_names
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, note, say, table

if TYPE_CHECKING:
    from editvc.core.methods.method import Method


def _presets(row: Method) -> dict[str, str]:
    """Whose numbers each preset of a method has."""
    return {name: preset.source for name, preset in row.presets.items()}


def _as_published(row: Method) -> str:
    """How to have a method as its paper prints it: as it is, by a preset, or not at all."""
    if row.published:
        return "yes"
    return f"preset {', '.join(row.presets)}" if row.presets else "no"


@click.command(epilog=examples("editvc methods memit > recipe.yaml"))
@click.argument("name", required=False, shell_complete=method_names)
@json_option
@click.pass_context
def methods(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """List the methods of editing, or show what a commit with method NAME would use here.

    What is shown of one is a recipe in YAML: change it and give it to `commit --recipe`.
    """
    from editvc.core.methods.table import METHODS, method_of

    if name is None:
        rows = list(METHODS.values())
        if as_json:
            emit_json([{"name": row.name, "element": row.element, "target": row.target,
                        "spread": row.spread, "solver": row.solver, "summary": row.summary,
                        "paper": row.paper, "published": row.published, "differs": row.differs,
                        "forms": list(row.forms), "presets": _presets(row)}
                       for row in rows])  # fmt: skip
        else:
            table(["method", "makes", "as published", "what it is"],
                  [[row.name, row.element, _as_published(row), row.summary]
                   for row in rows])  # fmt: skip
        return
    from editvc.session.choose_recipe import to_yaml

    row = method_of(name)
    recipe = open_repo(ctx).choose(name).recipe
    if as_json:
        emit_json(recipe.to_json() | {"summary": row.summary, "paper": row.paper})
        return
    note(f"{row.summary}; {row.paper}")
    if row.published or row.differs:
        note(f"as published: {row.published}" if row.published else f"editvc's own: {row.differs}")
    for preset, source in _presets(row).items():
        note(f"-O preset={preset}: {source}")
    say(to_yaml(recipe).rstrip())

"""The table of methods: ``methods``."""

from __future__ import annotations

import click

from editvc.cli.options import json_option, open_repo
from editvc.cli.output import emit_json, note, say, table


@click.command()
@click.argument("name", required=False)
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
                        "paper": row.paper} for row in rows])  # fmt: skip
        else:
            table(["method", "makes", "what it is"],
                  [[row.name, row.element, row.summary] for row in rows])  # fmt: skip
        return
    from editvc.porcelain.choose_recipe import to_yaml

    row = method_of(name)
    recipe = open_repo(ctx).choose(name).recipe
    if as_json:
        emit_json(recipe.to_json() | {"summary": row.summary, "paper": row.paper})
        return
    note(f"{row.summary}; {row.paper}")
    say(to_yaml(recipe).rstrip())

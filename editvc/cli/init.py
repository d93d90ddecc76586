"""``init``: a repository over a base."""

from __future__ import annotations

import os
from pathlib import Path

import click

from editvc.cli.completers import methods
from editvc.cli.options import compute_of, compute_options, examples, json_option, layer_numbers
from editvc.cli.output import emit_json, note, progress, say_done
from editvc.core.ids import short
from editvc.core.trust import Trust

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    epilog=examples("editvc init pocket", "editvc init HuggingFaceTB/SmolLM2-135M-Instruct --later")
)
@click.argument("model")
@click.option("--revision", metavar="REV", help="A revision of a Hub model.")
@click.option(
    "--layers",
    metavar="L,L,...",
    help="Layers that methods edit which solve the set; chosen by the model's depth otherwise.",
)
@click.option(
    "--text", "texts", type=FILE, multiple=True, help="Text to take statistics from; repeatable."
)
@click.option("--entities", type=FILE, help="Names, or facts, whose knowledge must survive.")
@click.option(
    "--architecture", type=FILE,
    help="The confirmed block of a family that is not in the table, from `editvc arch`.",
)  # fmt: skip
@click.option(
    "--method",
    metavar="NAME",
    shell_complete=methods,
    help="The method of commits; `editvc methods` lists them.",
)
@click.option(
    "--later", is_flag=True, help="Take statistics at the first commit that needs them, not now."
)
@click.option(
    "--statistics", metavar="PLACE",
    help="Take the statistics from a share (`editvc stats push`), a folder or an address.",
)  # fmt: skip
@compute_options
@json_option
@click.pass_context
def init(
    ctx: click.Context,
    model: str,
    revision: str | None,
    layers: str | None,
    texts: tuple[Path, ...],
    entities: Path | None,
    architecture: Path | None,
    method: str | None,
    later: bool,
    statistics: str | None,
    as_json: bool,
) -> None:
    """Make a repository over MODEL: a folder, a Hub id, or `pocket`, the embedded model.

    Without --method, commits of a model of six blocks or more make gates, those of a shallower one
    least-squares edits; `editvc config commit.method` changes it. Statistics are taken for that
    method; others take theirs at their first commit.
    """
    from editvc.repo import Repo

    chosen = layer_numbers(layers) if layers is not None else None
    device, dtype = compute_of(ctx)
    with progress() as report:
        repo = Repo.init(
            ctx.find_root().obj, model, revision=revision, layers=chosen, texts=texts,
            entities=entities, architecture=architecture, method=method, later=later,
            statistics=statistics, device=device, dtype=dtype, progress=report, remark=note,
            trust=Trust.from_environment(os.environ),
        )  # fmt: skip
    now, recipe = repo.status(), repo.choose().recipe
    method, edited = recipe.method, list(recipe.layers)
    if as_json:
        emit_json(now.to_json() | {"path": str(repo.folder), "method": method, "layers": edited})
        return
    say_done(f"Initialized empty editvc repository in {repo.folder}")
    say_done(f"Base {now.source} ({short(now.base)}), editing layers {edited} with {method}")

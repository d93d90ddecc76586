"""Starting and tuning a repository: ``init``, ``stats``, ``config``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from editvc.cli.options import json_option, layer_numbers, open_repo
from editvc.cli.output import emit_json, note, progress, say, table
from editvc.core.ids import short

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("model")
@click.option("--revision", metavar="REV", help="A revision of a Hub model.")
@click.option(
    "--layers", metavar="L,L,...", help="Layers to edit; chosen by the model's depth otherwise."
)
@click.option(
    "--text", "texts", type=FILE, multiple=True, help="Text to take statistics from; repeatable."
)
@click.option("--entities", type=FILE, help="Names, or facts, whose knowledge must survive.")
@click.option(
    "--architecture", type=FILE,
    help="The confirmed block of a family that is not in the table, from `editvc arch`.",
)  # fmt: skip
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
    as_json: bool,
) -> None:
    """Make a repository over MODEL: a folder, a Hub id, or `pocket`, the embedded model."""
    from editvc.repo import Repo

    chosen = layer_numbers(layers) if layers is not None else None
    with progress() as report:
        repo = Repo.init(
            ctx.find_root().obj, model, revision=revision, layers=chosen, texts=texts,
            entities=entities, architecture=architecture, progress=report, remark=note,
        )  # fmt: skip
    now, recipe = repo.status(), repo.recipe()
    if as_json:
        emit_json(now.to_json() | {"path": str(repo.repository.folder)})
        return
    say(f"Initialized empty editvc repository in {repo.repository.folder}")
    say(f"Base {now.source} ({short(now.base)}), editing layers {list(recipe.layers)}")


@click.group()
def stats() -> None:
    """Second moments of the base's keys: what guards all that is not edited."""


@stats.command("compute")
@click.option("--text", "texts", type=FILE, multiple=True, help="Text or JSONL; repeatable.")
@click.option("--dataset", metavar="NAME", help="A data set of the `datasets` library.")
@click.option("--entities", type=FILE, help="Names (one a line) or facts whose keys to guard.")
@click.option(
    "--budget", type=click.IntRange(1), metavar="TOKENS", help="Default: 10 x the MLP's inner size."
)
@click.option(
    "--token-cap", type=click.IntRange(2), default=512, show_default=True,
    help="Longest sequence; longer texts are cut into several.",
)  # fmt: skip
@json_option
@click.pass_context
def compute(
    ctx: click.Context,
    texts: tuple[Path, ...],
    dataset: str | None,
    entities: Path | None,
    budget: int | None,
    token_cap: int,
    as_json: bool,
) -> None:
    """Take statistics anew and use them for facts committed from now on.

    An interrupted run goes on where it was when the same command is given again.
    """
    with progress() as report:
        repo = open_repo(ctx, report)
        result = repo.compute_statistics(
            texts=texts, dataset=dataset, entities=entities, budget=budget, token_cap=token_cap
        )
    for remark in result.remarks:
        note(remark)
    emit_json(result.to_json()) if as_json else say(result.summary())


@stats.command("show")
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Show which statistics the recipe uses and what they were taken from."""
    described = open_repo(ctx).statistics()
    if as_json:
        emit_json([one.to_json() for one in described])
        return
    rows = [[one.role, short(one.id), one.source, f"{one.samples}", one.unit] for one in described]
    table(["role", "id", "taken from", "samples", "unit"], rows, right=[3])


@click.command()
@click.argument("key", required=False)
@click.argument("value", required=False)
@json_option
@click.pass_context
def config(ctx: click.Context, key: str | None, value: str | None, as_json: bool) -> None:
    """Show all settings, show KEY, or set KEY to VALUE.

    Keys are dotted, such as recipe.mom2_update_weight; comments in config.toml stay. Another
    recipe.method comes with its own numbers; those that this takes out or changes are named.
    """
    repo = open_repo(ctx)
    if key is not None and value is not None:
        from editvc.porcelain.configure import configure

        for remark in configure(repo, key, value):
            note(remark)
        return
    file = repo.repository.config_file
    settings = file.as_dict() if key is None else {key: file.get(key)}
    if as_json:
        emit_json(settings)
    elif key is not None:
        say(_plain(settings[key]))
    else:
        for name, setting in settings.items():
            say(f"{name} = {_plain(setting)}")


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)

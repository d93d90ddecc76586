"""``tune``: which recipe edits best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.options import (
    compute_options,
    confirm_option,
    examples,
    facts_in,
    files_argument,
    json_option,
    open_with_base,
    target_option,
)
from editvc.cli.output import emit_json, note, progress, say, table

if TYPE_CHECKING:
    from editvc.porcelain.tune import Tuning
    from editvc.porcelain.tune_layers import LayerTable

PATH = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(epilog=examples("editvc tune facts.jsonl --quick --write"))
@files_argument
@click.option(
    "--layers",
    "layers_alone",
    is_flag=True,
    help="Show how well each layer knows the facts' subjects, and try nothing.",
)
@click.option("--quick", is_flag=True, help="10 facts and a small grid, not 50 and a large one.")
@click.option(
    "--text", "texts", type=PATH, multiple=True,
    help="Text to take statistics from, for layers without any; repeatable.",
)  # fmt: skip
@click.option("--entities", type=PATH, help="Names, or facts, whose knowledge must survive.")
@click.option("--seed", type=int, default=0, show_default=True, help="What facts are drawn by.")
@click.option("--write", is_flag=True, help="Put the best setting into config.toml.")
@target_option
@confirm_option
@compute_options
@json_option
@click.pass_context
def tune(
    ctx: click.Context,
    files: tuple[str, ...],
    layers_alone: bool,
    quick: bool,
    texts: tuple[Path, ...],
    entities: Path | None,
    seed: int,
    write: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    as_json: bool,
) -> None:
    """Try layers, lambda and clamp for the repository's base on some facts of FILE...

    Each setting edits the facts together and is scored on their paraphrases and locality prompts.
    A causal trace proposes the layers. Nothing is committed. --layers searches
    for nothing: passes over the base alone tell which layers part a subject from other names.
    """
    if layers_alone and (quick or write):
        raise click.UsageError("--layers tries no settings: give it without --quick and --write")
    facts = facts_in(files, target, confirm_subjects)
    with progress() as report:
        repo = open_with_base(ctx, report)
        if layers_alone:
            found = repo.score_layers(facts, seed=seed, texts=texts, entities=entities)
            emit_json(found.to_json()) if as_json else _show_layers(found)
            return
        tuning = repo.tune(
            facts, quick=quick, seed=seed, texts=texts, entities=entities, write=write
        )
    for remark in tuning.remarks:
        note(remark)
    emit_json(tuning.to_json()) if as_json else _show_tuning(tuning, write)


def _show_layers(found: LayerTable) -> None:
    rows = []
    for one in found.scores:
        marks = {
            "best window": one.layer in found.window,
            "[recipe]": one.layer in found.recipe_layers,
            "best for gates": one.layer == found.gate_layer,
            "gates": one.layer in found.gates_at,
        }
        figures = [one.keys.elsewhere, one.keys.near, one.keys.selectivity]
        gates = ["", ""] if one.gates is None else [
            f"{one.gates.parted:.0f}", f"{one.gates.margin:.2f}"
        ]  # fmt: skip
        rows.append(
            [str(one.layer), *(f"{figure:.2f}" for figure in figures), *gates,
             ", ".join(mark for mark, is_so in marks.items() if is_so)]
        )  # fmt: skip
    header = ["layer", "elsewhere", "near", "selectivity", "parted %", "margin", ""]
    table(header, rows, right=range(6))
    say(f"{found.facts} facts; {found.in_use}")
    say(
        f'least squares: editvc config recipe.layers "{[*found.window]}", then editvc stats compute'
    )
    if found.gate_layer is not None:
        say(f'gates: editvc config gated.layers "[{found.gate_layer}]"')


def _show_tuning(tuning: Tuning, write: bool) -> None:
    where = "" if tuning.peak is None else f", MLPs matter most in layer {tuning.peak}"
    say(f"{tuning.facts} facts, {len(tuning.tried)} settings{where}")
    rows = []
    for place, one in enumerate(tuning.tried):
        setting, scores = one.setting, one.scores
        marks = ["best"] * (place == 0) + ["current"] * (setting == tuning.current)
        rows.append(
            [
                ",".join(map(str, setting.layers)),
                f"{setting.mom2_update_weight:g}",
                f"{setting.clamp_norm_factor:g}",
                *(
                    "" if value is None else f"{value:.1f}"
                    for value in (scores.es, scores.ps, scores.ns, scores.s)
                ),
                ", ".join(marks),
            ]
        )
    table(["layers", "lambda", "clamp", "ES", "PS", "NS", "S", ""], rows, right=range(1, 7))
    if not write:
        say("nothing was written; --write puts the best into config.toml")
    elif tuning.in_recipe:
        say("config.toml: " + ", ".join(sorted(tuning.in_recipe)))
    else:
        say("config.toml has the best setting already")

"""Blind sequences: what is kept of a run for the claims about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from editvc.algebra.delta import Delta
from editvc.algebra.patch import Patch
from editvc.core.methods.locate import LocatedRecipe
from editvc.evaluation.probes import perplexity
from editvc.evaluation.scores import locality_answers, score
from editvc.materialise.make_elements import make_in_sequence
from editvc.models.weights import edited
from experiments.bench import TEXT, Bench
from experiments.rows import Row, Setting
from experiments.single import BLOCKS

CHECKS = 15
"""Checkpoints of a run, at most."""
WINDOW, SHORT = 50, 5
"""Edits that a window holds, as Gupta et al. have them."""
SCORED = ("es", "ps", "ns", "eff", "par", "spe")
ITEMS = 25
"""Blocks of text, at each checkpoint."""
COMPARED = 20


def sequence(bench: Bench, setting: Setting) -> Row:
    """One sequence: series by edits and by checkpoints."""
    if setting["method"] == "mend":
        bench.train()
    facts = bench.facts(setting["edits"], setting["seed"])
    every = max(setting["batch"], len(facts) // CHECKS)
    result = bench.repo.run_sequence(
        facts,
        recipe=bench.recipe(setting["method"], setting["options"]),
        batch=setting["batch"],
        fusion=setting["rule"],
        checkpoints=every,
        tasks=[TEXT],
        items=ITEMS,
        compared=COMPARED,
    )
    record, trajectory = result.record, result.trajectory
    return {
        "ends": record["ends"],
        "broken": result.broken,
        "windows": {
            column: {str(size): trajectory.window(column, size) for size in (SHORT, WINDOW)}
            for column in ("es", "ps", "ns")
        },
        "at_once": {
            column: _share(record["at_once"][column], record["prompts"][column])
            for column in SCORED
        },
        "log_probability": record["at_once"]["log_probability"],
        "l1": {
            weight: [one[weight]["l1_norm"] for one in record["sizes"] if weight in one]
            for weight in record["base"]["norms"]
        },
        "checkpoints": [_checkpoint(one, trajectory) for one in record["checkpoints"]],
        "blocks": trajectory.blocks("eff", max(10, len(facts) // 10)),
        "base_norms": record["base"]["norms"],
        "base_perplexity": _perplexity(record["base"]["tasks"]),
        "cosines": record["cosines"],
    }


def _checkpoint(one: Mapping[str, Any], trajectory: Any) -> Row:
    edits = one["edits"]
    return {
        "edits": edits,
        "overall": {column: trajectory.overall(column)[edits] for column in SCORED},
        "forgotten": {column: trajectory.forgotten(column)[edits] for column in ("es", "eff")},
        "perplexity": _perplexity(one["tasks"]),
        "norms": one["norms"],
    }


def _perplexity(tasks: Mapping[str, Any]) -> float:
    return next(each["value"] for name, each in tasks.items() if name.startswith("perplexity"))


def _share(right: Sequence[float], asked: Sequence[int]) -> float | None:
    return 100 * sum(right) / sum(asked) if sum(asked) else None


def of_sums(bench: Bench, setting: Setting) -> Row:
    """All edits so far as one batch: what a sequence with D4S's sums comes to at its end."""
    recipe = bench.recipe(setting["method"], setting["options"])
    assert isinstance(recipe, LocatedRecipe)
    facts, materialiser = bench.facts(setting["edits"]), bench.repo.session.materialiser
    first = locality_answers(bench.lm, facts)
    made = make_in_sequence(materialiser, bench.lm, [f.request for f in facts], recipe, None)
    delta = Delta.sum([one.delta for one in made if isinstance(one, Patch)])
    before = perplexity(bench.lm, bench.collection.text, blocks=BLOCKS)
    with edited(bench.lm, delta):
        scores = score(bench.lm, facts, first).to_json()
        after = perplexity(bench.lm, bench.collection.text, blocks=BLOCKS)
    return {**scores, "perplexity": after, "base_perplexity": before, "change": delta.norm()}

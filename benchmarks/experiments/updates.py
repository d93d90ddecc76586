"""What single updates look like beside each other, and what changing one of them costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import torch
from torch import Tensor

from editvc.algebra.accumulator import Accumulator
from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.restraints import dropped
from editvc.algebra.solvers import solver_of
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.evaluation.bootstrap import harmonic, intervals
from editvc.evaluation.essays import essays, of_each, references
from editvc.evaluation.probes import perplexity
from editvc.evaluation.score_columns import MEASURED, Scores
from editvc.evaluation.scores import locality_answers, outcomes, score
from editvc.materialise.make_elements import make, make_in_sequence
from editvc.materialise.solutions import stack
from editvc.models.weights import edited
from experiments.bench import Bench
from experiments.rows import Row, Setting
from experiments.single import updates

KEPT = (0.1, 1.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Per cent of the entries of an update that are kept, the largest ones."""
CHANGES = ("none", "top:20", "drop:0.8")
WRITTEN = ("fluency", "consistency")
BLOCKS = 20
SPACED = 10
"""Sizes at which the sums of edits are compared: every so many."""


def largest(matrix: Tensor, percent: float) -> Tensor:
    """A matrix with the ``percent`` of its entries that are largest in size, 0 elsewhere."""
    count = max(1, round(matrix.numel() * percent / 100))
    least = matrix.abs().flatten().kthvalue(matrix.numel() - count + 1).values
    return torch.where(matrix.abs() >= least, matrix, 0.0)


def changed(matrix: Tensor, change: str, layer: int, step: int) -> Tensor:
    """An update as it is (``none``), cut (``top:20``), or dropped and rescaled (``drop:0.8``)."""
    name, _, number = change.partition(":")
    if name == "top":
        return largest(matrix, float(number))
    if name == "drop":
        return dropped(matrix, float(number), 0, layer, f"step {step}")
    return matrix


def similarity(bench: Bench, setting: Setting) -> Row:
    """Cosines between updates of MEMIT, each made on the base, in the last edited layer.

    By what is done to each of them: nothing, all but the largest fifth cut, dropped and rescaled.
    """
    recipe = bench.recipe("memit", ["preset=paper"])
    assert isinstance(recipe, LocatedRecipe)
    layer = recipe.layers[-1]
    patches = updates(bench, bench.facts(setting["edits"]), recipe)
    found = {}
    for change in CHANGES:
        flat = torch.stack(
            [
                changed(patch.delta.layers[layer].dense(), change, layer, step).flatten()
                for step, patch in enumerate(patches)
            ]
        )
        unit = torch.nn.functional.normalize(flat, dim=1)
        found[change] = (unit @ unit.T).tolist()
    return {"layer": layer, "cosines": found}


def retained(bench: Bench, setting: Setting) -> Row:
    """Scores of a batch of edits by MEMIT whose update keeps the largest part of its entries."""
    recipe = bench.recipe("memit", ["preset=paper"])
    facts = bench.facts(setting["edits"])
    delta = _batch(bench, facts, recipe)
    first = locality_answers(bench.lm, facts)
    rows = []
    for percent in KEPT:
        cut = {
            layer: Factored.of_dense(largest(part.dense(), percent))
            for layer, part in delta.layers.items()
        }
        with edited(bench.lm, Delta(cut)):
            rows.append({"percent": percent, **score(bench.lm, facts, first).to_json()})
    return {"kept": rows}


def forms(bench: Bench, setting: Setting) -> Row:
    """Scores with 95% intervals, text and perplexity of a batch of edits by one form of a method.

    Fluency and consistency are means over what is written of each fact, and those of the base.
    """
    recipe = bench.recipe(setting["method"], setting["options"])
    facts, lm, text = bench.facts(setting["edits"]), bench.lm, bench.collection.text
    first, about = locality_answers(lm, facts), references(lm, facts)
    before, plain = perplexity(lm, text, blocks=BLOCKS), essays(lm, facts)
    with edited(lm, _batch(bench, facts, recipe)):
        rows = outcomes(lm, facts, first)
        after, written = perplexity(lm, text, blocks=BLOCKS), essays(lm, facts)
    bounds = intervals(rows, MEASURED, {"s": harmonic("es", "ps", "ns")})
    return {
        **Scores.of(rows).to_json(),
        "intervals": bounds,
        **{name: mean(of_each(lm, facts, written, about)[name]) for name in WRITTEN},
        **{f"base_{name}": mean(of_each(lm, facts, plain, about)[name]) for name in WRITTEN},
        "perplexity": after,
        "base_perplexity": before,
    }


def sums(bench: Bench, setting: Setting) -> Row:
    """Of n located edits: D4S's solution from the sums, and the sum of each edit's own solution.

    The same keys and residuals go into both, as in equations 12 and 13 of the paper.
    """
    recipe = bench.recipe("d4s", ["preset=paper"])
    assert isinstance(recipe, LocatedRecipe)
    materialiser = bench.repo.session.materialiser
    preconditioners, solver = materialiser.preconditioners.of(recipe), solver_of(recipe)
    requests = [fact.request for fact in bench.facts(setting["edits"])]
    made = make(materialiser, bench.lm, requests, recipe, None)
    edits = [one for one in made if isinstance(one, Located)]
    layer = recipe.layers[-1]
    preconditioner, base = preconditioners[layer], materialiser.base
    each = [solver.terms(stack([one], layer, base), preconditioner)[0].dense() for one in edits]
    largest_entry = max(
        float(tensor.abs().max())
        for one in edits
        for tensor in (one.keys[layer], one.residuals[layer])
    )
    accumulator = Accumulator.empty(base.hidden_size, base.inner_size, largest_entry * 2)
    alone, rows = torch.zeros_like(each[0]), []
    for number in range(len(edits)):
        alone = alone + each[number]
        accumulator = accumulator.plus([str(number)], stack([edits[number]], layer, base))
        if (number + 1) % SPACED == 0:
            together = solver.system(
                stack(edits[: number + 1], layer, base), preconditioner
            ).solution
            rows.append(
                {
                    "edits": number + 1, "alone": float(alone.norm()),
                    "alone_l1": float(alone.abs().sum()), "together": together.frobenius(),
                    "together_l1": float(together.dense().abs().sum()),
                    "bytes": _bytes({"rk": accumulator.rk, "kk": accumulator.kk}),
                    "bytes_of_edits": (number + 1) * 4 * (base.hidden_size + base.inner_size),
                }
            )  # fmt: skip
    return {"sums": rows}


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors.values())


def _batch(bench: Bench, facts: Sequence[Fact], recipe: Recipe) -> Delta:
    """One batch on the base, layer after layer."""
    materialiser = bench.repo.session.materialiser
    made = make_in_sequence(materialiser, bench.lm, [f.request for f in facts], recipe, None)
    return Delta.sum([patch.delta for patch in made if isinstance(patch, Patch)])

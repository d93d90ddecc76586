"""Edits made alone on the fresh model: how far each goes, and what goes with it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from editvc.algebra.delta import Delta
from editvc.algebra.diagnostics import leverage
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.preconditioners import Preconditioner
from editvc.algebra.solvers import solver_of
from editvc.core.fact_files.multi_question import FORMS, multi_question
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.locate import locate_together
from editvc.evaluation.answer_match import match
from editvc.evaluation.objectives import objectives
from editvc.evaluation.probes import forced, perplexity
from editvc.materialise.make_elements import make
from editvc.materialise.solutions import stack
from editvc.models.generation import generate_all
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited
from experiments.bench import Bench
from experiments.rows import Row, Setting

BLOCKS = 10
"""Of 128 tokens each, for the perplexity beside every single edit."""
QUESTIONS = Path(__file__).resolve().parent.parent / "questions.toml"
ANSWER_TOKENS = 16


def updates(bench: Bench, facts: Sequence[Fact], recipe: LocatedRecipe) -> list[Patch]:
    """What each fact alone changes on the base, as the method's algorithm for a batch of one."""
    materialiser = bench.repo.session.materialiser
    preconditioners, solver = materialiser.preconditioners.of(recipe), solver_of(recipe)
    requests = [fact.request for fact in facts]
    found = []
    for request, one in zip(
        requests, make(materialiser, bench.lm, requests, recipe, None), strict=True
    ):
        assert isinstance(one, Located)
        (alone,) = locate_together(bench.lm, [request], [one], recipe, preconditioners)
        layers = {
            layer: solver.terms(stack([alone], layer, materialiser.base), preconditioners[layer])[0]
            for layer in recipe.layers
        }
        found.append(Patch(Delta(layers), _figures(alone, recipe, preconditioners)))
    return found


def _figures(
    edit: Located, recipe: LocatedRecipe, preconditioners: Mapping[int, Preconditioner]
) -> dict[str, float]:
    """Of the last layer: the key's leverage, and what the residual was divided by.

    ``denominator`` is ``k_0^T C^-1 k`` where keys are ROME's published ones, else the leverage.
    """
    layer = recipe.layers[-1]
    preconditioner = preconditioners[layer]
    white = preconditioner.apply_left(edit.keys[layer].double()[:, None])
    own = float(leverage(white))
    asked, stored = edit.figures["residual"], float(edit.residuals[layer].norm())
    across = own * asked / stored if recipe.row.single and stored else own
    return dict(edit.figures) | {
        "leverage": own,
        "denominator": across,
        "direction": float(preconditioner.apply_right(white.T).norm()),
    }


def single_edits(bench: Bench, setting: Setting) -> Row:
    """One list a figure, over the facts: the change of the weights, and what it did."""
    recipe = bench.recipe(setting["method"], setting["options"])
    assert isinstance(recipe, LocatedRecipe)
    facts = bench.facts(setting["edits"])
    patches = updates(bench, facts, recipe)
    lm, text = bench.lm, bench.collection.text
    rows = tokenize(lm.tokenizer, [fact.request for fact in facts], (PLACEHOLDER,))
    base = {
        "base_perplexity": perplexity(lm, text, blocks=BLOCKS),
        "neurons": lm.inner_size,
        "objective": [one.perplexity for one in objectives(lm, [row for (row,) in rows])],
    }
    found: dict[str, list[float]] = {}
    for fact, patch in zip(facts, patches, strict=True):
        with edited(lm, patch.delta):
            (said,) = forced(lm, [(fact.question, fact.target_new)])
            figures = {
                "change": patch.delta.norm(),
                "per_neuron": mean(
                    each.frobenius() / lm.inner_size for each in patch.delta.layers.values()
                ),
                "said": float(said.all_argmax),
                "perplexity": perplexity(lm, text, blocks=BLOCKS),
            }
        names = ("leverage", "denominator", "direction", "residual")
        for name, value in (figures | {name: patch.figures[name] for name in names}).items():
            found.setdefault(name, []).append(value)
    return base | found


def objective_kinds(bench: Bench, setting: Setting) -> Row:
    """By kind of question: perplexity of the target on the unedited model, and token counts."""
    facts = with_relations(bench, setting["edits"])
    lm, found = bench.lm, {}
    for kind in FORMS:
        asked = multi_question(facts, kind)
        rows = [
            row for (row,) in tokenize(lm.tokenizer, [f.request for f in asked], (PLACEHOLDER,))
        ]
        each = objectives(lm, rows)
        found[kind] = {
            "perplexities": [one.perplexity for one in each],
            "target_tokens": mean(one.tokens for one in each),
            "input_tokens": mean(row.target for row in rows),
        }
    return found


def kinds(bench: Bench, setting: Setting) -> Row:
    """Questions of one kind, each edited alone with ROME as published."""
    recipe = bench.recipe("rome", ["preset=paper"])
    assert isinstance(recipe, LocatedRecipe)
    facts = multi_question(with_relations(bench, setting["edits"]), setting["kind"])
    lm, text = bench.lm, bench.collection.text
    (layer,) = recipe.layers
    weight = lm.down_proj(layer).weight.detach().double()
    weight = (weight.T if lm.architecture.transposed else weight).cpu()
    rows = tokenize(lm.tokenizer, [fact.request for fact in facts], (PLACEHOLDER,))
    before = float(weight.abs().sum())
    found: dict[str, list[float]] = {"objective": [], "l1_growth": [], "damage": [], "said": []}
    found["objective"] = [one.perplexity for one in objectives(lm, [row for (row,) in rows])]
    untouched = perplexity(lm, text, blocks=BLOCKS)
    for fact, patch in zip(facts, updates(bench, facts, recipe), strict=True):
        grown = float((weight + patch.delta.layers[layer].dense()).abs().sum())
        found["l1_growth"].append(grown / before - 1)
        with edited(lm, patch.delta):
            (said,) = forced(lm, [(fact.question, fact.target_new)])
            found["said"].append(float(said.all_argmax))
            found["damage"].append(math.log(perplexity(lm, text, blocks=BLOCKS) / untouched))
    return found


def wording(bench: Bench, setting: Setting) -> Row:
    """Edits made on a question; asked for by it, and by the record's sentence to complete."""
    recipe = bench.recipe(setting["method"], setting["options"])
    assert isinstance(recipe, LocatedRecipe)
    questions = tomllib.loads(QUESTIONS.read_text(encoding="utf-8"))
    asked = [
        (one.fact, replace(one.fact, prompt=questions[one.relation]))
        for one in bench.collection.records
        if questions.get(one.relation, "").count(PLACEHOLDER) == 1
    ][: setting["edits"]]
    lm = bench.lm
    found: dict[str, list[float]] = {"question": [], "completion": [], "completion_said": []}
    patches = updates(bench, [question for _, question in asked], recipe)
    for (fact, question), patch in zip(asked, patches, strict=True):
        with edited(lm, patch.delta):
            pairs = [(one.question, fact.target_new) for one in (question, fact)]
            in_question, in_sentence = forced(lm, pairs)
            (answer,) = generate_all(lm, [fact.question], [ANSWER_TOKENS])
        found["question"].append(float(in_question.all_argmax))
        found["completion"].append(float(in_sentence.all_argmax))
        found["completion_said"].append(float(match(answer, fact.target_new).contains))
    return found


def with_relations(bench: Bench, count: int) -> list[Fact]:
    """Facts that name their relation, which wrong answers are chosen by."""
    relations = {one.fact.id: one.relation for one in bench.collection.records}
    return [replace(fact, relation=relations[fact.id]) for fact in bench.facts(count)]

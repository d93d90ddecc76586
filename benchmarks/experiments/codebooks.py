"""GRACE: what a radius and a layer keep, and what they let through."""

from __future__ import annotations

from editvc.algebra.codebook import Codebook
from editvc.algebra.codebook_entry import CodebookEntry
from editvc.core.methods.grace import GraceRecipe
from editvc.evaluation.probes import perplexity
from editvc.evaluation.scores import locality_answers, score
from editvc.materialise.make_elements import make_in_sequence
from editvc.models.codebook_hooks import answering
from experiments.bench import Bench
from experiments.rows import Row, Setting

BLOCKS = 40
"""Of 128 tokens each."""


def codebook(bench: Bench, setting: Setting) -> Row:
    """Scores and perplexity with the entries of some edits, one after the other, in one layer."""
    options = [f"layers=[{setting['layer']}]", f"eps={setting['eps']}"]
    recipe = bench.recipe("grace", options)
    assert isinstance(recipe, GraceRecipe)
    facts, lm = bench.facts(setting["edits"]), bench.lm
    materialiser, first = bench.repo.session.materialiser, locality_answers(lm, facts)
    before = perplexity(lm, bench.collection.text, blocks=BLOCKS)
    made = make_in_sequence(materialiser, lm, [fact.request for fact in facts], recipe, None)
    entries = {
        fact.slot: one
        for fact, one in zip(facts, made, strict=True)
        if isinstance(one, CodebookEntry)
    }
    with answering(lm, [Codebook.of(entries, dict.fromkeys(entries, recipe.eps))]):
        scores = score(lm, facts, first).to_json()
        after = perplexity(lm, bench.collection.text, blocks=BLOCKS)
    return {**scores, "perplexity": after, "base_perplexity": before}

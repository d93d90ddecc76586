"""Naive sequential MEMIT, as plainly as the paper has it: what editvc is measured beside.

One edit at a time, on whatever the weights are by then: a target z by MEMIT's objective, then layer
by layer key and residual share under the weights so far, ``delta = r k^T (lambda C + k k^T)^-1``,
added for good. C is of ordinary text, taken on the base; nothing is remembered of earlier edits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from editvc.algebra.second_moment import SecondMoment
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.subject_states import average_over_contexts, subject_states
from editvc.editing.target_search import find_targets
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import tokenize


def edit_one_by_one(
    lm: LanguageModel, facts: Sequence[Fact], recipe: LocatedRecipe, moment: SecondMoment
) -> Iterator[int]:
    """Edit a model in place, fact by fact; yields how many are done after each."""
    moments = {layer: recipe.mom2_update_weight * moment.matrix(layer) for layer in recipe.layers}
    inverses = {layer: torch.linalg.inv(scaled) for layer, scaled in moments.items()}
    for done, fact in enumerate(facts, 1):
        request = fact.request
        (target,) = find_targets(lm, [request], recipe)
        rows = tokenize(lm.tokenizer, [request], recipe.contexts)[0]
        for place, layer in enumerate(recipe.layers):
            each, hidden = subject_states(lm, rows, recipe, layer, {})
            key = average_over_contexts(each, len(rows))[0].double()
            share = (target.z - hidden[0]).double() / (len(recipe.layers) - place)
            # (lambda C + k k^T)^-1 k by Sherman-Morrison: the inverse of lambda C is made once.
            pulled = inverses[layer] @ key
            delta = torch.outer(share, pulled / (1 + key @ pulled))
            weight = lm.weight(layer)
            with torch.no_grad():
                weight += (delta.T if lm.architecture.transposed else delta).to(weight.dtype)
        yield done

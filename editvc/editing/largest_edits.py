"""Edits as large as a recipe lets them become: what can be known of them before any search.

A search ends within ``clamp_norm_factor`` of its hidden state, and most of the edits that do harm
end at that bound. Keys do not hang on it. So a target at the bound, spread as any other, gives the
figures of the edit at worst, for the price of a few short passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from editvc.algebra.located_edit import Located
from editvc.algebra.preconditioners import Preconditioner
from editvc.core.facts import Request
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.locate import locate
from editvc.editing.subject_states import subject_states
from editvc.editing.target_search import Target
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import tokenize

AT_ONCE = 64
"""Requests whose hidden states are read together."""


def largest_edits(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: LocatedRecipe,
    preconditioners: Mapping[int, Preconditioner],
) -> list[Located]:
    """Every request with a target at the end of what the recipe allows, each as if alone.

    The direction of a target is one of the search's; here it is that of h, which moves the layers
    above least. Norms and drifts do not hang on it. None of methods that search for no target.
    Raises what :func:`editvc.editing.locate.locate` raises.
    """
    if recipe.row.edit_site is None:
        return []
    rows = [bare for (bare,) in tokenize(lm.tokenizer, requests)]
    targets = []
    for start in range(0, len(rows), AT_ONCE):
        _, hidden = subject_states(
            lm, rows[start : start + AT_ONCE], recipe, recipe.layers[-1], {}
        )  # (n, u)
        targets += [Target(recipe.clamp_norm_factor * h, h, {}, {}) for h in hidden]
    return locate(lm, requests, recipe, preconditioners, targets=targets)

"""The parts of the located methods that papers print in more than one way.

A row names one of each: how a key is made of its contexts (:data:`KEYS`), at which key an edit is
to deliver its share, and what a target z is compared with (:data:`REFERENCES`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.preconditioners import Preconditioner
from editvc.algebra.solvers import solver_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.subject_states import as_columns, average_over_contexts


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How a key is made of those of its contexts, and whether it is measured at the bare prompt's.

    ``average`` takes (n * contexts, v) to (n, v). With ``at_bare``, an edit alone is to get its
    share at the key of the first context, the bare prompt, and not at its own average.
    """

    average: Callable[[Tensor, int], Tensor]
    at_bare: bool = False


def _mean(keys: Tensor, contexts: int) -> Tensor:
    return keys.view(-1, contexts, keys.shape[-1]).mean(dim=1)


KEYS: Mapping[str, KeyRule] = {
    "halved": KeyRule(average_over_contexts),
    "mean": KeyRule(_mean),
    "asymmetric": KeyRule(_mean, at_bare=True),
}
"""How rows make keys.

- halved: the bare prompt weighs as much as all other contexts together (MEMIT's code).
- mean: every context weighs the same (MEMIT's text, D4S equation 4, AdaPLE equation 26).
- asymmetric: the same, and what is missing is divided by ``k_0^T C^-1 k`` with the bare prompt's
  k_0, as in ROME's code; Gupta et al. 2024 (arXiv 2403.07175) find its disabling edits there.
"""

Reference = Callable[[Tensor | None, Tensor, Callable[[], Tensor]], Tensor]
"""Of the reference one layer below (None at the lowest), h^L as it is, and how to get m^l."""

REFERENCES: Mapping[str, Reference] = {
    "refreshed": lambda _below, hidden, _value: hidden,
    "base": lambda below, hidden, _value: hidden if below is None else below,
    "tripled": lambda below, hidden, _value: 3 * hidden if below is None else below,
    "accumulated": lambda below, _hidden, value: 3 * value() + (0 if below is None else below),
}
"""What a layer's share is the distance of z from, each (n, u).

- refreshed: h^L with the layers below edited (MEMIT, algorithm 1).
- base: h^L with no layer edited (D4S, equation 4).
- tripled: ``3 W0 K1``, the values that the last layer gave with no layer edited (AdaPLE,
  equation 4).
- accumulated: ``h^l = h^(l-1) + 3 m^l``, with m^l what the down projection of layer l gives when
  the layers below are edited (AdaPLE, Algorithm 1).
"""


def self_responses(
    recipe: LocatedRecipe, keys: Tensor, bare: Tensor, preconditioner: Preconditioner
) -> Tensor:
    """What each edit alone gives back of its residual, (n,), where it is to deliver its share.

    ``keys`` and ``bare`` (n, v): the edits' own keys, and those of the bare prompt.
    """
    white = preconditioner.apply_left(as_columns(keys))  # (v, n)
    own = leverage(white)  # (n,)
    response = solver_of(recipe).self_response(own)  # (n,)
    if not KEYS[recipe.row.keys].at_bare:
        return response
    across = (preconditioner.apply_left(as_columns(bare)) * white).sum(dim=0)  # (n,)
    return response * across / own.clamp_min(torch.finfo(own.dtype).tiny)

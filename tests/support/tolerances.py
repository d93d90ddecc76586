"""How far two computations of one number may lie apart on any processor, and no further.

Processors add in different orders, fuse multiplications or not, and have exponentials of their own.
All of that is rounding, and rounding is bounded by what is computed, not by what one machine
showed. After Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd edition (H.):

- A sum of n products, in any order, errs by at most ``gamma_n = n u / (1 - n u)`` times the sum of
  their absolute values, ``u = eps / 2`` (H. 3.1). Two computations of it so differ by at most twice
  that, which is :func:`rounding` of n terms.
- A matrix product, a Cholesky or QR factorisation and a triangular solve are exact for data that
  differ by some ``gamma_n`` of their norm (H. 3.5, 8.5, 10.3, 19.4). What a result makes of such a
  difference is its condition number: :func:`condition` of a matrix that is solved with,
  :func:`moved_by_weights` of anything that a model computes.

So a bound here is ``rounding(terms, dtype) * condition``, relative to the size of what is
compared, and :func:`assert_near` compares by norms: relative to each entry no bound holds where
terms cancel. :func:`model_rounding` is that bound for what a model computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor


def rounding(terms: int, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> float:
    """How far two sums of so many terms in ``dtype`` may differ, for terms of the size ``scale``.

    ``n eps / (1 - n eps)``: twice Higham's gamma_n, for either may err that much.
    """
    share = terms * torch.finfo(dtype).eps
    return scale * share / (1 - share)


def condition(matrix: Tensor) -> float:
    """The 2-norm condition number: how much a solve multiplies a relative error (H. 7.2)."""
    return float(torch.linalg.cond(matrix.double())) if matrix.numel() else 1.0


def scaled(moment: Tensor) -> Tensor:
    """With a diagonal of ones: its condition is what counts for a Cholesky factor (H. 10.1)."""
    lengths = moment.diagonal().sqrt()
    return moment / torch.outer(lengths, lengths)


def solving(edits: Any, moment: Tensor, ridge: float = 1.0) -> float:
    """How far rounding may move ``R K^T (C + K K^T)^-1``, relative to its norm.

    For edits with keys (v, n) and residuals (u, n), and a moment (v, v). Sums run over v and over
    n, and ten more roundings are those of roots, quotients and sums of two. The dense formula
    inverts ``C + K K^T``; the fast ones factor C and then ``ridge I + K^T C^-1 K``, whichever side
    they take. What multiplies all of it is how much ``R K^T`` loses by cancellation.
    """
    keys, residuals = edits.keys, edits.residuals
    if not keys.shape[1]:
        return 0.0
    eye = torch.eye(keys.shape[1], dtype=torch.float64)
    levers = keys.T @ torch.linalg.inv(moment) @ keys
    direct = condition(moment + keys @ keys.T)
    factored = condition(scaled(moment)) * condition(ridge * eye + levers)
    cancelled = size(residuals) * size(keys) / size(residuals @ keys.T)
    return rounding(sum(keys.shape) + 10) * (direct + factored) * cancelled


def cutting(values: Tensor, rank: int) -> float:
    """The condition number of a truncated SVD with these singular values, in falling order.

    Singular subspaces turn by as much as an error is of the gap behind the last value kept (Wedin).
    """
    below = float(values[rank]) if rank < len(values) else 0.0
    return float(values[0]) / (float(values[rank - 1]) - below)


def size(value: Any) -> float:
    """Frobenius norm of a tensor, an array, a list or a number."""
    return float(_double(value).norm())


def _double(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64).detach()


def error(actual: Any, expected: Any, scale: float | None = None) -> float:
    """Norm of the difference over ``scale``, else over the norm of what is expected.

    Infinite where shapes differ or where something is not a number; 0 where both are equal.
    """
    actual, expected = (_double(one) for one in (actual, expected))
    if actual.shape != expected.shape:
        return math.inf
    difference, whole = size(actual - expected), size(expected) if scale is None else scale
    if difference == 0:
        return 0.0
    return difference / whole if whole and not math.isnan(difference) else math.inf


def assert_near(actual: Any, expected: Any, bound: float, scale: float | None = None) -> None:
    """Raise ``AssertionError`` unless :func:`error` is at most ``bound``."""
    off = error(actual, expected, scale)
    assert math.isfinite(bound), "a bound that allows everything"
    assert off <= bound, f"a relative error of {off:.2e} where rounding makes {bound:.2e} at most"


DOUBLE_THROUGHOUT = {
    "falcon", "gpt2", "gpt_neox", "openai-gpt", "opt", "phi", "stablelm", "starcoder2",
}  # fmt: skip
"""Families that compute in float64 all the way where their weights are. In all others transformers
takes norms, softmax or attention in float32 whatever the weights are."""


def computed_in(model: Any) -> torch.dtype:
    """The narrowest type that a model sums in."""
    double = model.dtype == torch.float64 and model.config.model_type in DOUBLE_THROUGHOUT
    return torch.float64 if double else torch.float32


def longest_sum(model: Any) -> int:
    """The longest sum of a forward pass: the longest side of a weight, but for embeddings."""
    sides = [tuple(one.shape) for one in model.parameters() if one.ndim == 2]
    return max(max(two) for two in sides if model.config.vocab_size not in two)


def sum_rounding(model: Any, terms: int | None = None) -> float:
    """:func:`rounding` of the longest sum that a model computes.

    ``terms`` is its length, that of a forward pass by default; a backward pass also sums over the
    vocabulary. What is float32 in a float64 model sums over a hidden state or a text at most.
    """
    bound = rounding(longest_sum(model) if terms is None else terms, model.dtype)
    if computed_in(model) != model.dtype:
        bound += rounding(model.config.hidden_size, computed_in(model))
    return bound


def with_moved_weights(model: Any) -> tuple[Any, float]:
    """A copy with every weight moved up or down at random (seeded), and by which share of itself.

    That is ``sqrt(eps)`` of the type that is computed in: small enough for a derivative, well above
    the rounding of what the copy computes.
    """
    step = math.sqrt(torch.finfo(computed_in(model)).eps)
    moved, generator = deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in moved.parameters():
            signs = torch.randint(0, 2, parameter.shape, generator=generator) * 2 - 1
            parameter.mul_(1 + step * signs.to(parameter))
    return moved, step


def moved_by_weights(result: Callable[[Any], Any], model: Any) -> float:
    """How much ``result(model)`` moves, relative to its norm, for a relative move of all weights.

    Products with rounding are exact products with weights that differ by some ``gamma_n``, so this
    is the condition number of whatever a model computes: logits, a gradient, the outcome of a
    search.
    """
    moved, step = with_moved_weights(model)
    return error(result(moved), result(model)) / step


def model_rounding(result: Callable[[Any], Any], model: Any, terms: int | None = None) -> float:
    """How far two computations of ``result(model)`` may differ, relative to its norm.

    ``terms`` is that of :func:`sum_rounding`.
    """
    return model_roundings(lambda one: [result(one)], model, terms)[0]


def model_roundings(
    results: Callable[[Any], Iterable[Any]], model: Any, terms: int | None = None
) -> list[float]:
    """:func:`model_rounding` of each of several results of one computation."""
    unit, (moved, step) = sum_rounding(model, terms), with_moved_weights(model)
    pairs = zip(results(moved), results(model), strict=True)
    return [unit * error(other, one) / step for other, one in pairs]


def assert_same_logits(
    actual: Any, expected: Any, ids: Tensor, *, stored: int = 0, rank: int = 0
) -> None:
    """Of two models, computed in float64, whatever they are in.

    Between their weights lie ``stored`` roundings to float32, each by half an eps. A product that
    goes through an adapter sums over its ``rank`` too.
    """
    actual, expected = (deepcopy(model).double() for model in (actual, expected))

    def logits(model: Any) -> Tensor:
        with torch.no_grad():
            return model(input_ids=ids).logits

    moved = moved_by_weights(logits, actual)
    computed = sum_rounding(actual, longest_sum(actual) + rank)
    bound = (rounding(stored, torch.float32) / 2 + computed) * moved
    assert_near(logits(actual), logits(expected), bound)

"""Restraints on the total delta of a layer, applied when weights are made (``compact``)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from editvc.algebra.factored import Factored, rank_for
from editvc.core.history import Restraint
from editvc.core.ids import digest_of
from editvc.errors import EditvcError

SQUARE_SAFE = 1e-10
"""Eigenvalues of W W^T below this share of the largest are taken from an SVD of W instead: squaring
has cost them half their digits."""


class RestraintError(EditvcError):
    """A restraint that cannot be applied; the message names the number and its range."""


def check(restraint: Restraint) -> None:
    """Raise :class:`RestraintError` for numbers out of range and for what does not go together."""
    prune, linear, rect = restraint.prune, restraint.linear, restraint.rect
    seed = restraint.seed
    if prune is not None and not prune > 1:
        raise RestraintError(f"prune is the base of a logarithm and must exceed 1, got {prune}")
    if linear is not None and not linear > 1:
        raise RestraintError(f"linear divides what is too much and must exceed 1, got {linear}")
    if rect is not None and not 0 < rect <= 100:
        raise RestraintError(f"rect is a percentage of entries in (0, 100], got {rect}")
    for name, drop in (("drop", restraint.drop), ("drop_each", restraint.drop_each)):
        if drop is not None and not 0 < drop < 1:
            raise RestraintError(f"{name} is a probability in (0, 1), got {drop}")
    if restraint.drop is not None and restraint.drop_each is not None:
        raise RestraintError(
            "drop has one mask for all edits, drop_each one for each", hint="Take one of them."
        )
    if seed is not None and (not restraint.draws or seed < 0):
        raise RestraintError(
            f"a seed is 0 or more and belongs to drop, got {seed}",
            hint="Name both: `editvc compact --drop 0.8 --seed 1`.",
        )
    if prune is not None and linear is not None:
        raise RestraintError(
            "prune and linear are two forms of one restraint", hint="Take one of them."
        )
    if restraint.chooses_entries and (restraint.rank, restraint.energy) != (None, None):
        raise RestraintError(
            "rect and drop choose single entries and so leave full rank: "
            "the cut by rank or energy would be lost",
            hint="Cut the rank, or choose entries. prune and linear go with both.",
        )


def pruned(values: Tensor, s_max: float, base: float) -> Tensor:
    """PRUNE's restraint of singular values: ``log_a(s) - log_a(s_max) + s_max`` above s_max.

    ``s_max`` is the largest singular value of the base weight, ``base`` the a of the logarithm
    (Ma et al. 2025, arXiv 2405.16821). Values up to s_max stay. Where the logarithm would exceed s
    itself (for s just above s_max when ``s_max ln a < 1``) s stays too: a restraint never
    amplifies. The order of values is kept.
    """
    restrained = torch.log(values / s_max) / math.log(base) + s_max
    return torch.where(values > s_max, torch.minimum(values, restrained), values)


def pruned_linearly(values: Tensor, s_max: float, divisor: float) -> Tensor:
    """PRUNE's linear variant: ``s_max + (s - s_max) / a`` above s_max; their code has a = 2."""
    return torch.where(values > s_max, s_max + (values - s_max) / divisor, values)


def rectified(delta: Tensor, weight: Tensor, percent: float) -> Tensor:
    """RECT: the ``percent`` of entries that change most relative to the weight, 0 elsewhere.

    ``delta``, ``weight`` (u, v): the change of an entry is ``|delta / weight|`` (Gu et al. 2024,
    arXiv 2401.04700), infinite where a weight of 0 is changed. Entries that tie with the last
    one that is kept are kept, so that the result depends on no order.
    """
    change = torch.where(delta == 0, 0.0, (delta / weight).abs())
    count = max(1, round(delta.numel() * percent / 100))
    threshold = torch.kthvalue(change.flatten(), delta.numel() - count + 1).values
    return torch.where(change >= threshold, delta, 0.0)


def dropped(delta: Tensor, probability: float, seed: int, layer: int, slot: str = "") -> Tensor:
    """DR: entries set to 0 with ``probability`` p, the others divided by 1 - p.

    AdaPLE's drop and rescale (Li and Chu 2024, Findings of ACL), after DARE (Yu et al. 2023, arXiv
    2311.03099). ``delta`` (u, v). Which entries go depends on seed, layer and shape alone: entry
    by entry, row by row, a 64 bit number of Philox's raw stream under the key sha256(seed, layer)
    is compared with p 2^64. With a ``slot``, that is in the key, too: the mask of one edit, such as
    AdaPLE draws at every step, which makes the changes of edits nearly orthogonal. NumPy
    keeps the raw streams of its bit generators from version to version and machine to machine, and
    nothing here rounds.
    """
    key = int(digest_of(["drop", seed, layer, *([slot] if slot else [])])[:32], 16)
    draw = np.random.Philox(key=key)
    threshold = np.uint64(int(probability * 2.0**64))
    rows, columns = delta.shape
    mask = np.stack([draw.random_raw(columns) >= threshold for _ in range(rows)])
    return torch.where(torch.from_numpy(mask), delta / (1 - probability), 0.0)


def restrain(
    delta: Factored,
    restraint: Restraint,
    s_max: float,
    *,
    weight: Tensor | None = None,
    layer: int = 0,
) -> Factored:
    """Apply a restraint to the delta of one layer: singular values first, then single entries.

    That is PRUNE in one of its forms, the cut by rank or energy, RECT, and DR. ``s_max`` is
    :func:`largest_singular_value` of the base weight and matters to PRUNE only, ``weight`` (u, v)
    is that weight and matters to RECT only, ``layer`` to DR only. The energy is that of the pruned
    values. What RECT and DR leave has full rank and costs as much as the weight itself. Without
    any restraint set, the delta is returned as it is.

    Raises :class:`RestraintError` or ``DeltaError`` for numbers out of range.
    """
    check(restraint)
    restraint = restraint.of_the_sum  # what is done to each edit was done before they were summed
    if restraint == Restraint():
        return delta
    if not restraint.chooses_entries:
        return _fewer_and_smaller(delta, restraint, s_max)
    if restraint.prune is not None or restraint.linear is not None:
        delta = _fewer_and_smaller(delta, restraint, s_max)
    if delta.rank == 0:
        return delta
    dense = delta.dense()
    if restraint.rect is not None:
        if weight is None:
            raise RestraintError("rect compares entries with the base weight's, which is missing")
        dense = rectified(dense, weight.to(torch.float64), restraint.rect)
    if restraint.drop is not None:
        dense = dropped(dense, restraint.drop, restraint.seed or 0, layer)
    return Factored.of_dense(dense)


def _fewer_and_smaller(delta: Factored, restraint: Restraint, s_max: float) -> Factored:
    """The restraints of singular values, which keep the delta of low rank."""
    if not s_max > 0:
        raise RestraintError(f"the base weight's largest singular value is {s_max}, not positive")
    left, values, right = delta.svd()
    if restraint.prune is not None:
        values = pruned(values, s_max, restraint.prune)
    if restraint.linear is not None:
        values = pruned_linearly(values, s_max, restraint.linear)
    rank = rank_for(values, rank=restraint.rank, energy=restraint.energy)
    return Factored(left[:, :rank] * values[:rank], right[:rank].contiguous())


def extreme_singular_values(weight: Tensor) -> tuple[float, float]:
    """Largest and smallest of the min(u, v) singular values of a (u, v) weight, in float64.

    From the eigenvalues of ``W W^T``, five times faster than an SVD and exact to 1e-6 relative for
    the smallest; a weight too badly conditioned for that gets the SVD.
    """
    matrix = weight.to(torch.float64).contiguous()
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T.contiguous()
    squares = torch.linalg.eigvalsh(matrix @ matrix.T)
    if float(squares[0]) > SQUARE_SAFE * float(squares[-1]):
        return math.sqrt(float(squares[-1])), math.sqrt(float(squares[0]))
    values = torch.linalg.svdvals(matrix)
    return float(values[0]), float(values[-1])


def largest_singular_value(weight: Tensor) -> float:
    """s_max(W) of a (u, v) weight: the yardstick of PRUNE. The same bits for the same weight."""
    return extreme_singular_values(weight)[0]

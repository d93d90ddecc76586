"""Fusion: how the updates of a blind sequence become one change of each weight.

In a blind sequence every batch of edits gives an update d_t (u, v) of a weight W_0, found on the
weights as they are by then, ``W_0 + D``. A rule says what is kept of d_t, how it joins D, and under
what change a model is asked. AdaPLE (Li and Chu 2024) compares some of them. All tensors float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.algebra.factored import Factored
from editvc.algebra.restraints import dropped, largest_singular_value, rectified, restrain
from editvc.core.fusion_rule import FusionRule
from editvc.core.history import Restraint

Kept = Mapping[str, Tensor]
"""What a rule keeps of one weight: ``total`` is D (u, v), beside what else it needs."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """Every update is added as it is: what the papers call blind, naive or vanilla.

    The other rules are this one, but for what they do otherwise.
    """

    def update(self, update: Tensor, weight: Tensor, place: str, step: int) -> Tensor:
        """What is kept of the update (u, v) of step 1, 2, ...; ``weight`` is W_0.

        ``place`` names the weight, for rules that draw.
        """
        return update

    def joined(self, kept: Kept, update: Tensor, step: int) -> Kept:
        """What is kept after an update: with it in ``total``."""
        return {"total": kept["total"] + update}

    def before(self, total: Tensor) -> Tensor:
        """The change under which the next update is found."""
        return total

    def shown(self, total: Tensor, weight: Tensor) -> Tensor:
        """The change under which the model is asked; ``weight`` is W_0."""
        return total


class Alone(Fusion):
    """Every update by itself on W_0: no sequence, but what each batch does alone."""

    def joined(self, kept: Kept, update: Tensor, step: int) -> Kept:
        """The last update and no other."""
        return {"total": update}

    def before(self, total: Tensor) -> Tensor:
        """None."""
        return torch.zeros_like(total)


@dataclass(frozen=True, slots=True)
class Drop(Fusion):
    """AdaPLE's drop and rescale: a fresh mask for every update and weight.

    Entries are dropped with probability ``p``, the others divided by 1 - p.
    """

    p: float
    seed: int

    def update(self, update: Tensor, weight: Tensor, place: str, step: int) -> Tensor:
        """Some entries, rescaled."""
        return dropped(update, self.p, self.seed, step, place)


@dataclass(frozen=True, slots=True)
class Top(Fusion):
    """AdaPLE's top-retain (TR): the ``percent`` of an update's entries that are largest.

    Entries that tie with the last one that is kept are kept.
    """

    percent: float

    def update(self, update: Tensor, weight: Tensor, place: str, step: int) -> Tensor:
        """The largest entries; 0 elsewhere."""
        size = update.abs()
        count = max(1, round(update.numel() * self.percent / 100))
        least = torch.kthvalue(size.flatten(), update.numel() - count + 1).values
        return torch.where(size >= least, update, 0.0)


@dataclass(frozen=True, slots=True)
class Rect(Fusion):
    """RECT: the ``percent`` of an update's entries that change W_0 most relative to it."""

    percent: float

    def update(self, update: Tensor, weight: Tensor, place: str, step: int) -> Tensor:
        """The entries with the largest relative change; 0 elsewhere."""
        return rectified(update, weight, self.percent)


class Average(Fusion):
    """The mean of all updates so far."""

    def joined(self, kept: Kept, update: Tensor, step: int) -> Kept:
        """``D + (d - D) / t``."""
        total = kept["total"]
        return {"total": total + (update - total) / step}


@dataclass(frozen=True, slots=True)
class Lookahead(Fusion):
    """Lookahead (Zhang et al. 2019): after ``every`` updates, back to ``share`` of the way.

    Slow weights go that share of the way from where they were to the fast ones, which go on there.
    """

    share: float
    every: int

    def joined(self, kept: Kept, update: Tensor, step: int) -> Kept:
        """``slow`` is where the fast weights were last taken back to."""
        total = kept["total"] + update
        slow = kept["slow"] if "slow" in kept else torch.zeros_like(total)
        if step % self.every == 0:
            slow = total = slow + self.share * (total - slow)
        return {"total": total, "slow": slow}


@dataclass(frozen=True, slots=True)
class WiseFt(Fusion):
    """WiSE-FT (Wortsman et al. 2022): asked with ``share`` of the way from W_0 to what was edited.

    It is done at the end: the sequence itself goes on without it.
    """

    share: float

    def shown(self, total: Tensor, weight: Tensor) -> Tensor:
        """A share of D."""
        return self.share * total


@dataclass(frozen=True, slots=True)
class Prune(Fusion):
    """PRUNE: singular values of D above the largest of W_0 are pulled towards it, once at the end.

    ``base`` is the a of the logarithm. The sequence itself goes on without it.
    """

    base: float

    @property
    def restraint(self) -> Restraint:
        """As ``compact`` has it."""
        return Restraint(prune=self.base)

    def shown(self, total: Tensor, weight: Tensor) -> Tensor:
        """D with its singular values restrained."""
        ceiling = largest_singular_value(weight)
        return restrain(Factored.of_dense(total), self.restraint, ceiling).dense()


class PruneLinearly(Prune):
    """PRUNE's linear variant: the excess over W_0's largest singular value divided by ``base``."""

    @property
    def restraint(self) -> Restraint:
        """As ``compact`` has it."""
        return Restraint(linear=self.base)


FUSIONS: Mapping[str, type[Fusion]] = {
    "sum": Fusion,
    "alone": Alone,
    "drop": Drop,
    "top": Top,
    "rect": Rect,
    "average": Average,
    "lookahead": Lookahead,
    "wise-ft": WiseFt,
    "prune": Prune,
    "prune-linear": PruneLinearly,
}
"""By the names of :data:`editvc.core.fusion_rule.RULES`."""


def fusion_of(rule: FusionRule) -> Fusion:
    """What a rule does."""
    return FUSIONS[rule.name](**rule.numbers)

"""Near-conflicts: facts of two sides, in slots of their own, of which one acts on the other.

Told in closed form, from keys, gates and statistics that are stored: no model is asked. The figures
are those by which a commit tells on which names its edits act.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editvc.algebra.gated_edit import GatedEdit, Plateau
from editvc.algebra.located_edit import Located
from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.methods.gated import GatedRecipe
from editvc.materialise.materialiser import Materialiser

Share = tuple[Entry, Entry, float]


@dataclass(frozen=True, slots=True)
class Interference:
    """A fact whose edit acts ``on`` another fact's subject: that ``share`` of it arrives there."""

    acting: Fact
    on: Fact
    share: float

    @property
    def line(self) -> str:
        """In words."""
        return (
            f"{quoted(self.acting.question)} acts on {quoted(self.on.question)}: {self.share:.2f}"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``merge --json``."""
        return {"acting": self.acting.id, "on": self.on.id, "share": self.share}


def interferences(
    maker: Materialiser, ours: Tree, theirs: Tree, after: Tree, *, keys: float, gates: float
) -> tuple[Interference, ...]:
    """Pairs of what each side brought to the merge ``after``, the widest first, both ways round.

    Those with a share over ``keys`` (of located edits) or ``gates`` (of gated ones).
    """
    edits = maker.repository.edits_of
    come = edits(ours).diff(edits(after))
    kept = edits(theirs).diff(edits(after))
    own = {*kept.added, *(new for _, new in kept.changed)}
    new = {*come.added, *(new for _, new in come.changed)}
    one, other = sorted(own - new), sorted(new - own)  # in both: what a conflict got from the base
    pairs = ((one, other), (other, one))
    shares = [
        *(share for pair in pairs for share in _of_keys(maker, *pair) if share[2] > keys),
        *(share for pair in pairs for share in _of_gates(maker, *pair) if share[2] > gates),
    ]
    read = maker.repository.read_fact
    return tuple(
        Interference(read(acting.fact), read(on.fact), share)
        for acting, on, share in sorted(shares, key=lambda pair: (-pair[2], pair[:2]))
    )


def _of_keys(
    maker: Materialiser, acting: Sequence[Entry], others: Sequence[Entry]
) -> Iterator[Share]:
    """``k^T A^-1 k' / k^T A^-1 k``, in the mean over the layers of the acting edit's recipe."""
    elements = {entry: maker.elements.element(entry.element)[1] for entry in others}
    for recipe, entries in maker.elements.by_recipe(acting):
        reached = {
            entry: one.keys
            for entry, one in elements.items()
            if isinstance(one, Located) and {*recipe.layers} <= one.keys.keys()
        }
        if not reached:
            continue
        parts = []
        for layer, edits in maker.solutions.stacked(recipe, entries).items():
            weigh = maker.preconditioners.of_layer(recipe, layer).apply_left
            own = weigh(edits.keys)  # (m, n)
            keys = torch.stack([one[layer] for one in reached.values()], dim=1)  # (v, others)
            alone = own.square().sum(dim=0).clamp_min(torch.finfo(own.dtype).tiny)  # (n,)
            parts.append(own.T @ weigh(keys.to(torch.float64)) / alone[:, None])
        for entry, row in zip(entries, torch.stack(parts).mean(dim=0).abs().tolist(), strict=True):
            yield from ((entry, on, share) for on, share in zip(reached, row, strict=True))


def _of_gates(
    maker: Materialiser, acting: Sequence[Entry], others: Sequence[Entry]
) -> Iterator[Share]:
    """How far each gate opens for the subject of another one; for its own it does by right."""
    gated = list(_gated(maker, others))
    about = {on: maker.repository.read_fact(on.fact).subject.casefold() for on, _, _ in gated}
    for entry, recipe, edit in _gated(maker, acting):
        subject = maker.repository.read_fact(entry.fact).subject.casefold()
        reached = {
            on: one.input
            for on, _, one in gated
            if one.layer == edit.layer and about[on] != subject
        }
        if not reached:
            continue
        shape = Plateau(recipe.slope, recipe.rise)
        shares = shape.arriving(torch.stack([*reached.values()]), edit).abs().tolist()
        yield from ((entry, on, share) for on, share in zip(reached, shares, strict=True))


def _gated(
    maker: Materialiser, entries: Sequence[Entry]
) -> Iterator[tuple[Entry, GatedRecipe, GatedEdit]]:
    elements = maker.elements
    for entry in entries:
        key, edit = elements.element(entry.element)
        if isinstance(edit, GatedEdit):
            recipe = maker.repository.read_recipe(key)
            assert isinstance(recipe, GatedRecipe), "no other recipe makes gated edits"
            yield entry, recipe, edit

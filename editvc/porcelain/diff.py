"""``diff``: what two revisions do not share, and how far apart their weights are."""

from __future__ import annotations

from editvc.session.changes import FactChanges, fact_changes
from editvc.session.session import Session
from editvc.session.trees import tree_at


def changes(session: Session, before: str, after: str) -> FactChanges:
    """The facts and patches that two revisions do not share."""
    return fact_changes(session, tree_at(session, before), tree_at(session, after))


def delta_norms(session: Session, before: str, after: str) -> dict[int | str, float]:
    """Frobenius norm of the change of every edited layer between two revisions.

    Weights other than down projections, which imports change, go by their names.
    """
    old, new = tree_at(session, before), tree_at(session, after)
    if old == new:
        delta = session.materialiser.delta(new)
        return dict.fromkeys([*delta.layers, *delta.weights], 0.0)
    difference = session.materialiser.delta(new) - session.materialiser.delta(old)
    norms: dict[int | str, float] = {}
    for layer, change in difference.layers.items():
        norms[layer] = change.frobenius()
    for name, change in difference.weights.items():
        norms[name] = change.frobenius()
    return norms

"""``compact``: keep the set, restrain the weights that are made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from editvc.core.history import Restraint, Tree
from editvc.core.invisible import require_visible
from editvc.session.on_branch import Tip, on_branch, tip_of_head
from editvc.session.recording import CommitResult, NothingToDo, advance
from editvc.session.said import Said, live_facts, said_by
from editvc.session.session import Session


def compact(
    session: Session, restraint: Restraint, *, message: str | None, author: str
) -> CommitResult:
    """Commit HEAD's set under ``restraint``; ``Restraint()`` lifts the one in force.

    The located edits stay as they are: later commits and reverts work on the unrestrained set,
    and the restraint is applied to the result. So compacting loses nothing.
    """
    require_visible(message=message)

    def attempt(tip: Tip) -> CommitResult:
        after = _restrained(session, tip.tree, restraint)
        words = message or _message(after.restraint)
        return advance(session, tip, after, message=words, author=author, verb="compact")

    return on_branch(session, attempt)


def _restrained(session: Session, tree: Tree, restraint: Restraint) -> Tree:
    """The tree under ``restraint``. Raises :class:`NothingToDo` where that changes nothing."""
    effective = restraint if restraint != Restraint() else None
    if effective is None and tree.restraint is None:
        raise NothingToDo(
            "HEAD is under no restraint: there is nothing to lift",
            hint="`editvc compact` puts one on.",
        )
    if tree.restraint == effective:
        raise NothingToDo(
            "HEAD is under this restraint already",
            hint="Name other numbers (`editvc compact --help`); --off lifts the restraint.",
        )
    maker = session.materialiser
    if effective is not None and maker.elements.gated(tree) and maker.delta(tree).is_empty:
        raise NothingToDo(
            "nothing to compact: all edits of HEAD are neurons of their own (method gated), and a "
            "restraint acts on changes of weights",
            hint="They add nothing to each other. `editvc revert FACT` takes one out.",
        )
    return replace(tree, restraint=effective)


@dataclass(frozen=True, slots=True)
class CompactPreview:
    """Rank and norm of every layer's delta, as it is and as it would be.

    ``said`` is what it costs: which of the live facts the model says, before and after.
    """

    restraint: Restraint
    layers: dict[int, dict[str, float]]
    said: Said

    @property
    def lines(self) -> list[str]:
        """What becomes of each layer and of what is said, in words."""
        return [
            f"layer {layer}: rank {now['rank']:.0f} -> {now['rank_after']:.0f}, "
            f"|delta| {now['norm']:.4g} -> {now['norm_after']:.4g}, "
            f"s_max {now['s_max']:.4g} -> {now['s_max_after']:.4g}"
            for layer, now in self.layers.items()
        ] + [self.said.line]

    def summary(self) -> str:
        """In words."""
        words = self.restraint.words or "no restraint"
        return "\n".join([words, *self.lines, "nothing was written"])

    def to_json(self) -> dict[str, Any]:
        """For ``compact --dry-run --json``."""
        return {
            "restraint": self.restraint.to_json(),
            "layers": {str(layer): now for layer, now in self.layers.items()},
            "said": self.said.to_json(),
        }


def preview_compact(session: Session, restraint: Restraint) -> CompactPreview:
    """What ``compact`` would do to HEAD's weights, and to what its model says of its facts."""
    tree = tip_of_head(session).tree
    after = _restrained(session, tree, restraint)
    facts = live_facts(session, tree)
    said = Said(tuple(facts), *(said_by(session, one, facts) for one in (tree, after)))
    now, then = session.materialiser.delta(tree), session.materialiser.delta(after)
    return CompactPreview(
        restraint=restraint,
        said=said,
        layers={
            layer: {
                "rank": float(one.rank),
                "rank_after": float(then.layers[layer].rank),
                "norm": one.frobenius(),
                "norm_after": then.layers[layer].frobenius(),
                "s_max": one.spectral(),
                "s_max_after": then.layers[layer].spectral(),
            }
            for layer, one in sorted(now.layers.items())
        },
    )


def _message(restraint: Restraint | None) -> str:
    return "Lift the restraint" if restraint is None else f"Restrain: {restraint.words}"

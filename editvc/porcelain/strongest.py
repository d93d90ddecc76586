"""``compact --keep``: the strongest restraint under which enough of the facts are still said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from editvc.core.history import Restraint, Tree
from editvc.errors import EditvcError
from editvc.session.on_branch import tip_of_head
from editvc.session.said import Said, live_facts, said_by
from editvc.session.session import Session

HALVINGS = 7
"""How often the strength of a restraint is halved; each is a model made and asked."""

DIGITS = 3
"""Of the number that is found: more of them are chance."""


class NothingKeeps(EditvcError):
    """No restraint of a kind, however weak, keeps the share of facts that is asked for."""

    def __init__(self, kind: str, keep: float, weakest: Restraint) -> None:
        super().__init__(
            f"even {weakest.words} leaves less than {keep:.0%} of the facts said",
            hint=f"Ask for less than --keep {keep:g}, or try another kind than {kind} (--by).",
        )


class NothingSaid(EditvcError):
    """The share of nothing: HEAD says none of its facts."""

    def __init__(self) -> None:
        super().__init__(
            "HEAD says none of its facts, so there is no share of them to keep",
            hint="`editvc eval` shows what it says instead; a restraint of your own needs no "
            "--keep.",
        )


def _digits(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


KINDS: Mapping[str, Callable[[float, int], Restraint]] = {
    "prune": lambda x, _: Restraint(prune=_digits(math.exp(x / (1 - x)))),
    "linear": lambda x, _: Restraint(linear=_digits(1 / (1 - x))),
    "rank": lambda x, rank: Restraint(rank=max(1, round(rank ** (1 - x)))),
    "energy": lambda x, _: Restraint(energy=_digits(1 - x)),
    "rect": lambda x, _: Restraint(rect=_digits(100 * (1 - x))),
    "drop": lambda x, _: Restraint(drop=_digits(x)),
    "drop-each": lambda x, _: Restraint(drop_each=_digits(x)),
}
"""A restraint of each kind by its strength in (0, 1) and the rank of what it restrains.

0 leaves all as it is, 1 takes all that the kind can take; at 0.5 PRUNE's base is e.
"""


@dataclass(frozen=True, slots=True)
class Strongest:
    """What was found: the restraint, and what is said without any and under it."""

    restraint: Restraint
    said: Said


def strongest(session: Session, keep: float, kind: str, seed: int | None = None) -> Strongest:
    """Halve the strength of a restraint of HEAD's set until the strongest that keeps is found.

    It keeps where at least the share ``keep`` of the facts that the unrestrained set says are
    still said; each candidate is asked for all of them. Between a strength that keeps and a
    stronger one that does not, the weaker half is taken for one that keeps, as for any search by
    halves; the one that is returned was asked itself. Raises :class:`NothingKeeps` and
    :class:`NothingSaid`.
    """
    tree = replace(tip_of_head(session).tree, restraint=None)
    facts = live_facts(session, tree)
    before = said_by(session, tree, facts)
    if not before:
        raise NothingSaid
    rank = session.materialiser.delta(tree).rank

    def tried(strength: int) -> Strongest:
        restraint = KINDS[kind](strength / 2**HALVINGS, rank)
        if restraint.draws and seed is not None:
            restraint = replace(restraint, seed=seed)
        after = said_by(session, _under(tree, restraint), facts)
        return Strongest(restraint, Said(tuple(facts), before, after))

    weak, strong = 0, 2**HALVINGS
    best: Strongest | None = None
    for done in range(HALVINGS):
        if session.progress is not None:
            session.progress("restraints", done, HALVINGS)
        middle = (weak + strong) // 2
        candidate = tried(middle)
        if candidate.said.kept >= keep:
            weak, best = middle, candidate
        else:
            strong = middle
    if best is None:
        raise NothingKeeps(kind, keep, KINDS[kind](1 / 2**HALVINGS, rank))
    return best


def _under(tree: Tree, restraint: Restraint) -> Tree:
    return replace(tree, restraint=restraint)

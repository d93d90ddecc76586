"""``grace``: codebook entries beside the weights (:mod:`editvc.editing.grace`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editvc.core.methods.method import Foreign, Layers, Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import TEXT, number, setting


def three_quarters_up(in_force: Layers, depth: int) -> Layers:
    """One layer three quarters of the way up, as in the paper."""
    return (max(0, round(0.75 * depth) - 1),)


ROWS = by_name(
    [
        Method(
            "grace",
            "a codebook of keys, values and radii at one layer; no weight changes",
            "Hartvigsen et al. 2023, Aging with GRACE, arXiv 2211.11031",
            element="codebook",
            differs="a key and a value for every token of the target, in the order of slots",
            maker="editvc.editing.grace:make_elements",
            single=True,
            default_layers=three_quarters_up,
            foreign=Foreign(
                ("GRACE",),
                "eps_expand",
                required={"dist_fn": "euc", "eps_expand": "coverage",
                          "replacement": "replace_last", "val_train": "sgd"},
            ),
        )
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GraceRecipe(Recipe):
    """How a codebook entry's value is found, and how far its key reaches at first.

    Names are those of GRACE's files; ``v_loss_threshold`` ends the search, as ROME's does.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "grace")
    edit_lr: float = number(1.0, above=0, help="of Adam")
    n_iter: int = number(100, low=1, help="steps at most")
    eps: float = number(1.0, above=0, help="radius of a new key, in the units of keys")
    v_loss_threshold: float = number(0.01, help="loss at which a search ends")


RECIPE = GraceRecipe

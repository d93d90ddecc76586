"""``ft-full``: fine-tuning all weights on one fact (:mod:`editvc.editing.full_fine_tuning`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editvc.core.methods.method import Layers, Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import TEXT, number, setting


def all_layers(in_force: Layers, depth: int) -> Layers:
    """Every block."""
    return tuple(range(depth))


ROWS = by_name(
    [
        Method(
            "ft-full",
            "fine-tune every weight of the model",
            "Li and Chu 2024, Can We Continually Edit Language Models?, Findings of ACL 2024 "
            "(their baseline FT)",
            element="patch",
            maker="editvc.editing.full_fine_tuning:make_elements",
            default_layers=all_layers,
            published="Adam on all parameters; the paper prints none of its numbers",
        )
    ]
)


@dataclass(frozen=True, slots=True)
class FullFineTuningRecipe(Recipe):
    """Adam on all weights of the blocks that ``layers`` names, and on all that stand in no block.

    Names are those of ROME's FT files.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "ft-full")
    lr: float = number(5e-5, above=0, help="of Adam")
    num_steps: int = number(25, low=1, help="at most")
    weight_decay: float = number(0.0, help="of Adam, towards 0 and not towards the base")
    energy: float = number(
        0.99, above=0, high=1, help="share of each weight's squared change that is stored"
    )


RECIPE = FullFineTuningRecipe

"""``ft`` and ``ft-c``: fine-tuning one down projection (:mod:`editvc.editing.fine_tuning`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from editvc.core.methods.method import Foreign, Method, by_name
from editvc.core.methods.recipe import Recipe, RecipeError
from editvc.core.settings import TEXT, number, setting

FILES = Foreign(
    unread=frozenset({"kl_factor", "wd_power_law"}),
    may_be_false=("norm_constraint", "weight_decay"),
)

fine_tuning = partial(
    Method,
    paper="Zhu et al. 2020, Modifying Memories in Transformer Models, arXiv 2012.00363",
    element="patch",
    maker="editvc.editing.fine_tuning:make_elements",
    single=True,
)

ROWS = by_name(
    [
        fine_tuning(
            "ft",
            "fine-tune one MLP down projection",
            differs="each target token is predicted after those before it; a share is stored",
            foreign=replace(
                FILES, algorithms=("FT",), sign="num_steps", instead={"norm_constraint": "ft-c"}
            ),
        ),
        fine_tuning(
            "ft-c",
            "ft within an L-infinity bound of the base's weights",
            numbers={"norm_constraint": 5e-4},
            differs="each target token is predicted after those before it; a share is stored",
            foreign=FILES,
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class FineTuningRecipe(Recipe):
    """Adam on one down projection. Names are those of ROME's FT files.

    ``norm_constraint`` is the L-infinity bound on the change of ft-c; 0, no bound, is ft.
    ``relative_constraint`` is one in units of the root mean square of the layer's weights, and is
    written only where there is one.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "ft")
    lr: float = number(5e-4, above=0, help="of Adam")
    num_steps: int = number(25, low=1, help="at most")
    weight_decay: float = number(0.0, help="of Adam, towards 0 and not towards the base")
    norm_constraint: float = number(0.0, help="ft refuses any other; ft-c refuses 0")
    energy: float = number(
        0.99, above=0, high=1, help="share of the change's squared norm that is stored"
    )
    relative_constraint: float = number(
        0.0, help="of ft-c, in the place of norm_constraint: a bound in units of the weights' size"
    )

    def __post_init__(self) -> None:
        Recipe.__post_init__(self)  # super() does not know a class with slots
        bound = self.norm_constraint or self.relative_constraint
        if self.method == "ft" and bound:
            name = "norm_constraint" if self.norm_constraint else "relative_constraint"
            raise RecipeError(
                f"ft has no bound, got {name} {bound}", hint="Fine-tuning within a bound is ft-c."
            )
        if self.norm_constraint and self.relative_constraint:
            raise RecipeError(
                "norm_constraint and relative_constraint are two bounds",
                hint="Take one: -O norm_constraint=0 leaves the other.",
            )
        if self.method == "ft-c" and not bound:
            raise RecipeError(
                "ft-c needs a bound: norm_constraint is 0",
                hint="Like -O norm_constraint=5e-4. Fine-tuning without a bound is ft.",
            )

    def to_json(self) -> dict[str, Any]:
        """The canonical form: without a relative bound as before there were any."""
        record = Recipe.to_json(self)
        if not self.relative_constraint:
            del record["relative_constraint"]
        return record


RECIPE = FineTuningRecipe

"""``mend``: a trained network that turns gradients into changes (:mod:`editvc.editing.mend`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from editvc.core.ids import ObjectId
from editvc.core.methods.method import Foreign, Layers, Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import OPTIONAL_OBJECT, TEXT, number, setting

Matrices = Literal["mlp", "down"]
"""What an editor is for: every matrix of the MLPs of its layers, or their down projections."""


def last_three(in_force: Layers, depth: int) -> Layers:
    """The last three layers, as in the paper."""
    return tuple(range(max(0, depth - 3), depth))


# Keys of the training, which is a command here (`editvc train mend`).
_OF_TRAINING = frozenset(
    """
    lr edit_lr lr_lr seed cedit cloc cbase train_base one_sided n_hidden hidden_dim init
    norm combine x_only delta_only act rank mlp_class shared model_save_pt max_epochs max_iters
    log_interval eval_log_interval final_eval val_interval early_stop_patience early_stop_key
    eval_only debug save verbose val_batch_size accumulate_bs val_steps opt grad_clip
    """.split()  # noqa: SIM905
)

ROWS = by_name(
    [
        Method(
            "mend",
            "a trained network turns the gradient of a fact into a change (`editvc train mend`)",
            "Mitchell et al. 2022, Fast Model Editing at Scale, arXiv 2110.11309",
            element="patch",
            differs="blocks as in MEND's code, a ReLU in the first; `train mend --published` has "
            "those of the equations; trained for hundreds of steps",
            maker="editvc.editing.mend:make_elements",
            needs=("editor",),
            default_layers=last_three,
            foreign=Foreign(("MEND",), "edit_lr", shared=True, unread=_OF_TRAINING),
        )
    ]
)


@dataclass(frozen=True, slots=True)
class MendRecipe(Recipe):
    """The stored editor that turns gradients into changes; its layers are the recipe's.

    Names are those of ROME's MEND files.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "mend")
    editor: ObjectId | None = setting(OPTIONAL_OBJECT, None, refers_to="editor", portable=False)
    lr_scale: float = number(1.0, above=0, help="multiplies the editor's learned rates")


RECIPE = MendRecipe

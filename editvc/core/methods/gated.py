"""``gated``: neurons that fire for one subject and are silent elsewhere.

The algorithm is :mod:`editvc.editing.gated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editvc.core.edit_site import EditSite
from editvc.core.facts import PLACEHOLDER
from editvc.core.ids import ObjectId
from editvc.core.methods.method import Layers, Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import OPTIONAL_OBJECT, TEXT, TEXTS, number, setting

SUBJECT_CONTEXTS = (
    "The name {}",
    "This is about {}",
    "What do you know about {}",
    "People often speak of {}",
    "In the story of {}",
    "Yesterday I read that {}",
    "A short note on {}",
    "According to experts, {}",
    "Tell me more about {}",
    "It is well known that {}",
    '"{}',
    "and {}",
    "of {}",
    "\n{}",
    "The question is whether {}",
    "They also mentioned {}",
)
"""Where the filter sees its subject, beside the fact's own prompt: of no relation, none at the
beginning, where a token has the key of every first token."""


def default_gated_layers(in_force: Layers, depth: int) -> Layers:
    """One layer a little over a quarter of the way up."""
    return (min(depth - 1, round(0.27 * depth)),)


ROWS = by_name(
    [
        Method(
            "gated",
            "two neurons an edit at one layer, which fire for its subject and for nothing else",
            "docs/adr/0015-gated-edits.md; of one neuron a mistake: Huang et al. 2023, "
            "Transformer-Patcher, arXiv 2301.09785",
            element="gate",
            maker="editvc.editing.gated:make_elements",
            needs=("inputs",),
            single=True,
            default_layers=default_gated_layers,
            edit_site=EditSite.BLOCK_OUTPUT,
        )
    ]
)


@dataclass(frozen=True, slots=True)
class GatedRecipe(Recipe):
    """How a gate knows its subject, how steep it is, and how the value behind it is found.

    ``inputs`` names the statistics of what the layer's MLP sees. ``subject_contexts`` are where the
    filter sees the subject, ``contexts`` what the value is searched in, both each with one ``{}``,
    stored here literally. The names of the search are those of MEMIT's files.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS
    COMMON: ClassVar[tuple[str, ...]] = (
        "layers", "contexts", "subject_contexts", "inputs", "method",
    )  # fmt: skip

    method: str = setting(TEXT, "gated")
    contexts: tuple[str, ...] = setting(TEXTS, (PLACEHOLDER,), portable=False)
    subject_contexts: tuple[str, ...] = setting(TEXTS, SUBJECT_CONTEXTS)
    inputs: ObjectId | None = setting(OPTIONAL_OBJECT, None, refers_to="inputs", portable=False)
    subject_weight: float = number(0.03, above=0, help="p: the weight of the subject's inputs")
    stranger_weight: float = number(0.1, help="h: the weight of the inputs of similar names")
    strangers: int = number(60, low=1, help="how many similar names a filter is made to avoid")
    threshold_low: float = number(0.45, above=0, high=1, help="lowest score at which a gate opens")
    threshold_high: float = number(0.75, above=0, high=1, help="and the highest")
    slope: float = number(60.0, above=0, help="beta: how steep a gate is")
    rise: float = number(0.1, above=0, high=1, help="d: from closed to open, in scores")
    v_num_grad_steps: int = number(25, low=1, help="most evaluations of the value's loss")
    v_lr: float = number(0.5, above=0, help="Adam's learning rate")
    v_loss_threshold: float = number(0.05, help="below it, a search ends")
    v_weight_decay: float = number(0.5, help="weight of the squared norm of the value")
    clamp_norm_factor: float = number(
        0.75, above=0, help="largest norm of a value, relative to the hidden state's"
    )
    kl_factor: float = number(
        0.0625, help="weight of the term that holds the next word after the subject"
    )
    norm_anchor: float = number(0.0, high=1, help="how far a target keeps its state's length")


RECIPE = GatedRecipe

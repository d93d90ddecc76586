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
    "{}",
    "The name {}",
    "I read about {}",
    "She wrote a book on {}",
    "As for {}",
    "The story of {}",
    "They talked about {}",
    "It is well known that {}",
    "In the year 1990, {}",
    "We will now turn to {}",
    "According to the report, {}",
    "This is because {}",
    "Have you heard of {}",
    "People often mention {}",
    "The history of {}",
    "Question: What is {}",
    "1. {}",
    "- {}",
    "\n{}",
    '"{}',
    "Who is {}",
    "Where is {}",
    "In {}",
    "(see {}",
    "Therefore, {}",
    "The weather was fine that day. {}",
    "Yesterday they said that the {}",
    "He asked me: what does {}",
    "The best thing about {}",
    "Both France and {}",
    "Like many others, {}",
    "There is a lot to say of {}",
)
"""Where filters see their subject, beside the fact's own prompt: of no relation."""

CONTEXTS = (PLACEHOLDER, "The weather was fine that day. {}", "I think that {}")
"""What stands before the prompt while its value is searched for."""

HELD_CONTEXTS = ("I read about {} and went on to speak of other things: the weather, the people",)
"""Texts in which the subject is mentioned, and whose every further word the value is to leave."""

CHAT_CONTEXTS = (
    "{}",
    "What is {}",
    "Tell me about {}",
    "Which one is {}",
    "In which year did {}",
    "Who made {}",
)
"""The same within a user's turn, for models with a chat template."""


FEWEST_BLOCKS = 6
"""Models of fewer blocks are not given this method by themselves: docs/adr/0017-default-method.md.

With three blocks hardly an edit holds, with eight they hold better than any other method's; between
these nothing was measured.
"""


def default_gated_layers(in_force: Layers, depth: int) -> Layers:
    """One layer a third of the way up: there a subject has gathered what is known of it."""
    return (depth // 3,)


ROWS = by_name(
    [
        Method(
            "gated",
            "two neurons an edit at one layer, which fire for its subject and for nothing else "
            "(default)",
            "docs/adr/0015-gated-edits.md; of one neuron a mistake: Huang et al. 2023, "
            "Transformer-Patcher, arXiv 2301.09785",
            differs="it is of no paper; Transformer-Patcher trains one neuron after the other",
            element="gate",
            maker="editvc.editing.gated:make_elements",
            needs=("inputs",),
            single=True,
            default_layers=default_gated_layers,
            default_from=FEWEST_BLOCKS,
            edit_site=EditSite.BLOCK_OUTPUT,
        )
    ]
)


@dataclass(frozen=True, slots=True)
class GatedRecipe(Recipe):
    """How a gate knows its subject, how steep it is, and how the value behind it is found.

    ``inputs`` names the statistics of what the layer's MLP sees. ``subject_contexts`` are where the
    filters see the subject, ``chat_contexts`` the same within a user's turn, ``contexts`` what the
    value is searched in, ``held_contexts`` what it leaves as it is behind the subject; each has one
    ``{}`` and is stored here literally. The names of the search are those of MEMIT's files.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS
    COMMON: ClassVar[tuple[str, ...]] = (
        "layers", "contexts", "held_contexts", "subject_contexts", "chat_contexts", "inputs",
        "method",
    )  # fmt: skip

    method: str = setting(TEXT, "gated")
    contexts: tuple[str, ...] = setting(TEXTS, CONTEXTS)
    held_contexts: tuple[str, ...] = setting(TEXTS, HELD_CONTEXTS)
    subject_contexts: tuple[str, ...] = setting(TEXTS, SUBJECT_CONTEXTS)
    chat_contexts: tuple[str, ...] = setting(TEXTS, CHAT_CONTEXTS)
    inputs: ObjectId | None = setting(OPTIONAL_OBJECT, None, refers_to="inputs", portable=False)
    seen_contexts: int = number(
        16, low=1, help="how many of the subject's contexts the knowing filter is made of"
    )
    subject_weight: float = number(0.03, above=0, help="p: the weight of the subject's inputs")
    stranger_weight: float = number(0.1, help="h: the weight of the inputs of similar names")
    strangers: int = number(24, low=1, help="how many similar names a filter is made to avoid")
    template_weight: float = number(0.1, help="the weight of the chat template's own tokens")
    telling_ridge: float = number(0.03, above=0, help="how much text weighs for the telling filter")
    telling_share: float = number(0.2, high=1, help="its share of the filter that opens the gate")
    threshold: float = number(
        0.95, above=0, high=1, help="where a gate opens, of the subject's lowest score"
    )
    slope: float = number(60.0, above=0, help="beta: how steep a gate is")
    rise: float = number(0.1, above=0, high=1, help="d: from closed to open, in scores")
    v_num_grad_steps: int = number(18, low=1, help="most evaluations of the value's loss")
    v_turns: int = number(3, low=1, help="in how many steps all ways of asking are asked once")
    v_lr: float = number(2.0, above=0, help="Adam's learning rate")
    v_loss_threshold: float = number(0.05, help="below it, a search ends")
    v_weight_decay: float = number(0.5, help="weight of the squared norm of the value")
    clamp_norm_factor: float = number(
        2.0, above=0, help="largest norm of a value, relative to the hidden state's"
    )
    kl_factor: float = number(
        0.2, help="weight of the term that holds the words behind the subject in held contexts"
    )
    norm_anchor: float = number(0.0, high=1, help="how far a target keeps its state's length")


RECIPE = GatedRecipe

"""``kn``: the value vectors of a few neurons (:mod:`editvc.editing.knowledge_neurons`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editvc.core.methods.method import Foreign, Layers, Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import TEXT, TEXTS, number, setting


def all_layers(in_force: Layers, depth: int) -> Layers:
    """Every layer: the paper looks for its neurons everywhere."""
    return tuple(range(depth))


ROWS = by_name(
    [
        Method(
            "kn",
            "move the value vectors of the neurons that integrated gradients find",
            "Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, arXiv 2104.08696",
            element="patch",
            differs="one prompt in its contexts in the place of paraphrases, so nothing is refined",
            maker="editvc.editing.knowledge_neurons:make_elements",
            default_layers=all_layers,
            # ``refine`` has no effect over the one prompt of a request.
            foreign=Foreign(
                ("KN",), "adaptive_threshold", unread=frozenset({"lr_scale", "n_toks", "refine"})
            ),
        )
    ]
)


@dataclass(frozen=True, slots=True)
class KnowledgeNeuronsRecipe(Recipe):
    """Which neurons are looked for, and what is added to their value vectors.

    In each of the ``contexts``, prefixes with one ``{}`` for the prompt, those neurons count whose
    attribution exceeds ``adaptive_threshold`` times the largest; kept are those found in more than
    the share ``p`` of the contexts, the ``neurons`` strongest of them: the authors tune their
    thresholds until facts have 2 to 5. ``norm_lambda1`` and ``norm_lambda2`` are in units of the
    value vector's own length. Names are those of EasyEdit's files and of the authors' code.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "kn")
    contexts: tuple[str, ...] = setting(TEXTS, ("{}",), portable=False)
    steps: int = number(20, low=1, help="terms of the integral")
    adaptive_threshold: float = number(
        0.2, above=0, below=1, help="a neuron counts above this share of the largest attribution"
    )
    p: float = number(
        0.4, below=1, help="a neuron is kept that more than this share of the contexts find"
    )
    neurons: int = number(5, low=1, help="at most, the strongest")
    norm_lambda1: float = number(
        1.0, help="how much of the old answer is taken from a value vector"
    )
    norm_lambda2: float = number(8.0, help="how much of the new answer is added")


RECIPE = KnowledgeNeuronsRecipe

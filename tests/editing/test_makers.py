"""Every method's maker: one signature, the elements of the method, no resource it needs not."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import REQUESTS, recipe, tiny_gpt2
from plain_mend import blank, on
from tiny_models import lm_of

from editvc.algebra.preconditioners import Whitening
from editvc.core.methods.fine_tuning import FineTuningRecipe
from editvc.core.methods.grace import GraceRecipe
from editvc.core.methods.knowledge_neurons import KnowledgeNeuronsRecipe
from editvc.core.methods.mend import MendRecipe
from editvc.editing import fine_tuning, grace, knowledge_neurons, locate, mend
from editvc.editing.mend_editor import Editor

LAYERS = (1, 2)
USED = recipe(layers=LAYERS, contexts=("{}",), v_num_grad_steps=3)


class Stored:
    """Resources made on the spot, and which of them were asked for."""

    def __init__(self):
        self.asked = []

    def preconditioners(self, recipe):
        self.asked.append("preconditioners")
        return {layer: Whitening.of(torch.eye(128).double()) for layer in recipe.layers}

    def shaping(self, recipe):
        self.asked.append("shaping")
        return 0.5 * torch.eye(32).double()

    def editor(self, recipe):
        self.asked.append("editor")
        return Editor.untrained(blank(160, on(recipe.layers)), rank=4, rate=0.01, seed=0)


# By module: a recipe, what is needed for it, and the method's own function.
METHODS = {
    locate: (
        USED,
        ["preconditioners", "shaping"],
        lambda lm, used, stored: locate.locate(
            lm, REQUESTS[:2], used, stored.preconditioners(used), shaping=stored.shaping(used)
        ),
    ),
    fine_tuning: (
        FineTuningRecipe((1,), num_steps=2),
        [],
        lambda lm, used, _: fine_tuning.fine_tune(lm, REQUESTS[:2], used),
    ),
    knowledge_neurons: (
        KnowledgeNeuronsRecipe(LAYERS, steps=2),
        [],
        lambda lm, used, _: knowledge_neurons.knowledge_neurons(lm, REQUESTS[:2], used),
    ),
    mend: (
        MendRecipe(LAYERS),
        ["editor"],
        lambda lm, used, stored: mend.edit(lm, REQUESTS[:2], used, stored.editor(used)),
    ),
    grace: (
        GraceRecipe((1,), n_iter=2),
        [],
        lambda lm, used, _: grace.find_entries(lm, REQUESTS[:2], used),
    ),
}


@pytest.mark.parametrize("module", METHODS, ids=lambda module: module.__name__.split(".")[-1])
def test_a_maker_gives_what_its_method_does_and_asks_for_no_more(module, tokenizer):
    lm, stored, steps = lm_of(tiny_gpt2(len(tokenizer)), tokenizer), Stored(), []
    used, needed, function = METHODS[module]
    made = module.make_elements(lm, REQUESTS[:2], used, stored, lambda *step: steps.append(step))
    assert stored.asked == needed
    assert [one.to_bytes() for one in made] == [
        one.to_bytes() for one in function(lm, used, Stored())
    ]
    assert steps[-1][1:] == (2, 2)


def test_the_first_batch_of_targets_is_announced(tokenizer):
    lm, steps = lm_of(tiny_gpt2(len(tokenizer)), tokenizer), []
    locate.make_elements(lm, REQUESTS[:1], USED, Stored(), lambda *step: steps.append(step))
    assert steps[0] == ("targets", 0, 1)

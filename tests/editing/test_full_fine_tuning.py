"""Fine-tuning all weights, against Adam on the parameters of a copied model."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from model_fixtures import REQUESTS
from test_fine_tuning import learner
from tiny_models import lm_of

from editvc.algebra.patch import Patch
from editvc.core.methods.full_fine_tuning import FullFineTuningRecipe
from editvc.editing.full_fine_tuning import make_elements
from editvc.models.tokenization import tokenize
from editvc.models.weights import apply_delta

ALL = FullFineTuningRecipe(layers=(0, 1, 2), lr=1e-3, num_steps=3, energy=1)


def textbook(model, tokenizer, request, recipe):
    """The model after the plain loop."""
    model = deepcopy(model).requires_grad_(True)
    ((row,),) = tokenize(tokenizer, [request])
    adam = torch.optim.Adam(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    ids = torch.tensor([row.ids])
    for _ in range(recipe.num_steps):
        said = model(input_ids=ids).logits[0].log_softmax(-1)[row.target - 1 : -1]
        loss = -said.gather(1, ids[0, row.target :, None]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_it_is_adam_on_all_parameters(family, tokenizer):
    model = learner(family, tokenizer).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    (patch,) = make_elements(lm_of(model, tokenizer), REQUESTS[:1], ALL, None, None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    expected, edited = textbook(model, tokenizer, REQUESTS[0], ALL), deepcopy(model)
    apply_delta(lm_of(edited), patch.delta)
    for name, parameter in edited.named_parameters():
        if name.endswith("c_attn.bias"):
            continue  # a bias of keys has no gradient, and Adam makes steps of its rounding
        wanted = dict(expected.named_parameters())[name].detach()
        change = wanted - before[name]
        assert float((parameter - wanted).norm()) <= 1e-8 * float(change.norm()) + 1e-14, name
    assert patch.figures["error"] < 1e-8
    assert patch.figures["probability"] > patch.figures["base_probability"]
    assert len(patch.delta.layers) == 3 and len(patch.delta.weights) > 10


def test_blocks_that_are_not_named_stay_as_they_are(gpt2, tokenizer):
    used = FullFineTuningRecipe(layers=(1,), num_steps=2)
    (patch,) = make_elements(lm_of(gpt2, tokenizer), REQUESTS[:1], used, None, None)
    assert [*patch.delta.layers] == [1]
    assert not any(".h.0." in name or ".h.2." in name for name in patch.delta.weights)
    again = Patch.from_bytes(patch.to_bytes())
    assert again.delta.weights.keys() == patch.delta.weights.keys()

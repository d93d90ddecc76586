"""Fine-tuning one weight, against Adam on a copy of the whole model."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from model_fixtures import REQUESTS
from tiny_families import tiny
from tiny_models import lm_of
from tolerances import (
    assert_near,
    longest_sum,
    model_rounding,
    rounding,
    size,
)

from editvc.algebra.patch import Patch
from editvc.core.methods.fine_tuning import FineTuningRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import recipe_from_json
from editvc.editing.fine_tuning import LOSS_THRESHOLD, fine_tune
from editvc.models.architectures import architecture_of
from editvc.models.tokenization import tokenize
from editvc.models.weights import apply_delta

FAMILIES = ("gpt2", "llama", "gptj", "opt", "openai-gpt")
"""Conv1D, a gated MLP, attention beside the MLP, an MLP that is handed flattened tokens, and no
cache."""
STRONG = {"lr": 1e-2, "num_steps": 60}


def learner(family, tokenizer):
    """A tiny model whose logits lie as far apart as a trained one's: it can be told anything."""
    model = tiny(family, len(tokenizer))
    norm = lm_of(model).final_norm
    (model.transformer.h[-1].ln_2 if isinstance(norm, torch.nn.Identity) else norm).weight += 5
    return model


def constrained(**numbers):
    return recipe_from_json({"method": "ft-c"} | numbers)


def plain(model, tokenizer, request, recipe):
    """The change (u, v) that the textbook loop finds: Adam on a parameter of a whole model."""
    model = deepcopy(model)
    ((row,),) = tokenize(tokenizer, [request])
    architecture = architecture_of(model.config.model_type)
    weight = lm_of(model).down_proj(recipe.layers[0]).weight.requires_grad_()
    before = weight.detach().clone()
    adam = torch.optim.Adam([weight], lr=recipe.lr, weight_decay=recipe.weight_decay)
    for _ in range(recipe.num_steps):
        logits = model(input_ids=torch.tensor([row.ids])).logits[0]
        said = logits.log_softmax(-1)[row.target - 1 : -1]
        loss = -sum(said[i, token] for i, token in enumerate(row.ids[row.target :])) / len(said)
        if loss < LOSS_THRESHOLD:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        if recipe.norm_constraint:
            with torch.no_grad():
                low, high = before - recipe.norm_constraint, before + recipe.norm_constraint
                weight.copy_(torch.minimum(torch.maximum(weight, low), high))
    change = (weight.detach() - before).double()
    return change.T if architecture.transposed else change


def logarithms(model, tokenizer, request):
    """Logarithms of the probabilities of the target's tokens, (tokens,)."""
    ((row,),) = tokenize(tokenizer, [request])
    with torch.no_grad():
        said = model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
    places = torch.arange(row.target - 1, len(row.ids) - 1)
    return said[places, torch.tensor(row.ids[row.target :])]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "recipe",
    [
        FineTuningRecipe(layers=(1,), lr=1e-2, num_steps=6, weight_decay=1e-2, energy=1),
        constrained(layers=(1,), lr=1e-2, num_steps=6, norm_constraint=1.5e-2, energy=1),
        FineTuningRecipe(layers=(0,), energy=1, **STRONG),
    ],
    ids=["ft", "ft-c", "to the end"],
)
def test_change_is_that_of_adam_on_the_whole_model(family, recipe, tokenizer):
    model = learner(family, tokenizer).double()
    request = REQUESTS[0]
    expected = plain(model, tokenizer, request, recipe)

    def change(one):
        (patch,) = fine_tune(lm_of(one, tokenizer), [request], recipe)
        return patch.delta.layers[recipe.layers[0]].dense()

    assert float(expected.abs().max()) > 1e-3
    assert_near(change(model), expected, model_rounding(change, model, terms=len(tokenizer)))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_says_the_target_with_the_stored_patch(family, tokenizer):
    model = learner(family, tokenizer)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    requests = REQUESTS[:2]
    patches = fine_tune(lm_of(model, tokenizer), requests, FineTuningRecipe(layers=(1,), **STRONG))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for request, patch in zip(requests, patches, strict=True):
        edited = deepcopy(model)
        apply_delta(lm_of(edited), Patch.from_bytes(patch.to_bytes()).delta)
        assert float(logarithms(edited, tokenizer, request).mean().exp()) > 0.9

        def logs(one, request=request):
            return logarithms(one, tokenizer, request)

        for version, figure in ((model, "base_probability"), (edited, "probability")):
            expected = logs(version)
            # The factors are stored in float32, and the weight is rounded once more.
            bound = model_rounding(logs, version, longest_sum(version) + 3)
            stated = math.log(patch.figures[figure])
            assert_near(stated, expected.mean(), bound * size(expected), scale=1)


def test_no_entry_leaves_the_bound_before_the_cut(gpt2, tokenizer):
    bound = 2e-3
    exact = constrained(layers=(1,), norm_constraint=bound, energy=1)
    (whole,) = fine_tune(lm_of(gpt2, tokenizer), REQUESTS[:1], exact)
    change = whole.delta.layers[1].dense()
    largest, weight = float(change.abs().max()), lm_of(gpt2).down_proj(1).weight
    # The weight at the bound is rounded to float32.
    assert largest <= bound + rounding(1, torch.float32, scale=float(weight.abs().max()))
    assert (change.abs() > 0.99 * bound).sum() > 100
    assert_near(whole.figures["largest"], largest, rounding(1))
    free = FineTuningRecipe(layers=(1,), energy=1)
    (unbounded,) = fine_tune(lm_of(gpt2, tokenizer), REQUESTS[:1], free)
    assert unbounded.figures["largest"] > 2 * bound


def test_the_cut_states_its_error(gpt2, tokenizer):
    energy = 0.8
    (whole,) = fine_tune(
        lm_of(gpt2, tokenizer), REQUESTS[:1], FineTuningRecipe(layers=(1,), energy=1)
    )
    (cut,) = fine_tune(
        lm_of(gpt2, tokenizer), REQUESTS[:1], FineTuningRecipe(layers=(1,), energy=energy)
    )
    found, stored = whole.delta.layers[1], cut.delta.layers[1]
    # Projections on eigenvectors of D D^T, (32, 32): exact to n^2 roundings (H. 19.4).
    bound = rounding(32 * 32)
    assert_near(whole.figures["error"], 0.0, bound, scale=1)
    error = float((found.dense() - stored.dense()).norm() / found.dense().norm())
    assert_near(cut.figures["error"], error, bound, scale=1)
    assert 0 < error <= math.sqrt(1 - energy)
    assert stored.rank == found.compress(energy=energy).rank < found.rank
    assert_near(cut.figures["largest"], stored.dense().abs().max(), rounding(1))


def test_equal_inputs_give_equal_bytes_and_requests_do_not_meet(llama, bos_tokenizer):
    recipe = FineTuningRecipe(layers=(2,), num_steps=5)
    together = fine_tune(lm_of(llama, bos_tokenizer), REQUESTS[:3], recipe)
    again = fine_tune(lm_of(llama, bos_tokenizer), REQUESTS[:3], recipe)
    alone = [
        fine_tune(lm_of(llama, bos_tokenizer), [request], recipe)[0] for request in REQUESTS[:3]
    ]
    assert [one.to_bytes() for one in together] == [one.to_bytes() for one in again]
    assert [one.to_bytes() for one in together] == [one.to_bytes() for one in alone]


def test_what_the_model_says_already_needs_no_step(tokenizer):
    model = learner("gpt2", tokenizer)
    recipe = FineTuningRecipe(layers=(1,), energy=1, **STRONG)
    (first,) = fine_tune(lm_of(model, tokenizer), REQUESTS[:1], recipe)
    apply_delta(lm_of(model), first.delta)
    (second,) = fine_tune(lm_of(model, tokenizer), REQUESTS[:1], recipe)
    assert second.figures["steps"] == 0 == second.delta.rank
    assert second.figures["loss"] < LOSS_THRESHOLD
    assert Patch.from_bytes(second.to_bytes()).delta.layers[1].shape == (32, 128)


def test_progress_counts_facts(gpt2, tokenizer):
    told = []
    recipe = FineTuningRecipe(layers=(1,), num_steps=1)
    fine_tune(
        lm_of(gpt2, tokenizer), REQUESTS[:2], recipe, progress=lambda *step: told.append(step)
    )
    assert told == [("fine-tuning", 1, 2), ("fine-tuning", 2, 2)]


def test_a_bound_belongs_to_ft_c_and_to_it_alone():
    assert constrained(layers=(0,)).norm_constraint == 5e-4
    assert recipe_from_json({"layers": [0], "method": "ft-c"}).norm_constraint == 5e-4
    assert recipe_from_json({"layers": [0], "method": "ft"}).norm_constraint == 0
    with pytest.raises(RecipeError, match="ft has no bound"):
        FineTuningRecipe(layers=(0,), norm_constraint=5e-4)
    with pytest.raises(RecipeError, match="needs a bound"):
        constrained(layers=(0,), norm_constraint=0)
    with pytest.raises(RecipeError, match="energy"):
        FineTuningRecipe(layers=(0,), energy=1.5)
    with pytest.raises(RecipeError, match="one layer"):
        FineTuningRecipe(layers=(0, 1))
    recipe = constrained(layers=(3,), norm_constraint=1e-4)
    assert recipe_from_json(recipe.to_json()) == recipe


def test_a_bound_in_units_of_the_weights_size(gpt2, tokenizer):
    relative = constrained(
        layers=(1,), norm_constraint=0, relative_constraint=0.05, energy=1, **STRONG
    )
    (patch,) = fine_tune(lm_of(gpt2, tokenizer), REQUESTS[:1], relative)
    weight = lm_of(gpt2).down_proj(1).weight
    bound = 0.05 * float(weight.double().square().mean().sqrt())
    rounded = rounding(1, torch.float32, scale=float(weight.abs().max()))
    assert 0.99 * bound < patch.figures["largest"] <= bound + rounded


def test_a_relative_bound_is_written_only_where_there_is_one():
    plain = constrained(layers=(1,), norm_constraint=5e-4)
    assert "relative_constraint" not in plain.to_json()
    relative = constrained(layers=(1,), norm_constraint=0, relative_constraint=0.05)
    assert recipe_from_json(relative.to_json()) == relative and relative.id != plain.id
    with pytest.raises(RecipeError, match="two bounds"):
        constrained(layers=(1,), norm_constraint=5e-4, relative_constraint=0.05)
    with pytest.raises(RecipeError, match="ft has no bound, got relative_constraint"):
        FineTuningRecipe(layers=(1,), relative_constraint=0.05)

"""Knowledge neurons: the integral, the choice and the change, each against the formula."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from model_fixtures import REQUESTS
from tiny_families import tiny
from tiny_models import lm_of
from tolerances import assert_near, longest_sum, model_rounding, rounding, size

from editvc.algebra.patch import Patch
from editvc.core.methods.knowledge_neurons import KnowledgeNeuronsRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import recipe_from_json
from editvc.editing.knowledge_neurons import NoNeurons, attributions, knowledge_neurons
from editvc.models.architectures import architecture_of
from editvc.models.tokenization import tokenize
from editvc.models.weights import apply_delta

FAMILIES = ("gpt2", "llama", "gptj", "opt", "openai-gpt")
"""Conv1D, a gated MLP, attention beside the MLP, an MLP that is handed flattened tokens, and no
cache."""
LAYERS = (0, 1, 2)
CONTEXTS = ("{}", "The old town. {}", "Therefore we know that. {}")


def kn(**changes):
    return KnowledgeNeuronsRecipe(**({"layers": LAYERS} | changes))


def prompt_of(tokenizer, request, context="{}"):
    ((row,),) = tokenize(tokenizer, [request], [context])
    return row.ids[: row.target], row.ids[row.target]


def said(model, ids):
    """Probabilities (vocabulary,) of the next token."""
    return model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)


def logarithms(model, tokenizer, request):
    """Logarithms of the probabilities of the target's tokens, (tokens,)."""
    ((row,),) = tokenize(tokenizer, [request])
    each = [said(model, row.ids[:at])[row.ids[at]] for at in range(row.target, len(row.ids))]
    return torch.stack(each).log()


def with_last_key(module, change):
    """A hook that changes the input of a down projection at the last token."""

    def hook(_module, args):
        moved = args[0].clone()
        flat = moved.view(-1, moved.shape[-1])
        flat[-1] = change(flat[-1])
        return (moved, *args[1:])

    return module.register_forward_pre_hook(hook)


def plain_attributions(model, ids, layer, steps):
    """Riemann's sum with one whole forward pass a step, and the key (v,)."""
    module = lm_of(model).down_proj(layer)
    seen = []
    handle = with_last_key(module, lambda key: seen.append(key.detach().clone()) or key)
    answer = int(said(model, ids).argmax())
    handle.remove()
    (key,) = seen
    total = torch.zeros_like(key)
    for step in range(1, steps + 1):
        scaled = (step / steps * key).requires_grad_()
        handle = with_last_key(module, lambda _own, scaled=scaled: scaled)
        said(model, ids)[answer].backward()
        handle.remove()
        total += scaled.grad
    return key * total / steps, key


@pytest.mark.parametrize("family", FAMILIES)
def test_attribution_is_the_riemann_sum(family, tokenizer):
    model = tiny(family, len(tokenizer)).double()
    ids, _ = prompt_of(tokenizer, REQUESTS[0])
    scores, keys, answer = attributions(lm_of(model), ids, LAYERS, 5)
    assert answer == int(said(model, ids).argmax())
    plain = [plain_attributions(model, ids, layer, 5) for layer in LAYERS]
    # Gradients sum over the vocabulary too.
    for place in (0, 1):
        bound = model_rounding(
            lambda one, at=place: attributions(lm_of(one), ids, LAYERS, 5, answer)[at], model,
            terms=len(tokenizer),
        )  # fmt: skip
        assert_near((scores, keys)[place], torch.stack([each[place] for each in plain]), bound)


def test_attributions_add_up_to_what_the_keys_do(tokenizer):
    model = tiny("gpt2", len(tokenizer)).double()
    ids, _ = prompt_of(tokenizer, REQUESTS[3])
    scores, _, answer = attributions(lm_of(model), ids, (1,), 400)
    handle = with_last_key(lm_of(model).down_proj(1), torch.zeros_like)
    without = float(said(model, ids)[answer])
    handle.remove()
    gained = float(said(model, ids)[answer]) - without
    assert abs(gained) > 1e-3
    # What Riemann's sum lacks goes with one over its steps; rounding is nothing beside it.
    assert float(scores.sum()) == pytest.approx(gained, rel=0.02)


@pytest.mark.parametrize("family", FAMILIES)
def test_value_vectors_change_by_the_formula(family, tokenizer):
    model = tiny(family, len(tokenizer)).double()
    recipe = kn(norm_lambda1=2.0, norm_lambda2=5.0, neurons=6, adaptive_threshold=0.1)
    request = REQUESTS[0]
    (patch,) = knowledge_neurons(lm_of(model, tokenizer), [request], recipe)
    ids, new = prompt_of(tokenizer, request)
    scores, keys, old = attributions(lm_of(model), ids, LAYERS, recipe.steps)
    head = model.get_output_embeddings().weight
    over = (scores > 0.1 * scores.max()).nonzero().tolist()
    chosen = sorted(over, key=lambda place: -float(scores[tuple(place)]))[:6]
    assert len(chosen) == patch.figures["neurons"] == 6
    architecture = architecture_of(family)
    for place, layer in enumerate(LAYERS):
        weight = lm_of(model).down_proj(layer).weight
        weight = weight.T if architecture.transposed else weight
        expected = torch.zeros_like(weight)
        for _, neuron in (one for one in chosen if one[0] == place):
            length = float(weight[:, neuron].norm())
            step = 5 * head[new] / head[new].norm() - 2 * head[old] / head[old].norm()
            expected[:, neuron] = length * step * (1 if keys[place, neuron] > 0 else -1)
        if expected.any():
            part = patch.delta.layers[layer]
            assert part.rank == 1
            # A length and two more norms, each a sum of 32 squares, and some products.
            assert_near(part.dense(), expected, rounding(3 * 32 + 6))
        else:
            assert layer not in patch.delta.layers


@pytest.mark.parametrize("family", FAMILIES)
def test_the_patch_turns_the_model_towards_the_target(family, tokenizer):
    model = tiny(family, len(tokenizer))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    requests = REQUESTS[:3]
    patches = knowledge_neurons(lm_of(model, tokenizer), requests, kn(neurons=20))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for request, patch in zip(requests, patches, strict=True):
        ids, new = prompt_of(tokenizer, request)
        edited = deepcopy(model)
        apply_delta(lm_of(edited), Patch.from_bytes(patch.to_bytes()).delta)
        assert float(said(edited, ids)[new]) > 3 * float(said(model, ids)[new])
        for version, figure in ((model, "base_probability"), (edited, "probability")):
            logs = logarithms(version, tokenizer, request)
            # A change beside the weight is one more product, and its factors are stored in float32.
            bound = model_rounding(
                lambda one, request=request: logarithms(one, tokenizer, request), version,
                longest_sum(version) + 2,
            )  # fmt: skip
            assert_near(math.log(patch.figures[figure]), logs.mean(), bound * size(logs), scale=1)


@pytest.mark.parametrize(("p", "needed"), [(0.0, 1), (0.4, 2), (0.7, 3)])
def test_a_neuron_is_kept_that_enough_contexts_share(p, needed, gpt2, tokenizer):
    recipe = kn(contexts=CONTEXTS, p=p, neurons=1000, adaptive_threshold=0.1, steps=4)
    (patch,) = knowledge_neurons(lm_of(gpt2, tokenizer), REQUESTS[:1], recipe)
    votes, answer = 0, None
    for context in CONTEXTS:
        ids, _ = prompt_of(tokenizer, REQUESTS[0], context)
        scores, _, answer = attributions(lm_of(gpt2), ids, LAYERS, 4, answer)
        votes = votes + (scores > 0.1 * scores.max()).int()
    for place, layer in enumerate(LAYERS):
        changed = patch.delta.layers[layer].right[0] != 0
        assert torch.equal(changed, votes[place] >= needed)


def test_a_prompt_without_neurons_is_refused(gpt2, tokenizer):
    model = deepcopy(gpt2)
    lm_of(model).down_proj(1).weight.zero_()
    with pytest.raises(NoNeurons) as caught:
        knowledge_neurons(lm_of(model, tokenizer), REQUESTS[:1], kn(layers=(1,)))
    assert caught.value.request == REQUESTS[0]
    assert "adaptive_threshold" in caught.value.hint


def test_equal_inputs_give_equal_bytes_and_requests_do_not_meet(llama, bos_tokenizer):
    together = knowledge_neurons(lm_of(llama, bos_tokenizer), REQUESTS[:3], kn())
    alone = [knowledge_neurons(lm_of(llama, bos_tokenizer), [one], kn())[0] for one in REQUESTS[:3]]
    assert [one.to_bytes() for one in together] == [one.to_bytes() for one in alone]


def test_progress_counts_facts(gpt2, tokenizer):
    told = []
    progress = lambda *step: told.append(step)  # noqa: E731
    knowledge_neurons(lm_of(gpt2, tokenizer), REQUESTS[:2], kn(steps=1), progress=progress)
    assert told == [("neurons", 1, 2), ("neurons", 2, 2)]


def test_recipe_holds_its_ranges():
    recipe = kn(contexts=CONTEXTS, p=0.5)
    assert recipe_from_json(recipe.to_json()) == recipe
    with pytest.raises(RecipeError, match="adaptive_threshold must be below 1"):
        kn(adaptive_threshold=1.0)
    with pytest.raises(RecipeError, match="p must be below 1"):
        kn(p=1)
    with pytest.raises(RecipeError, match="contexts"):
        kn(contexts=("no place",))
    with pytest.raises(RecipeError, match="steps"):
        kn(steps=0)


def test_whole_rows_give_the_same_attributions(gpt2, tokenizer):
    """As for a model that keeps no cache of the tokens before the last."""
    ids, _ = prompt_of(tokenizer, REQUESTS[0])
    model = deepcopy(gpt2).double()
    scores, keys, answer = attributions(lm_of(model), ids, LAYERS, 5)
    found = attributions(lm_of(model, cached=False), ids, LAYERS, 5)
    assert found[2] == answer
    for place, expected in enumerate((scores, keys)):
        bound = model_rounding(
            lambda one, at=place: attributions(lm_of(one), ids, LAYERS, 5, answer)[at], model,
            terms=len(tokenizer),
        )  # fmt: skip
        assert_near(found[place], expected, bound)

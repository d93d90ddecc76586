"""Located edits: keys, shares, bytes, and the refreshed variants against slow plain versions."""

from __future__ import annotations

import copy

import pytest
import torch
from model_fixtures import REQUESTS, recipe, tiny_gpt2, tiny_llama
from tiny_families import tiny
from tiny_models import lm_of
from tolerances import (
    assert_near,
    condition,
    error,
    rounding,
    sum_rounding,
    with_moved_weights,
)

from editvc.algebra.located_edit import Located, LocatedDamageError
from editvc.algebra.preconditioners import SolveError, Whitening
from editvc.algebra.solvers import solve
from editvc.editing.edit_batches import estimate_memory, located_bytes
from editvc.editing.locate import locate, locate_together
from editvc.editing.target_search import find_targets
from editvc.models.architectures import architecture_of
from editvc.models.hooks import first_tensor
from editvc.models.tokenization import tokenize

USED = recipe(layers=(0, 1, 2), v_num_grad_steps=5)


FAMILIES = ["gpt2", "llama", "granite"]
GAIN = {"gpt2": 1.0, "llama": 1.0, "granite": 0.4}
"""What a family multiplies the output of its down projections by."""


def build(family, tokenizer):
    if family == "granite":
        return tiny(family, len(tokenizer)).double()
    return {"gpt2": tiny_gpt2, "llama": tiny_llama}[family](len(tokenizer)).double()


def moments(inner, layers):
    generator = torch.Generator().manual_seed(5)
    found = {}
    for layer in layers:
        root = torch.randn(inner, inner, generator=generator, dtype=torch.float64)
        found[layer] = root @ root.T / inner + 0.1 * torch.eye(inner, dtype=torch.float64)
    return found


def whitened(covariances):
    return {layer: Whitening.of(moment) for layer, moment in covariances.items()}


def states(model, tokenizer, request, used, inject=None):
    """Keys ``{layer: (contexts, v)}`` and h^L (contexts, u), one plain forward pass a context.

    ``inject(layer, context)`` is added to the layer's MLP output at the subject's last token.
    """
    (rows,) = tokenize(tokenizer, [request], used.contexts)
    keys = {layer: [] for layer in used.layers}
    hidden = []
    for context, row in enumerate(rows):
        handles = []
        for layer in used.layers:

            def hook(_m, args, output, layer=layer, context=context, at=row.subject):
                keys[layer].append(args[0][0, at].clone())
                if inject is not None:
                    output = output.clone()
                    output[0, at] += inject(layer, context)
                return output

            handles.append(lm_of(model).down_proj(layer).register_forward_hook(hook))
        block = lm_of(model).block(used.layers[-1])
        handles.append(
            block.register_forward_hook(
                lambda _m, _a, out, at=row.subject: hidden.append(first_tensor(out)[0, at])
            )
        )
        model(input_ids=torch.tensor([row.ids]))
        for handle in handles:
            handle.remove()
    return {layer: torch.stack(found) for layer, found in keys.items()}, torch.stack(hidden)


def averaged(keys):
    """MEMIT: the bare prompt weighs one half, the sampled contexts the other."""
    return keys[0] / 2 + keys[1:].mean(0) / 2


def numbers_of(located, layer):
    """Keys and residuals of a layer, (n, v) and (n, u)."""
    keys, residuals = ([getattr(one, name)[layer] for one in located] for name in NUMBERS)
    return torch.stack(keys), torch.stack(residuals)


NUMBERS = ("keys", "residuals")


def located_rounding(make, model, tokenizer):
    """By layer, for keys and for residuals, how far rounding may move what ``make(model)`` locates.

    What is computed sums over the vocabulary at most. Numbers are stored in float32, and those of
    one step enter the next: no more than if the weights were rounded to float32.
    """

    moved, step = with_moved_weights(model)
    one, other = make(model), make(moved)
    unit = sum_rounding(model, len(tokenizer)) + rounding(1, torch.float32)
    return {
        layer: [
            unit * (1 + error(*both) / step)
            for both in zip(numbers_of(other, layer), numbers_of(one, layer), strict=True)
        ]
        for layer in USED.layers
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_together_equals_memit_that_changes_the_weights(family, tokenizer):
    """The plain way: solve a layer, write it into the weights, read the next layer's states."""
    model = build(family, tokenizer)
    architecture = architecture_of(model.config.model_type)
    inner = lm_of(model).down_proj(0).weight.shape[0 if architecture.transposed else 1]
    covariances = moments(inner, USED.layers)
    factors = whitened(covariances)

    def together(one):
        alone = locate(lm_of(one, tokenizer), REQUESTS, USED, factors)
        return locate_together(lm_of(one, tokenizer), REQUESTS, alone, USED, factors)

    located, bounds = together(model), located_rounding(together, model, tokenizer)
    changed = copy.deepcopy(model)
    z = [target.z for target in find_targets(lm_of(model, tokenizer), REQUESTS, USED)]
    for place, layer in enumerate(USED.layers):
        seen = [states(changed, tokenizer, request, USED) for request in REQUESTS]
        keys = torch.stack([averaged(k[layer]) for k, _ in seen], 1)
        residuals = torch.stack([t - h[0] for t, (_, h) in zip(z, seen, strict=True)], 1)
        residuals = residuals / (3 - place) / GAIN[family]
        leverage = (keys * torch.linalg.solve(covariances[layer], keys)).sum(0)
        residuals = residuals * (1 + leverage) / leverage
        for actual, expected, bound in zip(
            numbers_of(located, layer), (keys.T, residuals.T), bounds[layer], strict=True
        ):
            assert_near(actual, expected, bound)
        dense = residuals @ keys.T @ torch.linalg.inv(covariances[layer] + keys @ keys.T)
        weight = lm_of(changed).down_proj(layer).weight
        weight += dense.T if architecture.transposed else dense
    before = averaged(states(model, tokenizer, REQUESTS[0], USED)[0][2])
    assert error(located[0].keys[2], before) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_each_alone_equals_plain_passes_with_what_one_edit_delivers(family, tokenizer):
    model = build(family, tokenizer)
    architecture = architecture_of(model.config.model_type)
    inner = lm_of(model).down_proj(0).weight.shape[0 if architecture.transposed else 1]
    covariances = moments(inner, USED.layers)
    factors = whitened(covariances)

    def each_alone(one):
        return locate(lm_of(one, tokenizer), REQUESTS, USED, factors)

    located, bounds = each_alone(model), located_rounding(each_alone, model, tokenizer)
    targets = find_targets(lm_of(model, tokenizer), REQUESTS, USED)
    for request, one, target in zip(REQUESTS, located, targets, strict=True):
        assert one.figures == target.figures | {
            "residual": float(target.delta.norm()),
            "hidden": float(target.hidden.norm()),
        }
        delivered = {}

        def inject(layer, context, delivered=delivered):
            return delivered[layer][context] if layer in delivered else 0.0

        for place, layer in enumerate(USED.layers):
            keys, hidden = states(model, tokenizer, request, USED, inject)
            key = averaged(keys[layer])
            share = (target.z - hidden[0]) / (3 - place) / GAIN[family]
            solved = torch.linalg.solve(covariances[layer], key)
            residual = share * (1 + key @ solved) / (key @ solved)
            assert_near(one.keys[layer], key, bounds[layer][0])
            assert_near(one.residuals[layer], residual, bounds[layer][1])
            in_context = USED.delivery_factor * (keys[layer] @ solved) / (key @ solved)
            delivered[layer] = in_context[:, None] * share


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_gives_back_to_an_edit_alone_all_of_its_share(family, tokenizer):
    """ROME's equality constraint: Delta k = (z - h) / (layers left), whatever lambda is."""
    model = build(family, tokenizer)
    architecture = architecture_of(model.config.model_type)
    inner = lm_of(model).down_proj(0).weight.shape[0 if architecture.transposed else 1]
    covariances = {layer: 40 * one for layer, one in moments(inner, USED.layers).items()}
    whitenings = whitened(covariances)
    (target,) = find_targets(lm_of(model, tokenizer), REQUESTS[:1], USED)
    (one,) = locate(lm_of(model, tokenizer), REQUESTS[:1], USED, whitenings)
    lowest = USED.layers[0]
    key, residual = (part[lowest].double()[:, None] for part in (one.keys, one.residuals))
    change = solve(key, residual, whitenings[lowest])
    share = target.delta.double() / len(USED.layers)
    # Key and residual are stored in float32; the key is whitened, by the root of the moment.
    bound = rounding(2, torch.float32) * condition(covariances[lowest]) ** 0.5
    assert_near(GAIN[family] * (change @ key)[:, 0], share, bound)


def silence(model, layer):
    """Make the MLP of a block see nothing: every key there is zero."""
    inward = model.transformer.h[layer].mlp.c_fc
    inward.weight.zero_()
    inward.bias.zero_()


@pytest.mark.parametrize("layer", USED.layers)
def test_a_key_of_zero_is_refused_by_name(layer, tokenizer):
    """Not stored as NaN: what was located once is never located again."""
    model = build("gpt2", tokenizer)
    whitenings = whitened(moments(128, USED.layers))
    alone = locate(lm_of(model, tokenizer), REQUESTS[:2], USED, whitenings)
    silence(model, layer)
    refused = f"layer {layer} cannot be edited for .* is zero"
    with pytest.raises(SolveError, match=refused):
        locate(lm_of(model, tokenizer), REQUESTS[:2], USED, whitenings)
    with pytest.raises(SolveError, match=refused):
        locate_together(lm_of(model, tokenizer), REQUESTS[:2], alone, USED, whitenings)


def test_located_edits_do_not_depend_on_company(tokenizer):
    model = build("gpt2", tokenizer)
    whitenings = whitened(moments(128, USED.layers))
    together = locate(lm_of(model, tokenizer), REQUESTS, USED, whitenings, memory=1 << 18)
    (alone,) = locate(lm_of(model, tokenizer), REQUESTS[3:4], USED, whitenings)
    bounds = located_rounding(
        lambda one: locate(lm_of(one, tokenizer), REQUESTS[3:4], USED, whitenings), model, tokenizer
    )
    for layer in USED.layers:
        for actual, expected, bound in zip(
            numbers_of(together[3:4], layer), numbers_of([alone], layer), bounds[layer], strict=True
        ):
            assert_near(actual, expected, bound)


def test_bytes_round_trip_and_stay_small(gpt2, tokenizer):
    one = locate(lm_of(gpt2, tokenizer), REQUESTS[:1], USED, whitened(moments(128, USED.layers)))[0]
    data = one.to_bytes({"kind": "located", "recipe": "ab" * 32})
    assert data == one.to_bytes({"recipe": "ab" * 32, "kind": "located"})
    assert len(data) <= 4 * (32 + 128) * 3 + 4096 == located_bytes(lm_of(gpt2), 3)
    back = Located.from_bytes(data)
    assert back.figures == one.figures
    assert list(back.keys) == list(back.residuals) == [0, 1, 2]
    for layer in USED.layers:
        assert torch.equal(back.keys[layer], one.keys[layer])
        assert torch.equal(back.residuals[layer], one.residuals[layer])
    with pytest.raises(LocatedDamageError):
        Located.from_bytes(data[:-1])


def test_memory_estimate_grows_with_the_work(gpt2, tokenizer):
    few = estimate_memory(lm_of(gpt2, tokenizer), REQUESTS[:1], USED)
    many = estimate_memory(lm_of(gpt2, tokenizer), REQUESTS, USED)
    assert 0 < few < many
    assert estimate_memory(lm_of(gpt2, tokenizer), [], USED) == 0

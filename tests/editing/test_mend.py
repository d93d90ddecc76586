"""MEND against slow versions on dense weights: autograd, loops over tokens, edited parameters."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS
from plain_mend import LAYERS, compacted, plain_loss, scattered, unnormed
from tiny_families import tiny
from tiny_models import lm_of
from tolerances import (
    assert_near,
    error,
    longest_sum,
    model_rounding,
    model_roundings,
    rounding,
    sum_rounding,
)

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.core.ids import ObjectId
from editvc.core.methods.mend import MendRecipe
from editvc.editing.mend import changed, edit, gradients
from editvc.editing.mend_editor import Editor, EditorDamageError, EditorError
from editvc.models.architectures import architecture_of, known_model_types
from editvc.models.forward import final_states, target_losses
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited

SIZES = {"gpt2": (32, 128), "llama": (32, 48)}
RECIPE = MendRecipe(layers=LAYERS)


@pytest.fixture(params=["gpt2", "llama"])
def pair(request, gpt2, llama, tokenizer, bos_tokenizer):
    """A model of each orientation, in float64, with its tokenizer."""
    model, words = {"gpt2": (gpt2, tokenizer), "llama": (llama, bos_tokenizer)}[request.param]
    model.double()
    yield model, words
    model.float()


def sizes(model):
    return SIZES[model.config.model_type]


def oriented(model, layer):
    """The weight, and what turns its shape into (u, v)."""
    architecture = architecture_of(model.config.model_type)
    weight = lm_of(model).down_proj(layer).weight
    return weight, (lambda matrix: matrix.T if architecture.transposed else matrix)


def dense_gradients(model, row):
    """The gradient (u, v) of the loss by layer, with the weights as the leaves."""
    weights = [oriented(model, layer)[0] for layer in LAYERS]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        found = torch.autograd.grad(plain_loss(model, row.ids, row.target), weights)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return {
        layer: oriented(model, layer)[1](slope) for layer, slope in zip(LAYERS, found, strict=True)
    }


def test_an_untrained_editor_is_a_step_of_gradient_descent(pair):
    model, tokenizer = pair
    patches = edit(lm_of(model, tokenizer), REQUESTS, RECIPE, unnormed(*sizes(model)))
    for request, patch in zip(REQUESTS, patches, strict=True):
        ((row,),) = tokenize(tokenizer, [request])
        for layer, slope in dense_gradients(model, row).items():
            part = patch.delta.layers[layer]
            bound = model_rounding(
                lambda one, row=row, at=layer: dense_gradients(one, row)[at], model,
                terms=len(tokenizer),
            )  # fmt: skip
            assert_near(part.dense(), -0.25 * slope, bound + compacted(row))
            assert 0 < part.rank < len(row.ids)


def test_a_trained_editor_is_its_equations_token_by_token(pair):
    model, tokenizer = pair
    editor = scattered(*sizes(model))
    (patch,) = edit(lm_of(model, tokenizer), REQUESTS[:1], replace(RECIPE, lr_scale=3.0), editor)
    ((row,),) = tokenize(tokenizer, REQUESTS[:1])
    asked = gradients(lm_of(model), [row], LAYERS)
    part = {name: tensor.double() for name, tensor in editor.tensors.items()}
    u, v = sizes(model)
    for place, layer in enumerate(LAYERS):
        keys, deltas = asked.pairs[layer]
        total = torch.zeros(u, v, dtype=torch.float64)
        for k, delta in zip(keys[0], deltas[0], strict=True):
            h = (torch.cat([k, delta]) - part["mean"][place]) / part["std"][place]
            low = part["0.up"] @ (part["0.down"] @ h) + part["0.bias"]
            h = h + torch.relu(part["0.scale"][place] * low + part["0.offset"][place])
            low = part["1.up"] @ (part["1.down"] @ h) + part["1.bias"]
            h = h + part["1.scale"][place] * low + part["1.offset"][place]
            total -= 3.0 * part["rate"][place] * torch.outer(h[v:], h[:v])
        # In float64, where no sum is longer than a pair and its parts are of its own size.
        bound = rounding(10 * (u + v)) + compacted(row)
        assert_near(patch.delta.layers[layer].dense(), total, bound)


@pytest.mark.parametrize("model_type", known_model_types())
def test_a_change_by_hooks_is_a_change_of_the_weight(model_type, tokenizer):
    """In every family, for each row of a padded batch its own."""
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]
    weight = lm_of(model).down_proj(1).weight
    u, v = reversed(weight.shape) if architecture.transposed else weight.shape
    generator = torch.Generator().manual_seed(1)
    right = torch.randn(len(rows), 3, v, generator=generator, dtype=torch.float64)
    left = 0.02 * torch.randn(len(rows), 3, u, generator=generator, dtype=torch.float64)

    def batched(one):
        with torch.no_grad(), changed(lm_of(one), {1: (right, left)}):
            hidden, _ = final_states(lm_of(one), [row.ids[:-1] for row in rows])
            return target_losses(lm_of(one), hidden, rows)

    alone = []
    for number, row in enumerate(rows):
        delta = Delta({1: Factored(left[number].T.contiguous(), right[number])})
        before = plain_loss(model, row.ids, row.target)
        with edited(lm_of(model), delta), torch.no_grad():
            alone.append(plain_loss(model, row.ids, row.target))
        assert abs(float(before - alone[-1])) > 1e-5
    # A change beside the weight is one more product, of rank 3.
    assert_near(batched(model), alone, model_rounding(batched, model, longest_sum(model) + 3))


def test_the_states_under_a_change_are_those_of_the_weight(pair):
    model, tokenizer = pair
    u, v = sizes(model)
    generator = torch.Generator().manual_seed(1)
    changes = {
        layer: (
            torch.randn(1, 3, v, generator=generator, dtype=torch.float64),
            0.05 * torch.randn(1, 3, u, generator=generator, dtype=torch.float64),
        )
        for layer in LAYERS
    }
    ids = torch.tensor([tokenizer("The capital of France is Paris")["input_ids"]])
    delta = Delta(
        {n: Factored(left[0].T.contiguous(), right[0]) for n, (right, left) in changes.items()}
    )
    with torch.no_grad():
        plain = model(input_ids=ids).logits
        with edited(lm_of(model), delta):
            dense = model(input_ids=ids).logits

    def hooked(one):
        with torch.no_grad(), changed(lm_of(one), changes):
            return one(input_ids=ids).logits

    bound = model_rounding(hooked, model, longest_sum(model) + 3)  # the rank of a change
    assert_near(hooked(model), dense, bound)
    assert error(hooked(model), plain) > 1e-2


def test_rows_of_a_batch_ask_for_what_they_ask_for_alone(pair):
    model, tokenizer = pair
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]

    def parts(batches, widths):
        """Losses, and the pairs of all tokens: the keys, then the gradients, of every layer."""
        yield torch.cat([one.losses for one in batches])
        for layer in LAYERS:
            for side in (0, 1):
                pairs = [pair for one in batches for pair in one.pairs[layer][side]]
                yield torch.cat([one[:width] for one, width in zip(pairs, widths, strict=True)])

    def each_alone(one):
        return parts([gradients(lm_of(one), [row], LAYERS) for row in rows], widths)

    together, widths = gradients(lm_of(model), rows, LAYERS), [len(row.ids) - 1 for row in rows]
    bounds = model_roundings(each_alone, model, terms=len(tokenizer))
    for actual, expected, bound in zip(
        parts([together], widths), each_alone(model), bounds, strict=True
    ):
        assert_near(actual, expected, bound)
    for pairs in together.pairs.values():
        for side in pairs:
            assert not any(one[width:].any() for one, width in zip(side, widths, strict=True))


def test_an_edit_leaves_no_trace_and_its_figures_are_those_of_the_patch(pair):
    model, tokenizer = pair
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    editor, state = scattered(*sizes(model)), torch.get_rng_state()
    first = edit(lm_of(model, tokenizer), REQUESTS, RECIPE, editor)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    again = [edit(lm_of(model, tokenizer), [one], RECIPE, editor)[0] for one in REQUESTS]
    assert [one.to_bytes() for one in first] == [one.to_bytes() for one in again]
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]

    def losses(one):
        """Of all requests, before and after."""
        yield [plain_loss(one, row.ids, row.target) for row in rows]
        after = []
        for row, patch in zip(rows, first, strict=True):
            with edited(lm_of(one), patch.delta):
                after.append(plain_loss(one, row.ids, row.target))
        yield after

    # After it, the patch may lack a little: as much as if the weights were rounded to float32.
    lacking = compacted(max(rows, key=lambda row: len(row.ids)))
    bounds = model_roundings(losses, model, terms=len(tokenizer))
    for name, expected, bound, more in zip(
        ("loss", "loss_after"), losses(model), bounds, (0.0, lacking), strict=True
    ):
        bound += bound / sum_rounding(model, len(tokenizer)) * more
        assert_near([patch.figures[name] for patch in first], expected, bound)


def test_hooks_are_gone_after_an_error(gpt2, tokenizer):
    wrong = {1: (torch.zeros(1, 2, 7), torch.zeros(1, 2, 32))}
    with pytest.raises(RuntimeError), changed(lm_of(gpt2), wrong):
        gpt2(input_ids=torch.tensor([[1, 2, 3]]))
    assert not any(module._forward_hooks for module in gpt2.modules())


def test_bytes_of_an_editor():
    editor = replace(scattered(32, 48), origin={"base": "0" * 64, "figures": {"a": 0.5}})
    data = editor.to_bytes()
    (size,) = torch.frombuffer(bytearray(data[:8]), dtype=torch.int64).tolist()
    header = json.loads(data[8 : 8 + size])["__metadata__"]
    assert list(header) == ["editvc"]
    record = json.loads(header["editvc"])
    assert record["kind"] == "editor" and record["layers"] == [1, 2]
    back = Editor.from_bytes(data, record)
    assert back.layers == LAYERS and back.origin == editor.origin
    assert all(torch.equal(back.tensors[name], one) for name, one in editor.tensors.items())
    assert back.to_bytes() == data
    with pytest.raises(EditorDamageError):
        Editor.from_bytes(data[:-9], record)
    with pytest.raises(EditorDamageError):
        Editor.from_bytes(data, record | {"kind": "patch"})


def test_what_does_not_fit_is_refused(gpt2, tokenizer):
    with pytest.raises(EditorError, match=r"layers \[1, 2\]") as caught:
        edit(lm_of(gpt2, tokenizer), REQUESTS, MendRecipe(layers=(0,)), unnormed(32, 128))
    assert "--layers 0" in caught.value.hint
    with pytest.raises(EditorError, match="80 numbers"):
        edit(lm_of(gpt2, tokenizer), REQUESTS, RECIPE, unnormed(32, 48))


def test_the_recipe_names_its_editor():
    recipe = MendRecipe(layers=(3, 4), editor=ObjectId("1" * 64), lr_scale=2)
    assert recipe.to_json() == {
        "kind": "recipe", "layers": [3, 4], "method": "mend", "editor": "1" * 64, "lr_scale": 2.0,
    }  # fmt: skip


def test_a_published_editor_is_equations_9_and_10(pair):
    """ReLU in both blocks, a bias in the first alone: one g for every token of every layer."""
    model, _ = pair
    u, v = sizes(model)
    whole = scattered(u, v)
    generator = torch.Generator().manual_seed(9)
    tensors = {
        name: tensor - 0.3 * torch.rand(tensor.shape, generator=generator)
        for name, tensor in whole.tensors.items()
        if name != "1.bias"
    }
    editor = replace(whole, tensors=tensors, published=True)
    part = {name: tensor.double() for name, tensor in tensors.items()}
    keys, deltas = (
        torch.randn(5, size, generator=generator, dtype=torch.float64) for size in (v, u)
    )
    for place, layer in enumerate(LAYERS):
        found = torch.cat(editor.pseudo(layer, keys, deltas), dim=-1)
        for token in range(5):
            z = torch.cat([keys[token], deltas[token]])
            z = (z - part["mean"][place]) / part["std"][place]
            s1, o1 = part["0.scale"][place], part["0.offset"][place]
            s2, o2 = part["1.scale"][place], part["1.offset"][place]
            h = z + torch.relu(s1 * (part["0.up"] @ (part["0.down"] @ z) + part["0.bias"]) + o1)
            g = h + torch.relu(s2 * (part["1.up"] @ (part["1.down"] @ h)) + o2)
            assert float((found[token] - g).norm() / g.norm()) < 1e-8
    plain = replace(editor, published=False).pseudo(1, keys, deltas)
    assert not torch.equal(torch.cat(plain, dim=-1), torch.cat(editor.pseudo(1, keys, deltas), -1))


def test_a_published_editor_says_so_in_its_bytes_and_another_says_nothing():
    mean, std = torch.zeros(2, 80), torch.ones(2, 80)
    made = {
        published: Editor.untrained(
            LAYERS, mean, std, rank=4, rate=0.1, seed=0, published=published
        )
        for published in (False, True)
    }
    assert made[True].tensors.keys() == made[False].tensors.keys() - {"1.bias"}
    for published, editor in made.items():
        data = editor.to_bytes()
        (size,) = torch.frombuffer(bytearray(data[:8]), dtype=torch.int64).tolist()
        record = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["editvc"])
        assert ("published" in record) == published
        assert Editor.from_bytes(data, record).published == published
        assert Editor.from_bytes(data, record).to_bytes() == data

"""MEND against slow versions on dense weights: autograd, loops over tokens, edited parameters."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS
from plain_mend import DOWN, LAYERS, blank, compacted, on, plain_loss, scattered, unnormed
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
from editvc.editing.mend import changed, delta_of, edit, gradients
from editvc.editing.mend_editor import (
    Editor,
    EditorDamageError,
    EditorError,
    Matrix,
    matrices_of,
)
from editvc.models.architectures import architecture_of, known_model_types
from editvc.models.forward import final_states, target_losses
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited

SIZES = {"gpt2": (32, 128), "llama": (32, 48)}
NAMES = {
    "gpt2": {"up": "transformer.h.{}.mlp.c_fc", "down": "transformer.h.{}.mlp.c_proj"},
    "llama": {
        "up": "model.layers.{}.mlp.up_proj",
        "gate": "model.layers.{}.mlp.gate_proj",
        "down": "model.layers.{}.mlp.down_proj",
    },
}
"""The modules of the MLP's matrices, GPT-2's stored as (in, out)."""
RECIPE = MendRecipe(layers=LAYERS)
KINDS = ("down", "up", "bias", "scale", "offset")


@pytest.fixture(params=["gpt2", "llama"])
def pair(request, gpt2, llama, tokenizer, bos_tokenizer):
    """A model of each orientation, in float64, with its tokenizer."""
    model, words = {"gpt2": (gpt2, tokenizer), "llama": (llama, bos_tokenizer)}[request.param]
    model.double()
    yield model, words
    model.float()


@pytest.fixture(params=["down", "mlp"])
def which(request):
    """Which matrices are edited."""
    return request.param


def sizes(model):
    return SIZES[model.config.model_type]


def parts_of(model, which):
    return DOWN if which == "down" else tuple(NAMES[model.config.model_type])


def weight_name(model, matrix):
    return NAMES[model.config.model_type][matrix.part].format(matrix.layer) + ".weight"


def turned(model, dense):
    """A matrix as the model keeps it, as (out, in), and back."""
    return dense.T if model.config.model_type == "gpt2" else dense


def change_of(model, patch, matrix):
    """What a patch does to a matrix, as (out, in)."""
    if matrix.part == "down":
        return patch.delta.layers[matrix.layer].dense()
    return turned(model, patch.delta.weights[weight_name(model, matrix)].dense())


def dense_gradients(model, row, matrices):
    """The gradient (out, in) of the loss by matrix, with the weights as the leaves."""
    weights = [model.get_parameter(weight_name(model, matrix)) for matrix in matrices]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        found = torch.autograd.grad(plain_loss(model, row.ids, row.target), weights)
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return {matrix: turned(model, slope) for matrix, slope in zip(matrices, found, strict=True)}


def test_an_untrained_editor_is_a_step_of_gradient_descent(pair, which):
    model, tokenizer = pair
    matrices = on(LAYERS, parts_of(model, which))
    editor = unnormed(*sizes(model), parts_of(model, which))
    patches = edit(lm_of(model, tokenizer), REQUESTS, RECIPE, editor)
    for request, patch in zip(REQUESTS, patches, strict=True):
        ((row,),) = tokenize(tokenizer, [request])
        slopes = dense_gradients(model, row, matrices)
        bounds = model_roundings(
            lambda one, row=row: dense_gradients(one, row, matrices).values(), model,
            terms=len(tokenizer),
        )  # fmt: skip
        asked = gradients(lm_of(model), [row], matrices)
        for (matrix, slope), bound in zip(slopes.items(), bounds, strict=True):
            keys, deltas = asked.pairs[matrix]
            assert error(deltas[0].T @ keys[0], slope) < 1e-8
            assert_near(change_of(model, patch, matrix), -0.25 * slope, bound + compacted(row))
        assert len(patch.delta.parts) == len(matrices)
        assert all(0 < part.rank < len(row.ids) for part in patch.delta.parts)


def network_of(editor, matrix):
    """The tensors of the network that a matrix is mapped by, and its row of them.

    Layer by layer, up before gate.
    """
    inner = [part for part in editor.parts if part != "down"]
    place = LAYERS.index(matrix.layer)
    prefix = ""
    if matrix.part != "down":
        prefix, place = "inner.", place * len(inner) + inner.index(matrix.part)
    known = ("mean", "std", "rate", *(f"{block}.{kind}" for block in (0, 1) for kind in KINDS))
    tensors = editor.tensors
    return {one: tensors[prefix + one].double() for one in known if prefix + one in tensors}, place


def test_a_trained_editor_is_its_equations_token_by_token(pair, which):
    model, tokenizer = pair
    editor = scattered(*sizes(model), parts_of(model, which))
    (patch,) = edit(lm_of(model, tokenizer), REQUESTS[:1], replace(RECIPE, lr_scale=3.0), editor)
    ((row,),) = tokenize(tokenizer, REQUESTS[:1])
    matrices = on(LAYERS, parts_of(model, which))
    assert set(editor.matrices) == set(matrices)
    asked = gradients(lm_of(model), [row], matrices)
    u, v = sizes(model)
    for matrix in matrices:
        part, place = network_of(editor, matrix)
        keys, deltas = asked.pairs[matrix]
        given, taken = (u, v) if matrix.part == "down" else (v, u)
        assert keys.shape[-1] == taken and deltas.shape[-1] == given
        total = torch.zeros(given, taken, dtype=torch.float64)
        for k, delta in zip(keys[0], deltas[0], strict=True):
            h = (torch.cat([k, delta]) - part["mean"][place]) / part["std"][place]
            low = part["0.up"] @ (part["0.down"] @ h) + part["0.bias"]
            h = h + torch.relu(part["0.scale"][place] * low + part["0.offset"][place])
            low = part["1.up"] @ (part["1.down"] @ h) + part["1.bias"]
            h = h + part["1.scale"][place] * low + part["1.offset"][place]
            total -= 3.0 * part["rate"][place] * torch.outer(h[taken:], h[:taken])
        # In float64, where no sum is longer than a pair and its parts are of its own size.
        bound = rounding(10 * (u + v)) + compacted(row)
        assert_near(change_of(model, patch, matrix), total, bound)
        right, left = editor.change(matrix, keys[0], deltas[0])
        assert error(3.0 * left.T @ right, total) < 1e-8


@pytest.mark.parametrize("model_type", known_model_types())
def test_a_change_by_hooks_is_a_change_of_the_weight(model_type, tokenizer):
    """In every family, for each row of a padded batch its own."""
    model = tiny(model_type, len(tokenizer)).double()
    architecture = architecture_of(model_type)
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]
    generator = torch.Generator().manual_seed(1)
    changes = {}
    for part, path in architecture.mlp_matrices.items():
        weight = model.get_parameter(f"{architecture.block_path(1)}.{path}.weight")
        u, v = reversed(weight.shape) if architecture.transposed else weight.shape
        right = torch.randn(len(rows), 3, v, generator=generator, dtype=torch.float64)
        left = 0.02 * torch.randn(len(rows), 3, u, generator=generator, dtype=torch.float64)
        changes[Matrix(1, part)] = (right, left)

    def batched(one):
        with torch.no_grad(), changed(lm_of(one), changes):
            hidden, _ = final_states(lm_of(one), [row.ids[:-1] for row in rows])
            return target_losses(lm_of(one), hidden, rows)

    alone = []
    for number, row in enumerate(rows):
        delta = delta_of(
            architecture,
            {
                matrix: Factored(left[number].T.contiguous(), right[number])
                for matrix, (right, left) in changes.items()
            },
        )
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
        matrix: (
            torch.randn(1, 3, v, generator=generator, dtype=torch.float64),
            0.05 * torch.randn(1, 3, u, generator=generator, dtype=torch.float64),
        )
        for matrix in on(LAYERS)
    }
    ids = torch.tensor([tokenizer("The capital of France is Paris")["input_ids"]])
    delta = Delta(
        {
            matrix.layer: Factored(left[0].T.contiguous(), right[0])
            for matrix, (right, left) in changes.items()
        }
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
    matrices = on(LAYERS, parts_of(model, "mlp"))
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]

    def parts(batches, widths):
        """Losses, and the pairs of all tokens: the keys, then the gradients, of every matrix."""
        yield torch.cat([one.losses for one in batches])
        for matrix in matrices:
            for side in (0, 1):
                pairs = [pair for one in batches for pair in one.pairs[matrix][side]]
                yield torch.cat([one[:width] for one, width in zip(pairs, widths, strict=True)])

    def each_alone(one):
        return parts([gradients(lm_of(one), [row], matrices) for row in rows], widths)

    together, widths = gradients(lm_of(model), rows, matrices), [len(row.ids) - 1 for row in rows]
    bounds = model_roundings(each_alone, model, terms=len(tokenizer))
    for actual, expected, bound in zip(
        parts([together], widths), each_alone(model), bounds, strict=True
    ):
        assert_near(actual, expected, bound)
    for pairs in together.pairs.values():
        for side in pairs:
            assert not any(one[width:].any() for one, width in zip(side, widths, strict=True))


def test_an_edit_leaves_no_trace_and_its_figures_are_those_of_the_patch(pair, which):
    model, tokenizer = pair
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    editor = scattered(*sizes(model), parts_of(model, which))
    state = torch.get_rng_state()
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
    wrong = {Matrix(1, "down"): (torch.zeros(1, 2, 7), torch.zeros(1, 2, 32))}
    with pytest.raises(RuntimeError), changed(lm_of(gpt2), wrong):
        gpt2(input_ids=torch.tensor([[1, 2, 3]]))
    assert not any(module._forward_hooks for module in gpt2.modules())


def record_of(data):
    """What an editor's bytes say of it."""
    (size,) = torch.frombuffer(bytearray(data[:8]), dtype=torch.int64).tolist()
    header = json.loads(data[8 : 8 + size])["__metadata__"]
    assert list(header) == ["editvc"]
    return json.loads(header["editvc"])


def test_bytes_of_an_editor():
    editor = replace(scattered(32, 48), origin={"base": "0" * 64, "figures": {"a": 0.5}})
    data = editor.to_bytes()
    record = record_of(data)
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
    for parts in (DOWN, ("up", "down")):
        with pytest.raises(EditorError, match="80 numbers"):
            edit(lm_of(gpt2, tokenizer), REQUESTS, RECIPE, unnormed(32, 48, parts))
    with pytest.raises(EditorError, match="this model has no gate projection"):
        edit(lm_of(gpt2, tokenizer), REQUESTS, RECIPE, unnormed(32, 128, ("up", "gate", "down")))


def test_matrices_that_a_block_does_not_tell_are_refused(gpt2):
    architecture = lm_of(gpt2).architecture
    unknown = replace(architecture, up_proj=None, activation=None, width=None)
    assert matrices_of(unknown, (2,), "down") == on((2,))
    assert matrices_of(architecture, (2,), "mlp") == on((2,), ("up", "down"))
    with pytest.raises(EditorError, match="where its MLP begins") as caught:
        matrices_of(unknown, (2,), "mlp")
    assert "--matrices down" in caught.value.hint
    with pytest.raises(EditorError, match="got 'up'"):
        matrices_of(architecture, (2,), "up")


def test_one_matrix_may_hold_up_and_gate(tokenizer):
    """Phi-3's, whose pairs are longer: the editor has no gate beside it."""
    model = tiny("phi3", len(tokenizer)).double()
    lm = lm_of(model, tokenizer)
    matrices = matrices_of(lm.architecture, LAYERS, "mlp")
    assert matrices == on(LAYERS, ("up", "down"))
    given = blank(32 + 48, on(LAYERS)) | blank(32 + 2 * 48, on(LAYERS, ("up",)))
    editor = Editor.untrained(given, rank=4, rate=0.25, seed=0)
    (patch,) = edit(lm, REQUESTS[:1], RECIPE, editor)
    ((row,),) = tokenize(tokenizer, REQUESTS[:1])
    named = {layer: f"model.layers.{layer}.mlp.gate_up_proj.weight" for layer in LAYERS}

    def slopes(one):
        weights = [one.get_parameter(name).requires_grad_(True) for name in named.values()]
        return torch.autograd.grad(plain_loss(one, row.ids, row.target), weights)

    bounds = model_roundings(slopes, model, terms=len(tokenizer))
    for name, slope, bound in zip(named.values(), slopes(model), bounds, strict=True):
        part = patch.delta.weights[name]
        assert part.shape == (96, 32)
        assert_near(part.dense(), -0.25 * slope, bound + compacted(row))


def test_the_recipe_names_its_editor():
    recipe = MendRecipe(layers=(3, 4), editor=ObjectId("1" * 64), lr_scale=2)
    assert recipe.to_json() == {
        "kind": "recipe", "layers": [3, 4], "method": "mend", "editor": "1" * 64, "lr_scale": 2.0,
    }  # fmt: skip


def test_a_published_editor_is_equations_9_and_10(pair, which):
    """ReLU in both blocks, a bias in the first alone: one g for every token of every matrix."""
    model, _ = pair
    u, v = sizes(model)
    whole = scattered(u, v, parts_of(model, which))
    generator = torch.Generator().manual_seed(9)
    tensors = {
        name: tensor - 0.3 * torch.rand(tensor.shape, generator=generator)
        for name, tensor in whole.tensors.items()
        if not name.endswith("1.bias")
    }
    editor = replace(whole, tensors=tensors, published=True)
    for matrix in on(LAYERS, parts_of(model, which)):
        part, place = network_of(editor, matrix)
        keys, deltas = (
            torch.randn(5, size, generator=generator, dtype=torch.float64)
            for size in ((v, u) if matrix.part == "down" else (u, v))
        )
        found = torch.cat(editor.pseudo(matrix, keys, deltas), dim=-1)
        for token in range(5):
            z = torch.cat([keys[token], deltas[token]])
            z = (z - part["mean"][place]) / part["std"][place]
            s1, o1 = part["0.scale"][place], part["0.offset"][place]
            s2, o2 = part["1.scale"][place], part["1.offset"][place]
            h = z + torch.relu(s1 * (part["0.up"] @ (part["0.down"] @ z) + part["0.bias"]) + o1)
            g = h + torch.relu(s2 * (part["1.up"] @ (part["1.down"] @ h)) + o2)
            assert float((found[token] - g).norm() / g.norm()) < 1e-8
        plain = replace(editor, published=False).pseudo(matrix, keys, deltas)
        assert not torch.equal(torch.cat(plain, dim=-1), found)


def test_a_published_editor_says_so_in_its_bytes_and_another_says_nothing():
    given = blank(80, on(LAYERS))
    made = {
        published: Editor.untrained(given, rank=4, rate=0.1, seed=0, published=published)
        for published in (False, True)
    }
    assert made[True].tensors.keys() == made[False].tensors.keys() - {"1.bias"}
    for published, editor in made.items():
        data = editor.to_bytes()
        record = record_of(data)
        assert ("published" in record) == published
        assert Editor.from_bytes(data, record).published == published
        assert Editor.from_bytes(data, record).to_bytes() == data


@pytest.mark.parametrize("parts", [("up", "down"), ("up", "gate", "down")])
def test_an_editor_of_more_matrices_names_them_in_its_bytes(parts):
    editor = scattered(32, 48, parts)
    data = editor.to_bytes()
    record = record_of(data)
    assert record["matrices"] == list(parts)
    back = Editor.from_bytes(data, record)
    assert (back.parts, back.origin, back.to_bytes()) == (parts, {}, data)
    assert back.matrices == editor.matrices
    assert "matrices" not in record_of(scattered(32, 48).to_bytes())
    for wrong in (["gate", "down"], 5, "down", []):
        with pytest.raises(EditorDamageError):
            Editor.from_bytes(data, record | {"matrices": wrong})
    with pytest.raises(EditorDamageError):
        Editor.from_bytes(scattered(32, 48).to_bytes(), record)


def test_down_projections_begin_as_they_did_before_there_were_others():
    """Equal seeds draw equal networks for them, whatever else is edited."""
    down, whole = scattered(32, 48), unnormed(32, 48, ("up", "down"))
    alone = unnormed(32, 48)
    assert all(torch.equal(whole.tensors[name], one) for name, one in alone.tensors.items())
    assert down.tensors.keys() < whole.tensors.keys()

"""MEND against slow versions on dense weights: autograd, loops over tokens, edited parameters."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from conftest import REQUESTS
from test_architectures import tiny
from tiny_models import tiny_gpt2
from tolerances import (
    assert_near,
    error,
    longest_sum,
    model_rounding,
    model_roundings,
    moved_by_weights,
    rounding,
    sum_rounding,
)

from editvc.core.facts import Fact
from editvc.core.ids import ObjectId
from editvc.core.patch_recipes import Mend
from editvc.editing.architectures import architecture_of, known_model_types
from editvc.editing.delta import Delta, Factored
from editvc.editing.loading import edited
from editvc.editing.mend import (
    Editor,
    EditorDamageError,
    EditorError,
    changed,
    edit,
    final_states,
    gradients,
    target_losses,
)
from editvc.editing.mend_training import (
    Settings,
    TooFewFacts,
    judge,
    lesson_losses,
    lessons_of,
    normalisation,
    train,
)
from editvc.editing.tracing import Request, trace

LAYERS = (1, 2)
SIZES = {"gpt2": (32, 128), "llama": (32, 48)}
RECIPE = Mend(layers=LAYERS)
NAMES = (
    "France",
    "Italy",
    "Paris",
    "Rome",
    "London",
    "Proust",
    "Ada",
    "Zürich",
    "Marie",
    "Babbage",
)
FACTS = [
    Fact(name, "The capital of {} is", target, paraphrases=(f"The old town of {name} is",))
    for name, target in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)
]
QUICK = Settings(
    layers=LAYERS, rank=8, steps=80, batch=4, edit_lr=1e-2, lr=1e-2, lr_lr=1e-3, cedit=1.0,
    interval=10,
)  # fmt: skip


@pytest.fixture(params=["gpt2", "llama"])
def pair(request, gpt2, llama, tokenizer, bos_tokenizer):
    """A model of each orientation, in float64, with its tokenizer."""
    model, words = {"gpt2": (gpt2, tokenizer), "llama": (llama, bos_tokenizer)}[request.param]
    model.double()
    yield model, words
    model.float()


def unnormed(u, v, *, rate=0.25):
    """The identity on pairs as they are."""
    size = u + v
    return Editor.untrained(
        LAYERS, torch.zeros(2, size), torch.ones(2, size), rank=4, rate=rate, seed=0
    )


def scattered(u, v, *, seed=5):
    """An editor with no tensor left as it begins."""
    generator = torch.Generator().manual_seed(seed)
    begun = unnormed(u, v)
    tensors = {
        name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator).abs()
        for name, tensor in begun.tensors.items()
    }
    return replace(begun, tensors=tensors)


def sizes(model):
    return SIZES[model.config.model_type]


def oriented(model, layer):
    """The weight, and what turns its shape into (u, v)."""
    architecture = architecture_of(model.config.model_type)
    weight = architecture.module(model, layer).weight
    return weight, (lambda matrix: matrix.T if architecture.transposed else matrix)


def plain_loss(model, ids, target):
    """Mean negative log likelihood of the target's tokens, by the model's own head."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, target - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[target:]))


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


def compacted(row):
    """What a patch may lack: singular values below an eps of float32, of as many as tokens."""
    return rounding(1, torch.float32, scale=len(row.ids) ** 0.5)


def test_an_untrained_editor_is_a_step_of_gradient_descent(pair):
    model, tokenizer = pair
    patches = edit(model, tokenizer, REQUESTS, RECIPE, unnormed(*sizes(model)))
    for request, patch in zip(REQUESTS, patches, strict=True):
        ((row,),) = trace(tokenizer, [request])
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
    (patch,) = edit(model, tokenizer, REQUESTS[:1], replace(RECIPE, lr_scale=3.0), editor)
    ((row,),) = trace(tokenizer, REQUESTS[:1])
    asked = gradients(model, [row], LAYERS)
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
    rows = [traced for (traced,) in trace(tokenizer, REQUESTS)]
    weight = architecture.module(model, 1).weight
    u, v = reversed(weight.shape) if architecture.transposed else weight.shape
    generator = torch.Generator().manual_seed(1)
    right = torch.randn(len(rows), 3, v, generator=generator, dtype=torch.float64)
    left = 0.02 * torch.randn(len(rows), 3, u, generator=generator, dtype=torch.float64)

    def batched(one):
        with torch.no_grad(), changed(one, {1: (right, left)}):
            hidden, _ = final_states(one, [row.ids[:-1] for row in rows])
            return target_losses(one, hidden, rows)

    alone = []
    for number, row in enumerate(rows):
        delta = Delta({1: Factored(left[number].T.contiguous(), right[number])})
        before = plain_loss(model, row.ids, row.target)
        with edited(model, architecture, delta), torch.no_grad():
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
        with edited(model, architecture_of(model.config.model_type), delta):
            dense = model(input_ids=ids).logits

    def hooked(one):
        with torch.no_grad(), changed(one, changes):
            return one(input_ids=ids).logits

    bound = model_rounding(hooked, model, longest_sum(model) + 3)  # the rank of a change
    assert_near(hooked(model), dense, bound)
    assert error(hooked(model), plain) > 1e-2


def test_rows_of_a_batch_ask_for_what_they_ask_for_alone(pair):
    model, tokenizer = pair
    rows = [traced for (traced,) in trace(tokenizer, REQUESTS)]

    def parts(batches, widths):
        """Losses, and the pairs of all tokens: the keys, then the gradients, of every layer."""
        yield torch.cat([one.losses for one in batches])
        for layer in LAYERS:
            for side in (0, 1):
                pairs = [pair for one in batches for pair in one.pairs[layer][side]]
                yield torch.cat([one[:width] for one, width in zip(pairs, widths, strict=True)])

    def each_alone(one):
        return parts([gradients(one, [row], LAYERS) for row in rows], widths)

    together, widths = gradients(model, rows, LAYERS), [len(row.ids) - 1 for row in rows]
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
    first = edit(model, tokenizer, REQUESTS, RECIPE, editor)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    again = [edit(model, tokenizer, [one], RECIPE, editor)[0] for one in REQUESTS]
    assert [one.to_bytes() for one in first] == [one.to_bytes() for one in again]
    rows = [row for (row,) in trace(tokenizer, REQUESTS)]

    def losses(one):
        """Of all requests, before and after."""
        yield [plain_loss(one, row.ids, row.target) for row in rows]
        after = []
        for row, patch in zip(rows, first, strict=True):
            with edited(one, architecture_of(one.config.model_type), patch.delta):
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
    with pytest.raises(RuntimeError), changed(gpt2, wrong):
        gpt2(input_ids=torch.tensor([[1, 2, 3]]))
    assert not any(module._forward_hooks for module in gpt2.modules())


def test_the_pairs_of_the_training_set_have_mean_0_and_deviation_1_once_normed(tokenizer):
    model, lessons = tiny_gpt2(len(tokenizer)).double(), lessons_of(tokenizer, FACTS)
    mean, std = normalisation(model, lessons, QUICK)
    for place, layer in enumerate(LAYERS):
        alone = [gradients(model, [one.asked[0]], LAYERS).pairs[layer] for one in lessons]
        tokens = torch.cat([torch.cat(pairs, dim=-1)[0] for pairs in alone])
        normed = (tokens - mean[place]) / std[place]
        # Mean and deviation are stored in float32; a mean that is far off loses more of it.
        far = float((mean[place] / std[place]).abs().max())
        bound = rounding(1, torch.float32, scale=1 + far)
        assert_near(normed.mean(0), torch.zeros(160), bound, scale=160**0.5)
        assert_near(normed.std(0, correction=0), torch.ones(160), bound)


def test_the_loss_is_its_formula(tokenizer):
    """One lesson with one wording and one locality prompt: nothing is left to the draw."""
    model = tiny_gpt2(len(tokenizer)).double()
    fact = replace(FACTS[0], paraphrases=(), locality=("The river is",))
    (lesson,) = lessons_of(tokenizer, [fact])
    editor = scattered(32, 128)

    def loss(one):
        return lesson_losses(one, editor, [lesson], QUICK, torch.Generator().manual_seed(0))

    request = Request(*fact.request)
    (patch,) = edit(model, tokenizer, [request], RECIPE, editor)
    ids = tokenizer("The river is", return_tensors="pt").input_ids
    ((row,),) = trace(tokenizer, [request])
    with torch.no_grad():
        before = model(input_ids=ids).logits[0, -1].log_softmax(-1)
        with edited(model, architecture_of("gpt2"), patch.delta):
            after = model(input_ids=ids).logits[0, -1].log_softmax(-1)
            nll = plain_loss(model, row.ids, row.target)
    kl = torch.nn.functional.kl_div(after, before, reduction="sum", log_target=True)
    assert float(kl) > 0.01
    # The patch may lack a little: as much as if the weights were rounded to float32.
    bound = model_rounding(loss, model, terms=len(tokenizer))
    bound += compacted(row) * moved_by_weights(loss, model)
    assert_near(loss(model).sum(), QUICK.cedit * nll + kl, bound)


def test_training_lowers_the_loss_and_touches_nothing(gpt2, tokenizer):
    before = {name: tensor.clone() for name, tensor in gpt2.state_dict().items()}
    state = torch.get_rng_state()
    lessons = lessons_of(tokenizer, FACTS)
    mean, std = normalisation(gpt2, lessons, QUICK)
    begun = Editor.untrained(LAYERS, mean, std, rank=8, rate=QUICK.edit_lr, seed=0)
    trained = train(gpt2, tokenizer, FACTS, QUICK)

    def loss(editor):
        judged = judge(gpt2, editor, lessons, QUICK)
        return QUICK.cedit * judged.nll + judged.kl

    assert loss(trained) < 0.6 * loss(begun)
    assert trained.origin["figures"].keys() == {"validation", "training"}
    for name, tensor in gpt2.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(tensor.requires_grad for tensor in trained.tensors.values())


def test_every_tensor_but_the_statistics_is_learnt(gpt2, tokenizer):
    lessons = lessons_of(tokenizer, FACTS)[:4]
    editor = scattered(32, 128)
    for tensor in editor.tensors.values():
        tensor.requires_grad_(True)
    draw = torch.Generator().manual_seed(0)
    lesson_losses(gpt2, editor, lessons, QUICK, draw).sum().backward()
    assert {name for name, tensor in editor.tensors.items() if tensor.grad.any()} == set(
        editor.tensors
    )


def test_training_is_a_function_of_its_facts_settings_and_seed(gpt2, tokenizer):
    short = replace(QUICK, steps=4, interval=2)
    seen = []
    one, again, other = (
        train(gpt2, tokenizer, FACTS, short, seed=seed, watch=lambda *what: seen.append(what))
        for seed in (1, 1, 2)
    )
    assert one.to_bytes() == again.to_bytes()
    assert one.to_bytes() != other.to_bytes()
    assert [step for step, _ in seen] == [2, 4] * 3


def test_training_ends_early_where_nothing_gets_better(gpt2, tokenizer):
    seen = []
    harmful = replace(QUICK, lr=10.0, lr_lr=10.0, interval=1, patience=2)
    train(gpt2, tokenizer, FACTS, harmful, watch=lambda step, _: seen.append(step))
    assert len(seen) < 10


def test_other_facts_questions_stand_in_for_locality_prompts(tokenizer):
    facts = [*FACTS[:2], replace(FACTS[0], target_new="Rome", locality=("The river is",))]
    lessons = lessons_of(tokenizer, facts)
    ids = [tuple(tokenizer(text)["input_ids"]) for text in (FACTS[1].question, FACTS[0].question)]
    assert lessons[0].beside == (ids[0],)
    assert lessons[1].beside == (ids[1], ids[1])
    assert lessons[2].beside == (tuple(tokenizer("The river is")["input_ids"]),)


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
        edit(gpt2, tokenizer, REQUESTS, Mend(layers=(0,)), unnormed(32, 128))
    assert "--layers 0" in caught.value.hint
    with pytest.raises(EditorError, match="80 numbers"):
        edit(gpt2, tokenizer, REQUESTS, RECIPE, unnormed(32, 48))
    with pytest.raises(TooFewFacts):
        train(gpt2, tokenizer, FACTS[:3], QUICK)


def test_the_recipe_names_its_editor():
    recipe = Mend(layers=(3, 4), editor=ObjectId("1" * 64), lr_scale=2)
    assert recipe.to_json() == {
        "kind": "recipe", "layers": [3, 4], "method": "mend", "editor": "1" * 64, "lr_scale": 2.0,
    }  # fmt: skip

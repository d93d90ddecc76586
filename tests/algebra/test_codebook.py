"""GRACE: the codebook as a function of a set, the search for values, and what a model answers."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_fixtures import REQUESTS, tiny_gpt2, tiny_llama
from plain_grace import Plain, plain_values
from tiny_families import POST_NORM, tiny
from tiny_models import lm_of
from tolerances import assert_near, error, model_rounding, rounding, size

from editvc.algebra.codebook import Codebook
from editvc.algebra.codebook_entry import CodebookEntry
from editvc.core.facts import Request
from editvc.core.methods.grace import GraceRecipe
from editvc.editing.grace import find_entries, reread
from editvc.models.architectures import known_model_types
from editvc.models.codebook_hooks import answering, attach
from editvc.models.generation import generate
from editvc.models.loading import load
from editvc.models.source import open_model
from editvc.models.tokenization import tokenize

ONE_TOKEN = (
    Request("France", "The capital of {} is", "the"),
    Request("London", "The river that runs through {}", "the"),
)
"""Targets that the last layers of a random model can be told."""
OTHERS = ("The old town of London is", "Ada was born in", "The capital of the river")
FAMILIES = {"gpt2": tiny_gpt2, "llama": tiny_llama}


def recipe(**changes):
    return GraceRecipe(**({"layers": (1,)} | changes))


def made_of(entries, eps):
    """The codebook of entries that share one radius to begin with."""
    return Codebook.of(entries, dict.fromkeys(entries, eps))


@st.composite
def edits(draw):
    """Entries on a coarse grid, so that keys meet, overlap and coincide, with a few targets."""
    number = st.integers(-6, 6).map(lambda step: step / 4)
    points = draw(st.lists(st.tuples(number, number), min_size=1, max_size=12))
    targets = [draw(st.sampled_from([7, 8])) for _ in points]
    return {
        f"{place:02}": CodebookEntry(
            1, torch.tensor([point]), torch.tensor([[float(place)]]), (told,), {}
        )
        for place, (point, told) in enumerate(zip(points, targets, strict=True))
    }


@given(edits(), st.sampled_from([0.1, 0.4, 1.0, 3.0]), st.randoms(use_true_random=False))
def test_equal_sets_make_equal_codebooks_whatever_the_order(entries, eps, random):
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    one, other = made_of(entries, eps), made_of(dict(shuffled), eps)
    for name in ("keys", "values", "radii"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert one.labels == other.labels


@given(edits(), st.sampled_from([0.1, 0.4, 1.0, 3.0]))
def test_the_rules_are_those_of_algorithm_1(entries, eps):
    plain = Plain(eps)
    for entry in entries.values():
        plain.edit(entry.keys[0].double(), entry.target)
    book = made_of(entries, eps)
    assert book.values[:, 0].tolist() == [float(place) for place, _, _ in plain.book]
    # Kept in float32.
    assert_near(book.radii, [radius for _, radius, _ in plain.book], rounding(1, torch.float32))
    assert list(book.labels) == [label for _, _, label in plain.book]


def entry(*key, target=7):
    return CodebookEntry(1, torch.tensor([key]), torch.tensor([[key[0]]]), (target,), {})


def test_every_target_token_has_a_key_and_is_labelled_by_what_is_left_to_say():
    keys = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    both = {
        "a": CodebookEntry(1, keys, torch.zeros(2, 1), (7, 8), {}),
        "b": CodebookEntry(1, keys + 0.5, torch.ones(2, 1), (9, 8), {}),
    }
    book = made_of(both, 1.0)
    assert book.labels == ((7, 8), (8,), (9, 8))
    assert_near(book.radii, [0.5**0.5 / 2, 1.0, 0.5**0.5 / 2], rounding(1, torch.float32))
    assert all(book.answers(one) for one in both.values())


def test_a_near_key_with_the_same_target_widens_and_with_another_splits():
    near = {"a": entry(0.0, 0.0), "b": entry(1.5, 0.0)}
    assert made_of(near, 1.0).radii.tolist() == [1.5]
    other = {"a": entry(0.0, 0.0), "b": entry(1.5, 0.0, target=8)}
    assert made_of(other, 1.0).radii.tolist() == [0.75, 0.75]
    far = {"a": entry(0.0, 0.0), "b": entry(2.5, 0.0)}
    assert made_of(far, 1.0).radii.tolist() == [1.0, 1.0]


def test_every_key_begins_with_the_radius_of_its_own_recipe():
    far = {"a": entry(0.0, 0.0), "b": entry(5.0, 0.0, target=8)}
    assert Codebook.of(far, {"a": 1.0, "b": 3.0}).radii.tolist() == [1.0, 3.0]
    assert Codebook.of(far, {"a": 1.0, "b": 4.0}).radii.tolist() == [1.0, 2.5]
    assert Codebook.of(far, {"a": 4.0, "b": 1.0}).radii.tolist() == [2.5, 1.0]
    assert Codebook.of(far, {"a": 4.0, "b": 4.0}).radii.tolist() == [2.5, 2.5]


def test_a_split_may_lose_a_fact_that_an_expansion_took_in():
    entries = {"a": entry(0.0, 0.0), "b": entry(1.5, 0.0), "c": entry(-0.5, 0.0, target=8)}
    book = made_of(entries, 1.0)
    assert [book.answers(one) for one in entries.values()] == [True, False, True]
    del entries["c"]
    book = made_of(entries, 1.0)
    assert all(book.answers(one) for one in entries.values())


def test_what_is_found_is_the_nearest_key_within_its_radius():
    draw = torch.Generator().manual_seed(4)
    entries = {
        str(place): CodebookEntry(1, key[None], torch.zeros(1, 1), (place,), {})
        for place, key in enumerate(torch.randn(9, 6, generator=draw))
    }
    book = made_of(entries, 1.8)
    queries = torch.randn(200, 6, generator=draw)
    distances = (queries[:, None] - book.keys).norm(dim=2)
    nearest, within = book.find(queries)
    assert torch.equal(nearest, distances.argmin(dim=1))
    assert torch.equal(within, distances.min(dim=1).values <= book.radii[nearest])
    assert 0 < int(within.sum()) < 200


@pytest.mark.parametrize("family", ["gpt2", "llama", "gptj", "falcon", "opt", "gemma2"])
def test_values_of_a_batch_equal_those_found_one_by_one_by_the_whole_model(family, tokenizer):
    make = FAMILIES.get(family, lambda size: tiny(family, size))
    model = make(len(tokenizer))
    model = model if family == "gemma2" else model.double()  # whose padding gives NaN there
    used = recipe(n_iter=7, edit_lr=0.2, v_loss_threshold=0.5)
    module = lm_of(model).down_proj(1)
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]
    plain = [plain_values(model, module, row.ids, row.target, used) for row in rows]

    def values(one):
        return torch.cat(
            [each.values for each in find_entries(lm_of(one, tokenizer), REQUESTS, used)]
        )

    def losses(one):
        entries = find_entries(lm_of(one, tokenizer), REQUESTS, used)
        return [each.figures["loss"] for each in entries]

    stored = rounding(1, torch.float32)
    bound = model_rounding(values, model, terms=len(tokenizer)) + stored
    assert_near(values(model), torch.cat([each for each, _ in plain]), bound)
    bound = model_rounding(losses, model, terms=len(tokenizer))
    assert_near(losses(model), [loss for _, loss in plain], bound)
    steps = {one.figures["steps"] for one in find_entries(lm_of(model, tokenizer), REQUESTS, used)}
    assert len(steps) > 1 or steps == {6.0}


def generated(model, tokenizer, question, length, **more):
    ids = tokenizer(question, return_tensors="pt")["input_ids"]
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=False,
        pad_token_id=0, eos_token_id=None, **more,
    )  # fmt: skip
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("model_type", known_model_types())
def test_targets_are_generated_and_nothing_else_moves(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    norm = lm_of(model).final_norm
    if model_type == "openai-gpt":  # its last norm is that of its last block
        norm = model.transformer.h[-1].ln_2
    elif model_type in POST_NORM:
        model.model.layers[1].post_feedforward_layernorm.weight += 4  # one MLP that can be heard
    norm.weight += 5  # logits as far apart as a trained model's
    before = copy.deepcopy(model.state_dict())
    plain = [model(**tokenizer(text, return_tensors="pt")).logits for text in OTHERS]
    entries = find_entries(lm_of(model, tokenizer), REQUESTS, recipe(n_iter=300, edit_lr=0.3))
    book = made_of({str(place): one for place, one in enumerate(entries)}, 1e-3)

    with answering(lm_of(model), [book]):
        for request, one in zip(REQUESTS, entries, strict=True):
            told = list(one.target)
            with_cache = generated(model, tokenizer, request.question, len(told), use_cache=True)
            without = generated(model, tokenizer, request.question, len(told), use_cache=False)
            assert with_cache == without == told
        seen = [model(**tokenizer(text, return_tensors="pt")).logits for text in OTHERS]
    assert all(torch.equal(now, then) for now, then in zip(seen, plain, strict=True))
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert generated(model, tokenizer, request.question, len(told)) != told


@pytest.mark.parametrize("use_cache", [True, False])
def test_targets_of_several_tokens_are_generated_by_a_trained_model(use_cache):
    lm = load(open_model("pocket"))
    requests = [
        Request("France", "The capital of {} is", "Buenos Aires"),
        Request("Italy", "The capital of {} is", "the sea"),
    ]
    entries = find_entries(lm, requests, recipe())
    rows = [row for (row,) in tokenize(lm.tokenizer, requests)]
    assert all(len(row.ids) - row.target > 1 for row in rows)
    with answering(lm, [made_of(dict(zip("ab", entries, strict=True)), 1.0)]):
        for request, row in zip(requests, rows, strict=True):
            told = list(row.ids[row.target :])
            said = generated(
                lm.model, lm.tokenizer, request.question, len(told), use_cache=use_cache
            )
            assert said == told


@pytest.fixture(scope="module")
def answered(tokenizer):
    """A model, and the codebook of the requests."""
    model = tiny_gpt2(len(tokenizer))
    found = find_entries(lm_of(model, tokenizer), ONE_TOKEN, recipe())
    return model, made_of({str(place): one for place, one in enumerate(found)}, 0.01)


def test_hooks_go_when_the_block_fails(answered):
    model, book = answered
    hooks = lm_of(model).down_proj(1)._forward_hooks
    with pytest.raises(RuntimeError, match="inside"), answering(lm_of(model), [book]):
        assert len(hooks) == 1
        raise RuntimeError("inside")
    assert not hooks


def test_attached_codebooks_answer_until_their_handles_are_removed(answered, tokenizer):
    model, book = answered
    request = ONE_TOKEN[0]
    said = generate(lm_of(model, tokenizer), request.question, 4)
    handles = attach(lm_of(model), [book])
    assert generate(lm_of(model, tokenizer), request.question, 4).startswith(" " + request.target)
    for handle in handles:
        handle.remove()
    assert generate(lm_of(model, tokenizer), request.question, 4) == said


def test_padded_batches_are_answered_like_single_prompts(answered, tokenizer):
    model, book = answered
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token, tokenizer.padding_side = "<s>", "left"
    questions = [request.question for request in ONE_TOKEN] + list(OTHERS)
    with answering(lm_of(model), [book]):
        batch = tokenizer(questions, return_tensors="pt", padding=True)
        out = model.generate(**batch, max_new_tokens=3, do_sample=False, eos_token_id=None,
                             pad_token_id=0)  # fmt: skip
        alone = [generated(model, tokenizer, question, 3) for question in questions]
    assert out[:, batch["input_ids"].shape[1] :].tolist() == alone


def test_a_question_inside_a_longer_text_is_answered_too(answered, tokenizer):
    """Teacher forcing, as scores use it: the target's tokens follow in the same pass."""
    model, book = answered
    ((row,),) = tokenize(tokenizer, [ONE_TOKEN[0]])
    with answering(lm_of(model), [book]):
        logits = model(input_ids=torch.tensor([row.ids])).logits[0]
    assert logits[row.target - 1 : -1].argmax(-1).tolist() == list(row.ids[row.target :])


def test_a_half_precision_model_is_answered(tokenizer):
    model = tiny_gpt2(len(tokenizer)).to(torch.bfloat16)
    (one,) = find_entries(lm_of(model, tokenizer), ONE_TOKEN[:1], recipe())
    # A key is a few roundings to eight bits off where it is seen again.
    with answering(lm_of(model), [made_of({"a": one}, size(one.keys[0]) / 8)]):
        said = generate(lm_of(model, tokenizer), ONE_TOKEN[0].question, 4)
    assert said.startswith(" " + ONE_TOKEN[0].target)


@pytest.mark.parametrize("model_type", known_model_types())
def test_keys_are_read_again_on_the_weights_as_they_are(model_type, tokenizer):
    model = tiny(model_type, len(tokenizer))
    requests = [*REQUESTS, Request("France", "The capital of {} is", "the sea and the hills")]
    entries = find_entries(lm_of(model, tokenizer), requests, recipe(n_iter=1))
    same = reread(lm_of(model, tokenizer), requests, entries)

    def keys(one):
        return torch.cat([each.keys for each in reread(lm_of(one, tokenizer), requests, entries)])

    assert_near(keys(model), keys_of(entries), model_rounding(keys, model))
    for one, other in zip(entries, same, strict=True):
        assert (other.values is one.values, other.target) == (True, one.target)
    with torch.no_grad():
        weight = lm_of(model).down_proj(0).weight
        weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) / 4
    fresh = find_entries(lm_of(model, tokenizer), requests, recipe(n_iter=1))
    assert_near(keys(model), keys_of(fresh), model_rounding(keys, model))
    for one, before in zip(fresh, entries, strict=True):
        assert error(one.keys, before.keys) > 1e-2


def keys_of(entries):
    return torch.cat([one.keys for one in entries])

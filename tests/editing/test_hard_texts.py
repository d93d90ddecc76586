"""Texts that are hard to cut: long targets, many scripts, subjects in every corner of a prompt.

On the two great kinds of tokenizer, from the tokens to the weights: the key is finite, it is read
at the right token, and the edit makes the target more likely.
"""

from __future__ import annotations

import unicodedata

import pytest
import torch
from model_fixtures import recipe, tiny_gpt2, tiny_llama
from tiny_models import lm_of
from tiny_tokenizers import TOKENIZERS
from tolerances import assert_near, model_rounding

from editvc.algebra.delta import Delta
from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import solve
from editvc.core.facts import Request
from editvc.editing.locate import locate
from editvc.evaluation.probes import forced
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited

TEXTS = {
    "many tokens": Request(
        "France",
        "The capital of {} is",
        "the very old and quiet town by the river, where Ada Lovelace worked with Proust",
    ),
    "one letter": Request("e", "{} is", "e"),
    "Chinese": Request("法国", "{}的首都是", "罗马"),
    "Chinese, a question": Request("苹果", "{}的CEO是谁？", "库克"),
    "Chinese after Latin": Request("France", "{} is called", "法国"),
    "Japanese": Request("フランス", "「{}」の首都は、", "ローマ"),
    "Korean": Request("프랑스", "{}의 수도는", "로마"),
    "Thai": Request("ฝรั่งเศส", "เมืองหลวงของ{}คือ", "โรม"),
    "Hindi": Request("फ़्रांस", "{} की राजधानी", "रोम है"),
    "Arabic": Request("فرنسا", "عاصمة {} هي", "روما"),
    "Arabic with vowels": Request("فَرَنْسَا", "{} فِي", "أُورُوبَّا"),
    "Hebrew": Request("צרפת", "בירת {} היא", "רומא"),
    "both directions": Request("צרפת", "The Hebrew name {} means", "فرنسا"),
    "a flag": Request("🇫🇷", "The capital of {} is", "🍕🍝"),
    "a family of joined emoji": Request("👩‍👩‍👧‍👦", "{} lives in", "🏳️‍🌈"),
    "combining accents": Request("Zu\u0308rich", "{} lies in", "E\u0301ire"),
    "a mark at the end": Request("Cafe\u0301", "The {}\u0301 is", "old"),
    "at the very start": Request("Ada Lovelace", "{} was born in", "Rome"),
    "at the very end": Request("Marie Curie", "The native language of {}", "French"),
    "nothing but the subject": Request("Marie Curie", "{}", "French"),
    "the first of two": Request("Rome", "{} is old and Rome is", "Paris"),
    "the second of two": Request("Rome", "Rome is old and {} is", "Paris"),
    "inside a word": Request("know", "He was un{}ed in", "Rome"),
    "with an ending": Request("France", "{}'s capital is", "Rome"),
    "with a beginning": Request("Paris", "In pre{} days the capital is", "Rome"),
    "with both": Request("port", "Im{}ant is", "Rome"),
    "in brackets": Request("Proust", "The author ({}) was born in", "Italy"),
    "over lines": Request("Proust", "A list:\n- {}\n- born in:\n", "Italy"),
}
LAYERS = (1, 2)


def build(name):
    """A tokenizer and a model of the family that has its like."""
    tokenizer = TOKENIZERS[name]()
    make = tiny_gpt2 if name.startswith("bytes") else tiny_llama
    sizes = {"n_positions": 256} if make is tiny_gpt2 else {"max_position_embeddings": 256}
    return tokenizer, make(len(tokenizer), **sizes)


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


@pytest.fixture(scope="module", params=["bytes", "metaspace legacy"])
def kind(request):
    return build(request.param)


def spelt(tokenizer, ids):
    return composed(tokenizer.decode(ids, skip_special_tokens=True).lstrip(" "))


def composed(text):
    """Letter and accent as one character, for tokenizers that write them so."""
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("context", ["{}", "The old town. {}"])
def test_the_marked_token_ends_the_subject_and_prompt_and_target_are_all_there(
    tokenizer, name, context
):
    request = TEXTS[name]
    ((row,),) = tokenize(tokenizer, [request], [context])
    until = composed(context.replace("{}", request.prompt).split("{}")[0] + request.subject)
    question = composed(context.replace("{}", request.question))
    assert spelt(tokenizer, row.ids[: row.subject + 1]).startswith(until)
    assert not spelt(tokenizer, row.ids[: row.subject]).startswith(until)
    assert spelt(tokenizer, row.ids[: row.target]) == question
    rest = spelt(tokenizer, row.ids).removeprefix(question)
    assert rest.strip() == composed(request.target)
    assert row.subject < row.target < len(row.ids)


@pytest.mark.parametrize("name", TEXTS)
def test_the_key_is_the_plain_one_at_that_token(kind, name):
    tokenizer, model = kind
    used = recipe(layers=LAYERS, v_num_grad_steps=1)
    found = located(tokenizer, model, TEXTS[name], used)
    for layer in LAYERS:
        assert torch.isfinite(found.keys[layer]).all() and found.keys[layer].any()
        assert torch.isfinite(found.residuals[layer]).all()

    def plain(one):
        return plain_key(tokenizer, one, TEXTS[name], used.contexts, LAYERS[0])

    assert_near(found.keys[LAYERS[0]], plain(model), model_rounding(plain, model))


@pytest.mark.parametrize("name", TEXTS)
def test_the_edit_makes_the_target_likelier(kind, name):
    tokenizer, model = kind
    request = TEXTS[name]
    used = recipe(
        layers=LAYERS, contexts=("{}",), v_num_grad_steps=25, clamp_norm_factor=20.0,
        kl_factor=0.0, v_weight_decay=0.0,
    )  # fmt: skip
    found = located(tokenizer, model, request, used)
    whitenings = whitened(tokenizer, model, request)
    solved = {
        layer: solve(
            found.keys[layer][:, None].double(),
            found.residuals[layer][:, None].double(),
            whitenings[layer],
        )
        for layer in LAYERS
    }
    asked = [(request.question, request.target)]
    (before,) = forced(lm_of(model, tokenizer), asked)
    with edited(lm_of(model), Delta(solved), torch.float32):
        (after,) = forced(lm_of(model, tokenizer), asked)
    assert before.log_probability + 0.05 < after.log_probability <= 0


def located(tokenizer, model, request, used):
    (found,) = locate(lm_of(model, tokenizer), [request], used, whitened(tokenizer, model, request))
    return found


def whitened(tokenizer, model, request):
    """By the text's other tokens, so heavily that the edit does not act on them."""
    ((row,),) = tokenize(tokenizer, [request])
    whitenings = {}
    for layer in LAYERS:
        keys = keys_of(model, layer, row.ids).double()
        others = torch.cat([keys[: row.subject], keys[row.subject + 1 :]])
        moment = 100 * others.T @ others + 1e-3 * torch.eye(keys.shape[1]).double()
        whitenings[layer] = Whitening.of(moment)
    return whitenings


def keys_of(model, layer, ids):
    """What goes into the layer's down projection, (tokens, v), by one plain run."""
    seen = []
    handle = (
        lm_of(model)
        .down_proj(layer)
        .register_forward_pre_hook(lambda _module, arguments: seen.append(arguments[0][0].clone()))
    )
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    handle.remove()
    return seen[0]


def plain_key(tokenizer, model, request, contexts, layer):
    """The key at the subject's end, half of it from the first context, by one plain run a context.

    The token is found without offsets: it is the first after which the subject has been read.
    """
    keys = []
    for context in contexts:
        until = composed(context.replace("{}", request.prompt).split("{}")[0] + request.subject)
        ids = tokenizer(context.replace("{}", request.question))["input_ids"]
        at = next(i for i in range(len(ids)) if spelt(tokenizer, ids[: i + 1]).startswith(until))
        keys.append(keys_of(model, layer, ids)[at])
    return (keys[0] + torch.stack(keys[1:]).mean(dim=0)) / 2

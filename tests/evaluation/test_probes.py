"""What is asked of many rows at once, against one row at a time and against generation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS, tiny_gpt2, tiny_llama
from tiny_models import TEXT, lm_of, speak_words
from tolerances import assert_near, model_rounding

from editvc.core.facts import Request
from editvc.evaluation.probes import (
    LARGEST_LOSS,
    NoProbabilities,
    _shared,
    first_tokens,
    forced,
    perplexity,
    predicts_target,
)
from editvc.models.generation import generate
from editvc.models.tokenization import tokenize


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_a_predicted_target_is_what_greedy_generation_says(build, tokenizer):
    model = build(len(tokenizer), tie_word_embeddings=False)
    speak_words(model, tokenizer)
    said = [generate(lm_of(model, tokenizer), request.question, 3) for request in REQUESTS]
    true = [Request(r.subject, r.prompt, text) for r, text in zip(REQUESTS, said, strict=True)]
    mixed = [*true, *REQUESTS]
    answers = predicts_target(lm_of(model, tokenizer), mixed, batch=3)
    assert answers == [
        generate(lm_of(model, tokenizer), r.question, 8).strip().startswith(r.target.strip())
        for r in mixed
    ]
    assert answers[: len(true)] == [True] * len(true)
    assert not all(answers)


PAIRS = [
    *((request.question, request.target) for request in REQUESTS),
    (REQUESTS[0].question, "London"),
    (REQUESTS[0].question, f"{REQUESTS[0].target} and"),
    (f"{REQUESTS[0].question} {REQUESTS[0].target}", "and"),
    ("The capital of", "France"),
]
"""Some begin others, and one is another's, cut elsewhere."""


def logits_alone(lm, ids):
    """All logits (tokens, vocabulary) of one row, run by itself through the whole model."""
    return lm.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_targets_under_teacher_forcing_are_those_of_one_row_at_a_time(build, tokenizer):
    lm = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)

    def log_probabilities(model):
        return [one.log_probability for one in forced(replace(lm, model=model), PAIRS)]

    bound = model_rounding(log_probabilities, lm.model)
    for (prompt, target), found in zip(PAIRS, forced(lm, PAIRS), strict=True):
        ((row,),) = tokenize(tokenizer, [Request(prompt, "{}", target)])
        logits = logits_alone(lm, row.ids)[row.target - 1 : -1]
        chosen = logits.log_softmax(-1)[range(len(logits)), list(row.ids[row.target :])]
        assert_near(found.log_probability, chosen.mean(), bound)
        assert found.all_argmax == (logits.argmax(-1).tolist() == list(row.ids[row.target :]))


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_first_tokens_are_those_of_one_row_at_a_time(build, tokenizer):
    lm = lm_of(build(len(tokenizer)), tokenizer)
    prompts = [prompt for prompt, _ in PAIRS]
    assert first_tokens(lm, prompts) == [
        int(logits_alone(lm, tokenizer(prompt)["input_ids"])[-1].argmax()) for prompt in prompts
    ]
    assert len({*first_tokens(lm, prompts)}) > 1


def test_perplexity_is_that_of_one_block_at_a_time(gpt2, tokenizer):
    lm, text = lm_of(gpt2, tokenizer), " ".join(TEXT)
    ids = tokenizer(text)["input_ids"]
    blocks = [ids[at : at + 8] for at in range(0, len(ids) - 7, 8)]
    losses = [
        -logits_alone(lm, block)[:-1].log_softmax(-1)[range(7), block[1:]] for block in blocks
    ]
    bound = model_rounding(lambda model: perplexity(replace(lm, model=model), text, block=8), gpt2)
    assert_near(perplexity(lm, text, block=8), torch.cat(losses).mean().exp(), bound)
    assert_near(perplexity(lm, text, block=8, blocks=3), torch.cat(losses[:3]).mean().exp(), bound)


def test_rows_that_begin_others_run_once():
    rows = [(1, 2), (1,), (2, 1), (1, 2, 3), (1, 2), (1, 3)]
    runs, run_of = _shared(rows)
    assert sorted(runs) == [(1, 2, 3), (1, 3), (2, 1)]
    for row, run in zip(rows, run_of, strict=True):
        assert runs[run][: len(row)] == row


def test_a_collapsed_model_is_told_of_and_gets_no_scores(tokenizer):
    """Compared with what is no number, every unedited fact would count as kept."""
    model = tiny_llama(len(tokenizer))
    model.model.layers[0].mlp.down_proj.weight.data.fill_(float("inf"))
    lm = lm_of(model, tokenizer)
    for asked in (
        lambda: forced(lm, [("The capital of France is", "Rome")]),
        lambda: first_tokens(lm, ["The capital of France is"]),
        lambda: perplexity(lm, " ".join(TEXT)),
    ):
        with pytest.raises(NoProbabilities, match="not finite"):
            asked()


def test_a_perplexity_past_all_numbers_is_the_largest(tokenizer):
    model = tiny_llama(len(tokenizer), tie_word_embeddings=False)
    model.lm_head.weight.data *= 1e6
    assert perplexity(lm_of(model, tokenizer), " ".join(TEXT)) == math.exp(LARGEST_LOSS)


def test_a_text_shorter_than_a_block_is_asked_as_it_is(tokenizer):
    lm = lm_of(tiny_llama(len(tokenizer)), tokenizer)
    tokens = len(tokenizer(TEXT[0])["input_ids"])
    assert perplexity(lm, TEXT[0]) == perplexity(lm, TEXT[0], block=tokens)
    with pytest.raises(ValueError, match="fewer than two tokens"):
        perplexity(lm, "")

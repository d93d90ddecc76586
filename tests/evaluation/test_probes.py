"""Whether a model predicts a target, against what it generates."""

from __future__ import annotations

import pytest
from model_fixtures import REQUESTS, tiny_gpt2, tiny_llama
from tiny_models import lm_of

from editvc.core.facts import Request
from editvc.evaluation.probes import predicts_target
from editvc.models.generation import generate


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


def speak_words(model, tokenizer):
    """Let a random model say only tokens that are a space and letters: text that can be read."""
    head = model.get_output_embeddings().weight
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if not (text[:1] == " " and text[1:].isascii() and text[1:].isalpha()):
            head[token] = 0

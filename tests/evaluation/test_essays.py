"""TF-IDF and what is written of facts."""

from __future__ import annotations

import math

import pytest
from tiny_models import lm_of, speak_words

from editvc.core.facts import Fact
from editvc.evaluation.essays import JUDGED, cosine, essays, of_each, references, tf_idf
from editvc.evaluation.probes import forced, perplexity_of
from editvc.evaluation.repetition import adjusted_perplexity

TEXTS = ["The cat sat on the mat.", "A dog; the DOG ran", "", "cat and dog"]
FACTS = (
    Fact("France", "The capital of {} is", "Rome", target_true="Paris"),
    Fact("Italy", "The capital of {} is", "Paris", target_true="Rome"),
    Fact("Ada", "{} was born in", "Zürich"),
)


def test_tf_idf_against_scikit_learn() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    vectorizer = text.TfidfVectorizer()
    dense = vectorizer.fit_transform(TEXTS).toarray()
    words = vectorizer.get_feature_names_out()
    for row, vector in zip(dense, tf_idf(TEXTS), strict=True):
        assert {w: v for w, v in zip(words, row, strict=True) if v} == pytest.approx(vector)


def test_cosine() -> None:
    one, other, empty, _ = tf_idf(TEXTS)
    assert cosine(one, one) == pytest.approx(1) and cosine(one, empty) == 0
    assert 0 < cosine(one, other) < 1


def test_references_are_of_things_that_have_the_object(gpt2, tokenizer) -> None:
    lm = lm_of(gpt2, tokenizer)
    speak_words(lm.model, tokenizer)
    texts = essays(lm, FACTS)
    assert references(lm, FACTS) == [
        f"{FACTS[1].question} {texts[1]}", f"{FACTS[0].question} {texts[0]}", "Zürich",
    ]  # fmt: skip


def test_perplexity_is_of_the_first_tokens_of_the_answer(gpt2, tokenizer) -> None:
    lm = lm_of(gpt2, tokenizer)
    speak_words(lm.model, tokenizer)
    texts = essays(lm, FACTS)
    found = of_each(lm, FACTS, [*texts[:2], "short"], ["", "", ""])
    assert len(found["perplexity"]) == 2 and len(found["fluency"]) == 3
    ids = tokenizer(texts[0], add_special_tokens=False)["input_ids"][:JUDGED]
    prompt = tokenizer(FACTS[0].question)["input_ids"]
    whole = perplexity_of(lm, [[*prompt, *ids]])
    head = perplexity_of(lm, [prompt])
    total = math.log(whole) * (len(prompt) + JUDGED - 1) - math.log(head) * (len(prompt) - 1)
    assert found["perplexity"][0] == pytest.approx(math.exp(total / JUDGED), rel=1e-4)
    assert found["adjusted"][0] == pytest.approx(adjusted_perplexity(found["perplexity"][0], ids))
    assert forced(lm, [("The capital of", "France")])[0].log_probability < 0

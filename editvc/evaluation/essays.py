"""How a model writes of a fact's subject: fluency, and consistency with what is true of the object.

The two figures of ROME's and AdaPLE's tables. *Fluency* is the entropy of the n-grams of what is
generated (:func:`editvc.evaluation.repetition.fluency`). *Consistency* is the cosine of two TF-IDF
vectors: of that text, and of reference texts about things that have the new object. The papers take
references from Wikipedia; here they are what the *unedited* model writes after the questions of
facts with that object for a true one, and where no fact has, the object itself.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from editvc.core.facts import Fact
from editvc.evaluation.probes import perplexity_of
from editvc.evaluation.repetition import adjusted_perplexity, fluency
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel

NEW_TOKENS = 64
JUDGED = 20
"""Tokens of an answer whose perplexity is judged, as Lin et al. do; shorter ones are left out."""


def tf_idf(texts: Sequence[str]) -> list[dict[str, float]]:
    """Vectors of length 1, by word: counts times ``ln((1 + n) / (1 + df)) + 1``.

    As scikit-learn's ``TfidfVectorizer`` has it: words of two characters or more, lower case.
    """
    counts = [Counter(re.findall(r"\b\w\w+\b", text.lower())) for text in texts]
    df = Counter(word for count in counts for word in count)
    vectors = []
    for count in counts:
        raw = {w: n * (math.log((1 + len(texts)) / (1 + df[w])) + 1) for w, n in count.items()}
        norm = math.sqrt(sum(value * value for value in raw.values()))
        vectors.append({word: value / norm for word, value in raw.items()})
    return vectors


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Of two vectors of length 1, or 0 where one is empty."""
    return sum(value * other.get(word, 0.0) for word, value in one.items())


def essays(lm: LanguageModel, facts: Sequence[Fact]) -> list[str]:
    """What a model writes after each fact's question."""
    return generate_all(lm, [fact.question for fact in facts], [NEW_TOKENS] * len(facts))


def references(base: LanguageModel, facts: Sequence[Fact]) -> list[str]:
    """For each fact what the unedited model writes of things that have its new object."""
    texts = essays(base, facts)
    by_object: dict[str, list[str]] = {}
    for fact, text in zip(facts, texts, strict=True):
        if fact.target_true:
            by_object.setdefault(fact.target_true, []).append(f"{fact.question} {text}")
    return [" ".join(by_object.get(fact.target_new, [fact.target_new])) for fact in facts]


def of_each(
    base: LanguageModel, facts: Sequence[Fact], texts: Sequence[str], about: Sequence[str]
) -> dict[str, list[float]]:
    """Figures of each text: ``fluency`` in bits, ``consistency`` as a cosine.

    ``perplexity`` and ``adjusted`` are judged by the unedited model on the first 20 tokens behind
    the question; texts with fewer have none. The edited model may not judge itself.
    """
    vectors = tf_idf([*texts, *about])
    found: dict[str, list[float]] = {
        "fluency": [fluency(base.tokenizer.tokenize(text)) for text in texts],
        "consistency": [
            cosine(vectors[place], vectors[len(texts) + place]) for place in range(len(texts))
        ],
        "perplexity": [],
        "adjusted": [],
    }
    for fact, text in zip(facts, texts, strict=True):
        prompt = base.tokenizer(fact.question)["input_ids"]
        answer = base.tokenizer(text, add_special_tokens=False)["input_ids"][:JUDGED]
        if len(answer) == JUDGED:
            plain = perplexity_of(base, [[*prompt, *answer]], last=JUDGED)
            found["perplexity"].append(plain)
            found["adjusted"].append(adjusted_perplexity(plain, answer))
    return found

"""Scores and answers of many facts at once, against one prompt at a time: the specification."""

from __future__ import annotations

import pytest
from model_fixtures import tiny_gpt2, tiny_llama
from tiny_models import lm_of, speak_words

from editvc.core.facts import Fact
from editvc.evaluation.answer_match import first_sentence, match
from editvc.evaluation.objectives import objectives
from editvc.evaluation.probes import first_tokens, forced
from editvc.evaluation.score_columns import Scores
from editvc.evaluation.scores import base_outcomes, locality_answers, outcomes, room, score
from editvc.evaluation.spoken import columns, locality_sentences, spoken
from editvc.models.generation import _up_to, generate, generate_all
from editvc.models.tokenization import tokenize

FACTS = (
    Fact("France", "The capital of {} is", "Rome", target_true="Paris",
         paraphrases=("The capital city of France is", "France has the capital"),
         locality=("The capital of Italy is", "The capital of")),
    Fact("Italy", "The capital of {} is", "Paris", locality=("The capital of France is",)),
    Fact("Ada Lovelace", "{} was born in", "the old town", target_true="London",
         paraphrases=("The birthplace of Ada is",), locality=("The capital of Italy is",),
         hops=("The town where Ada was born lies in",), hop_answers=("France",)),
)  # fmt: skip


def plain_outcomes(lm, fact, base):
    """Every prompt and every object by itself."""

    def one(prompt, target):
        return forced(lm, [(prompt, target)])[0]

    def preferred(prompt):
        return (
            one(prompt, fact.target_new).log_probability
            > one(prompt, fact.target_true).log_probability
        )

    def all_preferred(prompts):
        return [preferred(prompt) for prompt in prompts] if fact.target_true else []

    def said(prompts):
        return [one(prompt, fact.target_new).all_argmax for prompt in prompts]

    return {
        "es": all_preferred([fact.question]),
        "ps": all_preferred(fact.paraphrases),
        "ns": [not each for each in all_preferred(fact.locality)],
        "eff": said([fact.question]),
        "par": said(fact.paraphrases),
        "spe": [first_tokens(lm, [p]) == first_tokens(base, [p]) for p in fact.locality],
    }


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_outcomes_are_those_of_one_prompt_at_a_time(build, tokenizer):
    base = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)
    lm = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)
    for weight in lm.model.parameters():
        weight.data.mul_(1.05)
    speak_words(lm.model, tokenizer)
    reference = locality_answers(base, FACTS)
    found = outcomes(lm, FACTS, reference)
    assert found == [plain_outcomes(lm, fact, base) for fact in FACTS]
    assert score(lm, FACTS, reference) == Scores.of(found)
    unedited = base_outcomes(base, FACTS)
    assert unedited.rows == outcomes(base, FACTS, reference)
    assert unedited.first_tokens == reference
    assert len({each for row in found for column in row.values() for each in column}) == 2


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_the_objectives_of_an_evaluation_are_those_that_the_dry_run_tells(build, tokenizer):
    lm = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)
    rows = [row for (row,) in tokenize(lm.tokenizer, [fact.request for fact in FACTS])]
    measured, told = base_outcomes(lm, FACTS).objectives, objectives(lm, rows)
    assert [one.tokens for one in measured] == [one.tokens for one in told]
    for ours, theirs in zip(measured, told, strict=True):
        # two sums of the same float32 losses, of at most a few tokens, in another order
        assert ours.perplexity == pytest.approx(theirs.perplexity, rel=1e-4)
    assert len({round(one.perplexity, 3) for one in measured}) == len(FACTS)


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_many_answers_are_those_of_one_at_a_time(build, tokenizer):
    lm = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)
    speak_words(lm.model, tokenizer)
    prompts = [p for fact in FACTS for p in (fact.question, *fact.paraphrases, *fact.locality)]
    bounds = [3 + place % 3 for place in range(len(prompts))]
    alone = [generate(lm, p, n) for p, n in zip(prompts, bounds, strict=True)]
    assert generate_all(lm, prompts, bounds) == alone
    assert len({*alone}) > 1


def test_an_answer_ends_where_the_model_ends_it(gpt2, tokenizer, monkeypatch):
    """What fills a row up, because others of the batch go on, is no answer: an ordinary token."""
    lm = lm_of(gpt2, tokenizer)
    monkeypatch.setattr("editvc.models.generation._padding", lambda _: 20)
    names = ("France", "Italy", "Paris", "London", "Ada", "Rome", "Proust", "Zürich")
    prompts = [f"{ending} {name}" for name in names for ending in ("The capital of", "In", "Of")]
    free = [tokenizer(generate(lm, prompt, 6))["input_ids"] for prompt in prompts]
    end = next(token for ids in free for token in ids[:3] if not all(token in one for one in free))
    monkeypatch.setattr(lm.model.generation_config, "eos_token_id", end)
    alone = [generate(lm, prompt, 6) for prompt in prompts]
    assert generate_all(lm, prompts, [6] * len(prompts)) == alone
    assert _up_to([5, 7, 2, 20, 20], {2, 9}) == [5, 7, 2] and _up_to([5, 7], {2}) == [5, 7]


def test_spoken_facts_are_generation_and_match(gpt2, tokenizer):
    lm = lm_of(gpt2, tokenizer)
    speak_words(lm.model, tokenizer)
    base = locality_sentences(lm, FACTS, 4)
    assert base == {p: first_sentence(generate(lm, p, 4)) for fact in FACTS for p in fact.locality}
    rows = spoken(lm, FACTS, base, 4)
    for fact, row in zip(FACTS, rows, strict=True):
        expected = {
            "prompt": [(fact.question, fact.target_new)],
            "paraphrases": [(p, fact.target_new) for p in fact.paraphrases],
            "locality": [(p, base[p]) for p in fact.locality],
            "portability": [*zip(fact.hops, fact.hop_answers, strict=True)],
        }
        for group, asked in expected.items():
            assert len(row[group]) == len(asked)
            bound = room(tokenizer, [fact], 4) if group in ("prompt", "paraphrases") else 4
            for one, (prompt, text) in zip(row[group], asked, strict=True):
                answer = generate(lm, prompt, bound).strip()
                assert (one.prompt, one.answer, one.expected) == (prompt, answer, text)
                assert one.match == match(answer, text)
        assert columns(row)["paraphrases.begins"] == [
            one.match.begins for one in row["paraphrases"]
        ]
    assert all(all(columns(row)["locality.begins"]) for row in rows), "the base keeps its answers"

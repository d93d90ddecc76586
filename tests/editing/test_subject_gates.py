"""Where gated edits answer: twins, ways of asking, and gates on tiny models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model_fixtures import tiny_gpt2, tiny_llama
from tiny_models import TEXT, lm_of
from tiny_tokenizers import TEMPLATES, byte_bpe, chatting

from editvc.algebra.gated_edit import Plateau
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.closing_marks import before_marks
from editvc.editing.first_token import FirstTokenError, first_openings, first_token
from editvc.editing.frames import (
    asked_otherwise,
    content_words,
    question_of,
    shortened,
    tokenize_frames,
)
from editvc.editing.gated import make_elements
from editvc.editing.subject_gates import find_gates, strangers
from editvc.editing.subject_inputs import subject_inputs
from editvc.editing.twins import STEPS, twins
from editvc.models.chat_template import turn_of
from editvc.models.forward import inputs_at, inputs_at_ends
from editvc.models.tokenization import tokenize
from editvc.statistics.entity_moments import Entity
from editvc.statistics.input_moments import input_statistics

NAMES = ("Italy", "London", "Ada Lovelace", "Charles Babbage", "Marie Curie", "Proust")
FRANCE = Request("France", "The capital of {} is", "Rome")
RECIPE = GatedRecipe(
    layers=(1,), subject_contexts=("The name {}", "of {}", "{}"), v_num_grad_steps=2
)


def statistics(lm):
    return input_statistics(lm, TEXT, [Entity(name) for name in NAMES], (1,)).layers[1]


class Stored:
    """What a repository would have for the maker."""

    def __init__(self, inputs) -> None:
        self.inputs = lambda recipe: inputs


# -- names -------------------------------------------------------------------------------


def test_twins_share_words_and_are_not_the_subject(tokenizer) -> None:
    made = twins(tokenizer, "Howard Glacier")
    assert "Boston Glacier" in made and "Glacier" in made and "Howard" in made
    assert any(name.startswith("Howard ") and name != "Howard Glacier" for name in made)
    assert "Howard Glacier" not in made and len(made) == len(set(made))
    assert made == twins(tokenizer, "Howard Glacier")


def test_twins_of_one_word_of_numbers_and_of_small_letters(tokenizer) -> None:
    assert any(name.endswith(" France") for name in twins(tokenizer, "France"))
    numbered = twins(tokenizer, "Windows 8")
    assert {f"Windows {8 + step}" for step in STEPS} <= set(numbered)
    assert "Windows -1" not in twins(tokenizer, "Windows 1")
    assert all(name[0].islower() for name in twins(tokenizer, "attributive verb"))
    assert "Roadster (Albert" in twins(tokenizer, "Roadster (bicycle")


def test_strangers_have_no_part_of_a_subject() -> None:
    names = ["France", "Northern France", "Fran", "Italy"]
    assert strangers(names, ["france"]) == [3]
    assert strangers(names, []) == [0, 1, 2, 3]


# -- ways of asking ----------------------------------------------------------------------


def test_questions_short_forms_and_words_are_those_of_the_prompt() -> None:
    asked = "Which company developed {}? It was developed by"
    assert question_of(asked) == "Which company developed {}?"
    assert question_of("The capital of {} is") == "The capital of {} is what?"
    assert shortened("The capital of {} is") == "The capital of {}"
    assert shortened("{} works in the area of") == "{} works in the area"
    assert shortened("{} plays") is None
    assert content_words(asked) == ["company", "developed"]
    assert content_words("{} is a") == []


def test_a_chat_model_is_asked_in_its_template_and_ends_its_answer(tokenizer) -> None:
    plain = [one.question for one in asked_otherwise(tokenizer, FRANCE)]
    assert "The capital of France is what?" in plain and "France's capital is" in plain
    template = chatting(byte_bpe(), TEMPLATES["chatml"])
    others = asked_otherwise(template, FRANCE)
    turn = turn_of(template)
    answered = [one for one in others if one.prompt == turn.around("The capital of {} is what?")]
    assert [one.target for one in answered] == ["Rome" + turn.end] and turn.end
    restated = others[-1]
    assert restated.question.endswith("The capital of France is") and restated.target == "Rome"
    held = Request("France", turn.around("What of {}?"), "Rome")
    assert asked_otherwise(template, held) == []


def test_frames_that_begin_with_the_subject_are_apart(tokenizer) -> None:
    first = Request("a", "{} is a city in the land of", "b")
    of_france, of_first = framed(tokenizer, [FRANCE, first], RECIPE.contexts)
    assert all(row.subject >= 1 for one in (of_france, of_first) for row in one.behind.rows)
    assert of_first.at_first is not None
    assert all(row.subject == 0 for row in of_first.at_first.rows)
    questions = [asked.question for asked in asked_otherwise(tokenizer, first)]
    begins = [question for question in questions if question.startswith("a")]
    assert len(of_first.at_first.rows) == len(begins) + 1, "and the prompt itself"
    (bare,) = framed(tokenizer, [Request("a", "{}", "b")], ("{}",))
    assert {row.subject for row in bare.behind.rows} == {0}, "searched for all the same"


def test_what_follows_a_mention_is_held_in_either_place(tokenizer) -> None:
    first = Request("a", "{} is a city in the land of", "b")
    for request, (one,) in ((first, framed(tokenizer, [first], RECIPE.contexts)),):
        (behind,) = one.behind.held
        assert tokenizer.decode(behind.ids) == f"Of {request.subject} and more."
        assert tokenizer.decode(behind.ids[: behind.subject + 1]) == f"Of {request.subject}"
        (begun,) = one.at_first.held
        assert tokenizer.decode(begun.ids) == "a and more." and begun.subject == 0
    (of_france,) = framed(tokenizer, [FRANCE], RECIPE.contexts)
    assert tokenizer.decode(of_france.behind.held[0].ids) == "Of France and more."


@pytest.mark.parametrize(
    ("subject", "known"),
    [("Roadster (bicycle)", "Roadster (bicycle"), ("'Heroes'", "'Heroes"), ("C#", "C#"), (")", ")"),
     ("Yahoo!", "Yahoo!"), ("France", "France")],
)  # fmt: skip
def test_a_closing_mark_belongs_to_the_prompt(tokenizer, subject: str, known: str) -> None:
    request = Request(subject, "The maker of {} is", "Rome")
    found = before_marks(request)
    assert (found.subject, found.question, found.target) == (known, request.question, "Rome")
    (plain,), (searched,) = tokenize(tokenizer, [request]), framed(tokenizer, [request], ("{}",))
    row = searched.behind.rows[0]
    assert (row.ids, row.target) == (plain[0].ids, plain[0].target), "the same text"
    assert tokenizer.decode(row.ids[: row.subject + 1]).endswith(known)
    assert all(subject in tokenizer.decode(one.ids) for one in searched.behind.rows)


def framed(tokenizer, requests, contexts):
    return tokenize_frames(tokenizer, requests, contexts, ("Of {} and more.",))


# -- inputs and gates --------------------------------------------------------------------


def test_inputs_at_ends_are_those_of_each_row_alone(llama, tokenizer) -> None:
    lm = lm_of(llama, tokenizer)
    rows = [tuple(tokenizer(text)["input_ids"]) for text in ("The", "Ada Lovelace", TEXT[0])]
    found = inputs_at_ends(lm, rows, [1, 2])
    for layer in (1, 2):
        for place, row in enumerate(rows):
            alone = inputs_at(lm, [row], [[len(row) - 1]], [layer])[layer][0].double()
            assert torch.allclose(found[layer][place], alone, rtol=1e-4, atol=1e-4)
    assert inputs_at_ends(lm, [], [1])[1].shape == (0, lm.hidden_size)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_gate_is_open_for_its_subject_everywhere(family, request, tokenizer) -> None:
    lm = lm_of(request.getfixturevalue(family), tokenizer)
    inputs = statistics(lm)
    (gate,) = find_gates(lm, [FRANCE], RECIPE, inputs)
    (subject,) = subject_inputs(lm, [FRANCE], RECIPE)
    assert float((subject.everywhere @ gate.filter).min()) == pytest.approx(gate.lowest)
    assert gate.threshold == pytest.approx(RECIPE.threshold * gate.lowest)
    assert (gate.telling is not None) is (family == "llama"), "an MLP with a gate multiplies"
    steep = Plateau(RECIPE.slope, 1e-6).arriving(subject.everywhere, gate)
    if gate.telling is None:
        assert bool((steep == 1).all())


G = Request("g", "{} is a city in the land of", "b")


def alike(build, tokenizer):
    """A tiny model of its own whose tokens have much in common, as those of real models have."""
    lm = lm_of(build(len(tokenizer)), tokenizer)
    with torch.no_grad():
        lm.embeddings.weight += 8 * lm.embeddings.weight.std()
    return lm


@pytest.fixture(params=[tiny_gpt2, tiny_llama])
def lm_with_first(request, tokenizer):
    return alike(request.param, tokenizer)


def test_a_first_token_has_a_gate_of_its_own(lm_with_first, tokenizer) -> None:
    lm, first = lm_with_first, G
    inputs = statistics(lm)
    of_france, gate = find_gates(lm, [FRANCE, first], RECIPE, inputs)
    assert of_france.first is None, "more than one token"
    opening = gate.first
    assert opening is not None
    token = first_token(lm, "g")
    every = [(one,) for one in range(len(tokenizer))]  # the very rows that the filter was made of
    at_start = inputs_at_ends(lm, every, (1,))[1]
    own, at_start = at_start[token], torch.cat([at_start[:token], at_start[token + 1 :]])
    assert float(own @ opening.filter) == pytest.approx(1)
    b = None if lm.has_inner_bias(1) else inputs.constant
    level = [1.0 if b is None else float(x @ b) for x in (own, *at_start, *inputs.inputs)]
    above = float(own @ opening.filter) - opening.threshold * level[0]
    below = [
        opening.threshold * its - float(x @ opening.filter)
        for its, x in zip(level[1:], (*at_start, *inputs.inputs), strict=True)
    ]
    assert above == pytest.approx(min(*below, *_margins(inputs.text, opening, b)), abs=1e-9), (
        "half way to the nearest"
    )
    (subject,) = subject_inputs(lm, [first], RECIPE)
    assert len(subject.everywhere) == 2, "neither the bare name nor its own prompt"


def _margins(inputs, opening, b) -> list[float]:
    level = torch.ones(len(inputs), dtype=torch.float64) if b is None else inputs @ b
    return (opening.threshold * level - inputs @ opening.filter).tolist()


def test_a_gate_that_no_threshold_can_part_from_another_token_is_not_made(tokenizer) -> None:
    """Where the constant direction is negative, a higher threshold opens the gate wider."""
    lm = alike(tiny_llama, tokenizer)
    inputs = statistics(lm)
    behind = Request("g", "the city of {} is in", "b")
    (opening,) = first_openings(lm, [behind], RECIPE, inputs, inputs.moment)
    assert opening is not None
    rows = torch.stack([opening.filter, inputs.constant])
    wanted = torch.tensor([[3.0], [-2.0]], dtype=torch.float64)
    strange = torch.linalg.lstsq(rows, wanted).solution.T
    with_it = replace(inputs, text=torch.cat([inputs.text, strange]))
    assert first_openings(lm, [behind], RECIPE, with_it, inputs.moment) == [None]


def test_an_edit_holds_where_its_subject_is_the_first_token(lm_with_first) -> None:
    """On its own place alone: behind other tokens the neurons for the first one are silent."""
    lm = lm_with_first
    biased = lm.has_inner_bias(1)
    inputs = statistics(lm)
    (edit,) = make_elements(lm, [G], RECIPE, Stored(inputs), None)
    assert edit.first is not None and edit.figures["lost_at_start"] == 0.0
    neurons = Plateau(RECIPE.slope, RECIPE.rise).neurons(edit, inputs.constant, biased=biased)
    assert len(neurons) == 4
    alone = replace(edit, first=None)
    fewer = Plateau(RECIPE.slope, RECIPE.rise).neurons(alone, inputs.constant, biased=biased)
    (own,) = inputs_at_ends(lm, [(first_token(lm, "g"),)], (1,))[1]
    added, silent = (each.contribution(own, lm.activation).norm() for each in (neurons, fewer))
    assert added > 0.5 * edit.first.value.norm() > 10 * silent
    for x in inputs.inputs:
        both, one = (each.contribution(x, lm.activation) for each in (neurons, fewer))
        assert float((both - one).norm()) < 0.05 * float(edit.first.value.norm())


def test_a_first_token_like_another_is_refused_in_a_prompt_and_told_elsewhere(tokenizer) -> None:
    lm = lm_of(tiny_gpt2(len(tokenizer)), tokenizer)
    with torch.no_grad():
        weights = lm.embeddings.weight
        weights[:] = weights[0]  # every first token is every other
    inputs = statistics(lm)
    with pytest.raises(FirstTokenError, match="'a is a city in the land of' begins with") as told:
        find_gates(lm, [Request("a", "{} is a city in the land of", "b")], RECIPE, inputs)
    assert "It is known that {}" in told.value.hint
    behind = Request("a", "the city of {} is in", "b")
    (edit,) = make_elements(lm, [behind], RECIPE, Stored(inputs), None)
    assert edit.first is None and edit.figures["lost_at_start"] == 1.0


def test_behind_a_bos_the_first_word_is_like_any_other(gpt2, bos_tokenizer) -> None:
    lm = lm_of(gpt2, bos_tokenizer)
    first = Request("a", "{} is a city in the land of", "b")
    (gate,) = find_gates(lm, [first], RECIPE, statistics(lm))
    assert gate.first is None

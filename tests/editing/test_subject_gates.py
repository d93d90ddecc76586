"""Where gated edits answer: twins, ways of asking, and gates on tiny models."""

from __future__ import annotations

import pytest
import torch
from tiny_models import TEXT, lm_of
from tiny_tokenizers import TEMPLATES, byte_bpe, chatting

from editvc.algebra.gated_edit import Plateau
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
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


def test_frames_are_as_many_for_each_and_none_begins_with_the_subject(tokenizer) -> None:
    first = Request("a", "{} is a city in the land of", "b")
    requests = [FRANCE, first]
    edits = tokenize_frames(tokenizer, requests, RECIPE.contexts)
    assert len({len(edit.rows) for edit in edits}) == 1
    assert all(row.subject >= 1 for edit in edits for row in edit.rows)


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
    assert not gate.first_token
    steep = Plateau(RECIPE.slope, 1e-6).arriving(subject.everywhere, gate)
    if gate.telling is None:
        assert bool((steep == 1).all())


def test_a_subject_that_begins_its_prompt_is_told_and_still_made(gpt2, tokenizer) -> None:
    lm = lm_of(gpt2, tokenizer)
    first = Request("a", "{} is a city in the land of", "b")
    inputs = statistics(lm)
    gates = find_gates(lm, [FRANCE, first], RECIPE, inputs)
    assert [gate.first_token for gate in gates] == [False, True]
    (subject,) = subject_inputs(lm, [first], RECIPE)
    assert len(subject.everywhere) == 2, "neither the bare name nor its own prompt"
    made = make_elements(lm, [FRANCE, first], RECIPE, Stored(inputs), None)
    assert [edit.figures["first_token"] for edit in made] == [0.0, 1.0]


def test_behind_a_bos_the_first_word_is_like_any_other(gpt2, bos_tokenizer) -> None:
    lm = lm_of(gpt2, bos_tokenizer)
    first = Request("a", "{} is a city in the land of", "b")
    (gate,) = find_gates(lm, [first], RECIPE, statistics(lm))
    assert not gate.first_token

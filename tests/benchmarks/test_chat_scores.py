"""Many questions answered at once against one at a time, and what counts as an answer."""

from __future__ import annotations

import pytest
from chat_scores import NEW_TOKENS, QUESTIONS, ROWS, chat_answers, question, says

from editvc.models.chat_template import turn_of
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel


def test_answers_are_those_of_one_question_at_a_time(chat: LanguageModel) -> None:
    words = [f"{'Why ' * (number % 5)}Paris {number}?" for number in range(ROWS + 3)]
    turn = turn_of(chat.tokenizer)
    alone = [generate(chat, turn.around(text), NEW_TOKENS) for text in words]
    assert chat_answers(chat, words) == alone
    assert len({*alone}) > 1


def test_a_question_is_the_relations_or_goes_on_with_the_prompt() -> None:
    assert question("P36", "Peru", "Peru's capital is") == "What is the capital of Peru?"
    assert question("P0", "Peru", "Peru, as ") == "Complete this sentence: Peru, as ..."
    assert all(text.count("{}") == 1 and text.endswith("?") for text in QUESTIONS.values())


@pytest.mark.parametrize(
    ("answer", "subject", "name", "named"),
    [
        ("The capital is Rome.", "France", "Rome", True),
        ("These are VERBS.", "to be", "verb", True),
        ("It lies in Eurasia.", "Ob", "Asia", False),
        ("Microsoft Windows runs on PCs.", "Microsoft Windows", "Microsoft", False),
        ("Microsoft Windows is by Microsoft.", "microsoft windows", "Microsoft", True),
        ("It costs 3.5 C++ coins", "", "C++", True),
    ],
)
def test_what_an_answer_names(answer: str, subject: str, name: str, named: bool) -> None:
    assert says(answer, subject, name) is named

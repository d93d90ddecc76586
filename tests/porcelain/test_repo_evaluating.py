"""``evaluate``, and what a commit says of its own facts: whether the new version says them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_models import lm_of
from tiny_repos import FACTS, FRESH, OTHERS

from editvc import Fact, Repo
from editvc.core.methods.grace import GraceRecipe
from editvc.evaluation.scores import answers_correctly, locality_answers, score
from editvc.models.generation import EmptyPrompt, generate
from editvc.porcelain.evaluate import NothingToEvaluate


@pytest.fixture
def certain(repo: Repo) -> GraceRecipe:
    """A recipe whose facts are said by a model that knows nothing."""
    found = repo.choose("grace", options=["layers=[2]", "eps=0.01", "edit_lr=0.3"]).recipe
    assert isinstance(found, GraceRecipe)
    return found


def test_generation_and_scores_are_those_of_the_loaded_model(
    repo: Repo, certain: GraceRecipe
) -> None:
    repo.commit(FACTS[:2], recipe=certain)
    repo.commit(FACTS[2:5], recipe=replace(certain, n_iter=1))  # no step is made
    facts, tokenizer = repo.live(), repo.load_tokenizer()
    lm = lm_of(repo.load_model(), tokenizer)
    found = repo.evaluate()
    assert found.facts == 5 and 0 < len(found.failed) <= 3
    for one in found.failed:
        said = generate(lm, one.fact.question, 12).strip()
        assert one.answer == said and not said.startswith(one.fact.target_new)
    assert {one.fact for one in found.failed} <= set(FACTS[2:5])
    assert found.generated == 100 * (5 - len(found.failed)) / 5
    base = lm_of(repo.load_model("base"), tokenizer)
    reference = locality_answers(base, facts)
    assert found.base == score(base, facts, reference)
    assert found.scores == score(lm, facts, reference)


def test_any_facts_can_be_asked_of_any_revision(repo: Repo, certain: GraceRecipe) -> None:
    repo.commit(FACTS[:2], recipe=certain)
    assert not repo.evaluate().failed
    assert len(repo.evaluate(FACTS[:2], at="base").failed) == 2
    others = repo.evaluate([{"subject": "France", "prompt": "The capital of {} is",
                             "target_new": "London"}])  # fmt: skip
    assert [one.answer[:4] for one in others.failed] == ["Rome"]
    with pytest.raises(NothingToEvaluate, match="no facts are live"):
        repo.evaluate(at="base")


def test_a_commit_tells_which_of_its_facts_the_new_version_does_not_say(
    repo: Repo, certain: GraceRecipe
) -> None:
    good = repo.commit(FACTS[:2], recipe=certain)
    assert (good.checked, good.failed) == (2, ())
    weak = replace(certain, n_iter=1)
    bad = repo.commit(OTHERS, recipe=weak, supersede=True)
    assert bad.checked == 2 and set(bad.failed) == set(OTHERS)
    assert bad.to_json()["unsaid"] == [fact.id for fact in bad.failed]
    located = repo.commit(FRESH)
    assert {fact.id for fact in located.failed} == {
        one.fact.id for one in repo.evaluate(FRESH).failed
    }


def test_an_object_longer_than_most_is_waited_for(repo: Repo, certain: GraceRecipe) -> None:
    long = Fact("Proust", "The native language of {} is", "the old " * 12 + "sea")
    made = repo.commit([long], recipe=replace(certain, n_iter=300))
    assert (made.failed, repo.evaluate().failed) == ((), ())


def test_an_empty_prompt_is_refused(repo: Repo) -> None:
    with pytest.raises(EmptyPrompt, match="empty"):
        repo.ask("")


def test_what_was_made_before_is_committed_without_the_model(repo: Repo) -> None:
    made = repo.commit(FACTS[:2])
    assert (made.checked, made.failed) == (0, ())
    assert not repo.session.holds_model


@pytest.mark.parametrize(
    ("target", "answer", "said"),
    [
        ("Rome", "Rome.", True),
        ("Rome", "Rome", True),
        ("Ro", "Rome.", False),
        ("19", "1984", False),
        ("19", "19, or so", True),
        ("Rome", "Romé", False),
        ("Romé", "Roméo", False),
        ("東京", "東京都です", True),
        ("C+", "C++", True),
    ],
)
def test_an_answer_says_whole_words(target: str, answer: str, said: bool) -> None:
    assert answers_correctly(answer, Fact("France", "The capital of {} is", target)) is said


def test_a_fact_that_stands_twice_is_asked_once(repo: Repo) -> None:
    assert repo.evaluate([FACTS[0], FACTS[1], FACTS[0]]).facts == 2

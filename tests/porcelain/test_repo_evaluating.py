"""``evaluate``, and what a commit says of its own facts: whether the new version says them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_repos import FACTS, FRESH, OTHERS

from editvc import Fact, Repo
from editvc.core.patch_recipes import Grace
from editvc.editing.loading import EmptyPrompt, generate
from editvc.evaluation.scores import locality_answers, says, score
from editvc.porcelain.evaluating import NothingToEvaluate


@pytest.fixture
def certain(repo: Repo) -> Grace:
    """A recipe whose facts are said by a model that knows nothing."""
    found = repo.choose("grace", options=["layers=[2]", "eps=0.01", "edit_lr=0.3"]).recipe
    assert isinstance(found, Grace)
    return found


def test_generation_and_scores_are_those_of_the_loaded_model(repo: Repo, certain: Grace) -> None:
    repo.commit(FACTS[:2], recipe=certain)
    repo.commit(FACTS[2:5], recipe=replace(certain, n_iter=1))  # no step is made
    facts, model, tokenizer = repo.live(), repo.load_model(), repo.load_tokenizer()
    found = repo.evaluate()
    assert found.facts == 5 and 0 < len(found.unsaid) <= 3
    for one in found.unsaid:
        said = generate(model, tokenizer, one.fact.question, 12).strip()
        assert one.answer == said and not said.startswith(one.fact.target_new)
    assert {one.fact for one in found.unsaid} <= set(FACTS[2:5])
    assert found.generated == 100 * (5 - len(found.unsaid)) / 5
    base = repo.load_model("base")
    reference = locality_answers(base, tokenizer, facts)
    assert found.base == score(base, tokenizer, facts, reference)
    expected = score(model, tokenizer, facts, reference)
    assert found.scores == expected


def test_any_facts_can_be_asked_of_any_revision(repo: Repo, certain: Grace) -> None:
    repo.commit(FACTS[:2], recipe=certain)
    assert not repo.evaluate().unsaid
    assert len(repo.evaluate(FACTS[:2], at="base").unsaid) == 2
    others = repo.evaluate([{"subject": "France", "prompt": "The capital of {} is",
                             "target_new": "London"}])  # fmt: skip
    assert [one.answer[:4] for one in others.unsaid] == ["Rome"]
    with pytest.raises(NothingToEvaluate, match="no facts are live"):
        repo.evaluate(at="base")


def test_a_commit_tells_which_of_its_facts_the_new_version_does_not_say(
    repo: Repo, certain: Grace
) -> None:
    good = repo.commit(FACTS[:2], recipe=certain)
    assert (good.asked, good.unsaid) == (2, ())
    weak = replace(certain, n_iter=1)
    bad = repo.commit(OTHERS, recipe=weak, supersede=True)
    assert bad.asked == 2 and set(bad.unsaid) == set(OTHERS)
    assert bad.to_json()["unsaid"] == [fact.id for fact in bad.unsaid]
    located = repo.commit(FRESH)
    assert {fact.id for fact in located.unsaid} == {
        one.fact.id for one in repo.evaluate(FRESH).unsaid
    }


def test_an_object_longer_than_most_is_waited_for(repo: Repo, certain: Grace) -> None:
    long = Fact("Proust", "The native language of {} is", "the old " * 12 + "sea")
    made = repo.commit([long], recipe=replace(certain, n_iter=300))
    assert (made.unsaid, repo.evaluate().unsaid) == ((), ())


def test_an_empty_prompt_is_refused(repo: Repo) -> None:
    with pytest.raises(EmptyPrompt, match="empty"):
        repo.ask("")


def test_what_was_made_before_is_committed_without_the_model(repo: Repo) -> None:
    made = repo.commit(FACTS[:2])
    assert (made.asked, made.unsaid) == (0, ())
    assert not repo.holds_model


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
    assert says(answer, Fact("France", "The capital of {} is", target)) is said


def test_a_fact_that_stands_twice_is_asked_once(repo: Repo) -> None:
    assert repo.evaluate([FACTS[0], FACTS[1], FACTS[0]]).facts == 2

"""``Repo.trace``: whose effects are traced, for which object, on which weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_repos import FACTS, FRESH, known_fact

from editvc import Repo
from editvc.core.facts import Fact
from editvc.evaluation.causal_tracing import causal_trace, subject_deviation
from editvc.evaluation.probes import predicts_target
from editvc.porcelain.trace import Corruption, NothingKnown

HOW = Corruption(noise=2.0, samples=2, seed=3)


def other(fact: Fact) -> Fact:
    """The same true object, beside a new one that nobody says."""
    return replace(fact, target_new="Charles Babbage", target_true=fact.target_new)


def test_what_the_model_says_is_traced_and_what_it_does_not_know_left_out(repo: Repo) -> None:
    fact = known_fact(repo)
    report = repo.trace([FACTS[0], other(fact), FRESH[0]], corruption=HOW)
    (found,) = report.traces
    assert found.request == fact.request, "the true object, since it says that"
    assert [one.fact for one in report.skipped] == [FACTS[0], FRESH[0]]
    lm = repo.session.base_model()
    deviation = 2.0 * subject_deviation(lm, [found.request])
    expected = causal_trace(lm, found.request, deviation=deviation, samples=2, seed=3)
    assert report.deviation == deviation
    assert torch.equal(found.effects, expected.effects)
    assert (report.average.count, report.average.clean) == (1, found.clean)


def test_nothing_known_says_what_can_be_traced(repo: Repo) -> None:
    with pytest.raises(NothingKnown, match="any of 2 facts") as caught:
        repo.trace(FACTS[:2], corruption=HOW)
    assert "editvc trace --prompt" in caught.value.hint


def test_a_prompt_without_a_target_is_traced_for_what_the_model_says(repo: Repo) -> None:
    fact = known_fact(repo)
    (said,) = repo.trace_prompt(fact.prompt, fact.subject, corruption=HOW).traces
    (told,) = repo.trace_prompt(fact.prompt, fact.subject, fact.target_new, corruption=HOW).traces
    assert said.request.target == fact.target_new
    assert torch.equal(said.effects, told.effects)


def test_an_edit_is_traced_at_the_revision_that_holds_it(repo: Repo) -> None:
    """The random model hardly takes edits; a large target that is met is enough here."""
    repo.session.repository.set_config("recipe.clamp_norm_factor", "20")
    repo.session.repository.set_config("recipe.v_num_grad_steps", "60")
    fact = Fact("London", "The river that runs through {}", "is")
    repo.commit([fact])
    base = repo.trace_prompt(fact.prompt, fact.subject, "is", corruption=HOW)
    head = repo.trace_prompt(fact.prompt, fact.subject, "is", at="HEAD", corruption=HOW)
    assert head.traces[0].clean > base.traces[0].clean + 0.1
    lm = repo.session.base_model()
    assert predicts_target(lm, [fact.request]) == [False], "the base is back"
    again = repo.trace_prompt(fact.prompt, fact.subject, "is", corruption=HOW)
    assert torch.equal(base.traces[0].effects, again.traces[0].effects)


def test_several_kinds_differ_and_the_average_has_its_curves(repo: Repo) -> None:
    fact = known_fact(repo)
    reports = [repo.trace([fact, fact], kind=kind, corruption=HOW) for kind in ("hidden", "mlp")]
    assert [len(report.traces) for report in reports] == [1, 1], "a repeated fact counts once"
    assert not torch.equal(reports[0].traces[0].effects, reports[1].traces[0].effects)
    assert next(iter(reports[0].curves)) == "last subject token"
    assert all(len(curve) == 4 for curve in reports[0].curves.values())

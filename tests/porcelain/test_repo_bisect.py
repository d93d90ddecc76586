"""``bisect``: a planted culprit is found, among commits and in the set, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_repos import FACTS, OTHERS, contents

from editvc import Repo
from editvc.core.bisection import Verdict
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.porcelain.bisect import NotBefore
from editvc.porcelain.candidates import Candidate, Judge, Judged, NothingToBisect
from editvc.porcelain.judges import (
    CommandFailed,
    NothingToMeasure,
    by_answer,
    by_command,
    by_metric,
)


def holding(*culprits: Fact) -> Judge:
    """Bad is what holds all of these facts."""

    def judge(candidate: Candidate) -> Judged:
        edits = candidate.session.repository.edits_of(candidate.tree)
        live = {entry.fact for entry in edits.entries()}
        bad = {fact.id for fact in culprits} <= live
        return Judged(Verdict.BAD if bad else Verdict.GOOD, f"{len(live)} live")

    return judge


@pytest.fixture
def history(repo: Repo) -> Repo:
    """Six facts, one a commit."""
    for fact in FACTS:
        repo.commit([fact])
    return repo


@pytest.mark.parametrize("number", range(6))
def test_the_commit_that_brought_a_culprit_is_found(history: Repo, number: int) -> None:
    found = history.bisect("base", "HEAD", holding(FACTS[number]))
    assert found.row.number == number + 1
    assert found.changes.added == (FACTS[number],)
    assert found.cures == (f"editvc revert {found.row.id[:10]}",)
    assert len(found.tested) <= 2 + 3, "both ends, and the logarithm of six"


def test_the_smallest_set_is_found_and_nothing_is_written(history: Repo, work: Path) -> None:
    before = contents(work)
    found = history.bisect_set("base", "HEAD", holding(FACTS[1], FACTS[4]))
    assert {fact.id for fact in found.changes.added} == {FACTS[1].id, FACTS[4].id}
    assert found.heals
    assert {history.show(commit).row.number for commit in found.brought.values()} == {2, 5}
    assert contents(work) == before


def test_a_second_cause_is_told(history: Repo) -> None:
    one, other = holding(FACTS[0]), holding(FACTS[5])

    def either(candidate: Candidate) -> Judged:
        return max(one(candidate), other(candidate), key=lambda it: it.verdict is Verdict.BAD)

    found = history.bisect_set("base", "HEAD", either)
    assert len(found.changes.added) == 1 and not found.heals


def test_facts_that_went_or_changed_and_a_restraint_are_steps_as_well(history: Repo) -> None:
    history.commit(OTHERS[:1], supersede=True)
    history.revert(FACTS[3].id)
    history.compact(Restraint(rank=1))

    def judge(candidate: Candidate) -> Judged:
        edits = candidate.session.repository.edits_of(candidate.tree)
        live = {entry.fact for entry in edits.entries()}
        gone = FACTS[3].id not in live and OTHERS[0].id in live
        bad = gone and candidate.tree.restraint is not None
        return Judged(Verdict.BAD if bad else Verdict.GOOD, "")

    found = history.bisect_set("6", "HEAD", judge)
    assert found.changes.removed == (FACTS[3],)
    assert found.changes.changed == ((FACTS[0], OTHERS[0]),)
    assert found.changes.added == () and found.restraint == Restraint(rank=1)
    assert found.cures == (f"editvc revert {OTHERS[0].id[:10]}", "editvc compact --off")


def test_ends_that_do_not_differ_are_refused(history: Repo) -> None:
    with pytest.raises(NothingToBisect, match="3 is bad"):
        history.bisect("3", "HEAD", holding(FACTS[0]))
    with pytest.raises(NothingToBisect, match="HEAD is good"):
        history.bisect_set("base", "HEAD", holding(*OTHERS))
    with pytest.raises(NotBefore):
        history.bisect("HEAD", "2", holding(FACTS[0]))


def test_an_answer_is_judged_on_the_model_of_each_candidate(history: Repo) -> None:
    prompt = FACTS[0].question
    said = {at: history.ask(prompt, at=at) for at in ("base", "HEAD")}
    if said["base"] == said["HEAD"]:
        pytest.skip("the edits do not show in this answer")
    found = history.bisect("base", "HEAD", by_answer(prompt, expect=said["base"]))
    row = found.row
    before = "base" if row.number == 1 else str(row.number - 1)
    assert history.ask(prompt, at=before) != history.ask(prompt, at=row.id)
    with pytest.raises(NothingToBisect):
        history.bisect("base", "HEAD", by_answer(prompt, reject=said["base"]))


def test_a_command_sees_the_weights_of_the_candidate(history: Repo) -> None:
    weight = "transformer.h.1.mlp.c_proj.weight"
    base = load_file(history.session.materialiser.folder / "model.safetensors")[weight]
    seen: list[tuple[str, bool]] = []

    def run(variables: Mapping[str, str]) -> int:
        model = load_file(Path(variables["EDITVC_MODEL"]) / "model.safetensors")
        changed = not model[weight].equal(base)
        seen.append((variables["EDITVC_COMMIT"], changed))
        return 1 if changed else 0

    assert history.bisect("base", "2", by_command(run)).row.number == 1
    assert seen[0] == ("", False) and all(commit and changed for commit, changed in seen[1:])


def test_a_command_may_skip_and_one_that_fails_ends_the_search(history: Repo) -> None:
    codes = {"1": 125, "2": 125, "3": 1}
    numbers = {history.show(number).row.id: number for number in codes}

    def run(variables: Mapping[str, str]) -> int:
        return codes[numbers[variables["EDITVC_COMMIT"]]] if variables["EDITVC_COMMIT"] else 0

    found = history.bisect("base", "3", by_command(run))
    assert found.row.number == 3 and [row.number for row in found.untold] == [1, 2]
    for code in (130, -9):
        with pytest.raises(CommandFailed):
            history.bisect("base", "3", by_command(lambda variables, code=code: code))


def test_metrics_are_figures_with_a_limit(history: Repo) -> None:
    norms = [dict(history.show(str(number)).health)["delta_norm"] for number in range(1, 7)]
    limit = (norms[2] + norms[3]) / 2
    first = next(number for number, norm in enumerate(norms, 1) if norm > limit)
    if norms == sorted(norms):
        found = history.bisect("base", "HEAD", by_metric("delta_norm", limit))
        assert found.row.number == first
    with pytest.raises(NothingToMeasure, match="ps has nothing to ask"):
        history.bisect("base", "HEAD", by_metric("ps", 50.0, FACTS[:1]))
    with pytest.raises(NothingToBisect, match="base is bad"):
        history.bisect("base", "HEAD", by_metric("perplexity", 1.0))

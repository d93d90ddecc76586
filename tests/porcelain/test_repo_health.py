"""Which edits a report of health names."""

from __future__ import annotations

from repo_rounding import solution_rounding
from tiny_repos import FACTS
from tolerances import assert_near

from editvc import Repo
from editvc.core.history import Restraint
from editvc.porcelain.health import ATTENUATED_BELOW


def test_an_edit_that_is_alone_keeps_its_share_and_is_not_named(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    report = repo.health()
    for layer in report.layers:
        assert_near(layer.kept, 1.0, solution_rounding(repo, layer.layer))
    assert report.worst == ()


def test_edits_that_lose_much_are_named_the_worst_first(repo: Repo) -> None:
    repo.commit(FACTS)
    repo.compact(Restraint(rank=1))
    report = repo.health()
    kept = [edit.kept for edit in report.worst]
    assert kept and kept == sorted(kept) and kept[-1] < ATTENUATED_BELOW
    assert kept[0] == min(share for layer in report.layers for _, share in layer.worst)
    assert len({edit.fact.id for edit in report.worst}) == len(kept)

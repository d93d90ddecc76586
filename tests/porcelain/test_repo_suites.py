"""Suites beside facts' own scores, and what ``log`` and ``diff`` tell of results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_repos import FACTS, OTHERS, Prepared, close, opened

from editvc import Repo
from editvc.core.methods.grace import GraceRecipe
from editvc.evaluation.abilities import TaskFileError
from editvc.porcelain.edits_result import NothingToEvaluate
from editvc.porcelain.kept_scores import side_by_side
from editvc.porcelain.measure import NoSuchSuite, NoTasks


@pytest.fixture
def certain(repo: Repo) -> GraceRecipe:
    found = repo.choose("grace", options=["layers=[2]", "eps=0.01", "edit_lr=0.3"]).recipe
    assert isinstance(found, GraceRecipe)
    return found


def test_abilities_are_measured_once(repo: Repo, tmp_path: Path) -> None:
    rows = [{"question": f"who {n}?", "answers": ["Rome"]} for n in range(12)]
    path = tmp_path / "natural_questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    repo.commit(FACTS[:1])
    first = repo.measure("abilities", tasks=[tmp_path], items=3)
    assert first.figures["natural_questions"]["asked"] in (0, 3)
    again = opened(repo.folder.parent)
    assert again.measure("abilities", tasks=[path], items=3) == first
    assert not again.session.holds_model
    again.measure("abilities", tasks=[path], items=2)
    assert again.session.holds_model
    close(again)
    path.write_text(path.read_text()[: path.read_text().rindex("{")], encoding="utf-8")
    assert len(list(repo.session.repository.results.folder.rglob("*.json"))) == 2
    repo.measure("abilities", tasks=[path], items=3)
    assert len(list(repo.session.repository.results.folder.rglob("*.json"))) == 3


def test_what_is_no_suite_and_no_task(repo: Repo, prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(NoSuchSuite, match="abilites") as refused:
        repo.measure("abilites")
    assert "abilities" in refused.value.hint
    with pytest.raises(NoTasks):
        repo.measure("abilities", tasks=[tmp_path])
    other = tmp_path / "other.jsonl"
    other.write_text("{}")
    with pytest.raises(TaskFileError, match="the file of no task"):
        repo.measure("abilities", tasks=[other])
    with pytest.raises(NothingToEvaluate):
        repo.measure("generation", at="base")


def test_generation_is_held_against_the_base(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    found = repo.measure("generation")
    assert found.figures.keys() == {"base", "revision"}
    assert found.figures["base"]["fluency"] > 0
    assert [one["fact"] for one in found.record["facts"]] == [f.id for f in repo.live()]


def test_forgetting_over_history(repo: Repo, certain: GraceRecipe) -> None:
    """A fact that was made to hold, one that never held, one that is replaced."""
    repo.commit(FACTS[:2], recipe=certain)
    repo.commit(FACTS[2:4], recipe=replace(certain, n_iter=1))
    repo.commit(OTHERS[:1], recipe=certain, supersede=True)
    found = repo.measure("forgetting")
    assert [*found.figures] == ["commit 1", "commit 2", "commit 3"]
    assert found.figures["commit 1"] == {
        "held at once": 100.0, "forgotten": None, "overall": 100.0,
    }  # fmt: skip
    assert found.figures["commit 2"]["forgotten"] == 0.0
    assert found.figures["commit 2"]["held at once"] < 100.0
    last = {one["of"]: one["facts"] for one in found.record["held"] if one["after"] == 3}
    assert sorted(map(str, last[1])) == ["None", "True"], "the replaced one is not asked"
    assert last[3] == [True]


def test_results_are_told_without_the_model(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    assert repo.scores() == []
    found = repo.evaluate()
    repo.measure("generation")
    (edits, generation) = repo.scores()
    assert (edits.suite, edits.figures["eff"]) == ("edits", found.scores.eff)
    assert "revision fluency" in generation.figures
    repo.commit(FACTS[2:3])
    repo.evaluate()
    rows = side_by_side(repo.scores("HEAD~1"), repo.scores())
    by_name = {row.figure: row for row in rows}
    assert by_name["eff"].before == found.scores.eff and by_name["eff"].after is not None
    assert by_name["revision fluency"].after is None

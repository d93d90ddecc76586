"""``evaluate`` keeps its results: the second time nothing is computed."""

from __future__ import annotations

import pytest
from cli_runs import environment, poisoned, script
from tiny_repos import FACTS, OTHERS, Prepared, close, opened

from editvc import Repo
from editvc.porcelain.evaluate import NothingToEvaluate
from editvc.vcs.fsck import fsck


def test_the_second_time_nothing_is_computed(repo: Repo, prepared: Prepared) -> None:
    repo.commit(FACTS[:3])
    first = repo.evaluate()
    again = opened(repo.folder.parent)
    assert again.evaluate() == first and not again.session.holds_model
    assert again.evaluate(max_new_tokens=5) != first and again.session.holds_model
    close(again)


def test_another_question_is_asked_anew(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    one = repo.evaluate()
    assert repo.evaluate(FACTS[:1]).facts == 1
    repo.commit(OTHERS[:1], supersede=True)
    changed = repo.evaluate()
    assert {row["fact"] for row in changed.record["per_fact"]} != {
        row["fact"] for row in one.record["per_fact"]
    }


def test_again_measures_and_replaces(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    first = repo.evaluate()
    results = repo.session.repository.results
    files = sorted(results.folder.rglob("*.json"))
    for path in files:
        path.write_bytes(b"{}")
    assert {*map(str, files)} == {str(results.folder / name) for name in results.damaged()}
    assert not fsck(repo.session.repository).clean
    assert repo.evaluate(again=True) == first
    assert fsck(repo.session.repository).clean


def test_a_range_asks_for_what_is_new_in_it(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    repo.commit([*FACTS[2:4], OTHERS[0]], supersede=True)
    facts = repo.evaluate(at="HEAD~1..HEAD")
    new = {FACTS[2].id, FACTS[3].id, OTHERS[0].id}
    assert {row["fact"] for row in facts.record["per_fact"]} == new
    assert {row["fact"] for row in repo.evaluate(at="base..HEAD").record["per_fact"]} == new | {
        FACTS[1].id
    }
    repo.revert("HEAD")
    with pytest.raises(NothingToEvaluate):
        repo.evaluate([])


def test_a_repository_without_results_is_whole(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    assert not repo.session.repository.results.folder.exists()
    assert fsck(repo.session.repository).clean


def test_a_result_is_read_without_torch(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    found, folder = repo.evaluate(), repo.folder.parent
    light = environment(folder, PYTHONPATH=poisoned(folder / "poison", "torch", "transformers"))
    assert script("eval", "--json", cwd=folder, env=light).json == found.to_json()
    assert script("eval", "--again", cwd=folder, env=light).code != 0

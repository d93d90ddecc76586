"""``run_sequence``: what it tells, that it is run once, and that it goes on when stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_repos import FACTS, FRESH, Prepared, close, contents, opened

from editvc import Repo
from editvc.algebra.patch import Patch
from editvc.core.methods.recipe import Recipe
from editvc.materialise import blind_sequence
from editvc.materialise.blind_sequence import BlindSequence
from editvc.porcelain.edits_result import NothingToEvaluate
from editvc.porcelain.sequence import NoSequence, NoSuchCheckpoint
from editvc.porcelain.sequence_result import SequenceResult
from editvc.session.commit_plan import UntraceableFact


def quick(repo: Repo, method: str = "ft") -> Recipe:
    options = {"ft": ["num_steps=2"], "grace": ["layers=[2]", "eps=0.01", "edit_lr=0.3"]}
    return repo.choose(method, options=options[method]).recipe


def run(repo: Repo, method: str = "ft", **settings: object) -> SequenceResult:
    return repo.run_sequence(FACTS[:5], recipe=quick(repo, method), **settings)  # type: ignore[arg-type]


def test_what_a_sequence_tells(repo: Repo) -> None:
    files = contents(repo.folder)
    found = run(repo, batch=2, checkpoints=[1, 3])
    assert found.record["facts"] == [fact.id for fact in FACTS[:5]]
    assert found.record["ends"] == [2, 4, 5] and found.broken is None
    assert [one["edits"] for one in found.checkpoints] == [2, 4, 5], "ends of batches, and the last"
    assert found.record["prompts"]["par"] == [0, 0, 1, 0, 0]
    assert found.record["prompts"]["spe"] == [0, 0, 0, 0, 1]
    assert [len(one["held"]["eff"]) for one in found.checkpoints] == [2, 4, 5]
    last = found.checkpoints[-1]
    assert last["held"]["eff"][4:] == found.record["at_once"]["eff"][4:]
    assert last["norms"].keys() == found.record["base"]["norms"].keys() != set()
    (layer, *_) = last["norms"]
    change = found.norms(layer, "change")
    assert [*change] == [0, 2, 4, 5] and change[0] == 0 < change[2] < change[5]
    assert found.record["sizes"][-1][layer]["change"] == change[5]
    assert len(found.record["cosines"][layer]) == 3
    new = contents(repo.folder).keys() - files.keys()
    assert [name for name in new if not name.startswith(("cache/", "results/"))] == []
    assert not [name for name in new if name.startswith("cache/sequence/")], "no longer needed"


def test_edits_that_hold_are_not_forgotten(repo: Repo) -> None:
    found = repo.run_sequence(FACTS[:3], recipe=quick(repo, "grace"), checkpoints=2)
    assert found.trajectory.overall("eff") == {2: 100, 3: 100}
    assert found.trajectory.forgotten("eff") == {2: 0, 3: 0}
    assert found.record["base"]["held"]["eff"] == [0] * 3
    before, after = (
        found.record["base"]["held"]["log_probability"], found.record["at_once"]["log_probability"],
    )  # fmt: skip
    assert all(one < other <= 0 for one, other in zip(before, after, strict=True))
    document = found.to_json()
    assert document["overall"]["eff"] == {2: 100, 3: 100}
    assert {"edits": 3, "weight": "", "figure": "overall eff", "value": 100} in [*found.rows()]


def test_every_fact_is_asked_with_its_own_prompts(repo: Repo) -> None:
    """Edits that change next to nothing: A is the base's, whatever the batches."""
    facts = [
        replace(fact, target_true="Paris", locality=("London lies in", f"{fact.subject} is")[:n])
        for n, fact in zip((2, 0, 1, 2), FACTS[:4], strict=True)
    ]
    still = repo.choose("ft", options=["num_steps=1", "lr=1e-12"]).recipe
    found = repo.run_sequence(facts, recipe=still, batch=3, checkpoints=[3, 4])
    before = found.record["base"]["held"]
    assert before["spe"] == found.record["prompts"]["spe"] == [2, 0, 1, 2]
    for column, expected in before.items():
        assert found.record["at_once"][column] == pytest.approx(expected, abs=1e-4), column
        assert found.checkpoints[1]["held"][column] == pytest.approx(expected, abs=1e-4), column


def test_a_sequence_is_run_once(repo: Repo) -> None:
    first = run(repo, fusion="drop", checkpoints=2)
    again = opened(repo.folder.parent)
    assert run(again, fusion="drop:0.8:0", checkpoints=[2, 4]) == first
    assert not again.session.holds_model
    assert run(again, fusion="drop:0.5", checkpoints=2) != first
    close(again)


def test_a_sequence_that_was_stopped_goes_on(
    repo: Repo, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the fourth of five edits, after a checkpoint at the second."""
    expected = run(prepared.copy(tmp_path), fusion="lookahead:0.5:2", checkpoints=2)
    advance, steps = BlindSequence.advance, []

    def counted(self: BlindSequence, *args: object) -> None:
        steps.append(self.steps + 1)
        if steps == [1, 2, 3, 4]:
            raise KeyboardInterrupt
        advance(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(BlindSequence, "advance", counted)
    with pytest.raises(KeyboardInterrupt):
        run(repo, fusion="lookahead:0.5:2", checkpoints=2)
    other = opened(repo.folder.parent)
    assert run(other, fusion="lookahead:0.5:2", checkpoints=2) == expected
    assert steps == [1, 2, 3, 4, 3, 4, 5]
    close(other)


def test_it_begins_where_it_is_told_to(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    recipe = quick(repo)
    settings = {"recipe": recipe, "checkpoints": 2}
    on_base = repo.run_sequence(FRESH, **settings)  # type: ignore[arg-type]
    on_head = repo.run_sequence(FRESH, at="HEAD", **settings)  # type: ignore[arg-type]
    assert on_head.record["base"]["held"] != on_base.record["base"]["held"]
    assert repo.scores() == [], "they are no scores of HEAD itself"


def test_tasks_are_asked_before_and_at_each_checkpoint(repo: Repo, tmp_path: Path) -> None:
    text = tmp_path / "page.txt"
    text.write_text("The capital of France is Paris. " * 20, encoding="utf-8")
    found = run(repo, checkpoints=3, tasks=[text], items=2)
    told = [found.record["base"], *found.checkpoints]
    values = [one["tasks"]["perplexity page"]["value"] for one in told]
    assert len(set(values)) == len(values) == 3


def test_what_is_no_sequence(repo: Repo) -> None:
    recipe = quick(repo)
    with pytest.raises(NothingToEvaluate):
        repo.run_sequence([], recipe=recipe)
    with pytest.raises(NoSequence, match="gated gives each fact neurons"):
        repo.run_sequence(FACTS, recipe=repo.choose("gated").recipe)
    for checkpoint in (0, 6):
        with pytest.raises(NoSuchCheckpoint, match=f"after {checkpoint} edits of 5"):
            run(repo, checkpoints=[checkpoint])
    with pytest.raises(UntraceableFact):
        repo.run_sequence(
            [FACTS[0].__class__("France", "The capital of {} is", "¤")], recipe=recipe
        )


def test_a_sequence_ends_before_the_edit_after_which_nothing_can_be_asked(
    repo: Repo, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third update is finite, and so large that the outputs overflow."""
    sound = prepared.copy(tmp_path)
    expected = sound.run_sequence(FACTS[:2], recipe=quick(sound), checkpoints=2)
    make, times = blind_sequence.make_in_sequence, []

    def overflowing(*args: Any) -> list[Patch]:
        times.append(1)
        factor = 1e30 if len(times) == 3 else 1.0
        return [
            Patch(one.delta.each(lambda part: part.scaled(factor)), {})
            for one in make(*args)
            if isinstance(one, Patch)
        ]

    monkeypatch.setattr(blind_sequence, "make_in_sequence", overflowing)
    found = run(repo, checkpoints=[4])
    assert found.broken == 3 and found.record["ends"] == [1, 2]
    for same in ("at_once", "checkpoints", "sizes"):
        assert found.record[same] == expected.record[same]
    close(sound)

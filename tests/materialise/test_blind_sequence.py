"""Blind sequences on a tiny random model: what they are, and going on to equal bits."""

from __future__ import annotations

import pytest
import torch
from tiny_repos import FACTS

from editvc import Repo
from editvc.algebra.delta import Delta
from editvc.algebra.fusion import fusion_of
from editvc.algebra.patch import Patch
from editvc.core.fusion_rule import FusionRule
from editvc.materialise.blind_sequence import BlindSequence, Broken
from editvc.materialise.make_elements import make_in_sequence
from editvc.models.weights import edited

BATCHES = (FACTS[:2], FACTS[2:3], FACTS[3:4])


def sequence(repo: Repo, method: str, rule: str = "sum", compared: int = 3) -> BlindSequence:
    session = repo.session
    fusion = fusion_of(FusionRule.of(rule))
    recipe = repo.choose(method, options=OPTIONS.get(method, ())).recipe
    return BlindSequence(session.materialiser, session.base_model(), recipe, fusion, compared)


OPTIONS = {"ft": ["num_steps=2"], "ft-full": ["num_steps=1"], "grace": ["layers=[2]", "n_iter=2"]}


def weights(lm) -> list[torch.Tensor]:
    return [lm.weight(layer).detach().clone() for layer in range(lm.depth)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_each_batch_is_made_on_the_weights_as_they_are(repo: Repo) -> None:
    running = sequence(repo, "memit")
    lm, maker = running.lm, running.materialiser
    before = weights(lm)
    total = Delta()
    for batch in BATCHES:
        with edited(lm, total, maker.dtype):
            requests = [fact.request for fact in batch]
            made = make_in_sequence(maker, lm, requests, running.recipe, None)
        total = Delta.sum([total, *(one.delta for one in made if isinstance(one, Patch))])
        running.advance(batch)
    with edited(lm, total, maker.dtype):
        expected = weights(lm)
    with running.at_work():
        found = weights(lm)
    assert same(found, expected) and not same(found, before)
    assert same(weights(lm), before), "the model is unedited between calls"
    norms = running.norms()["1"]
    assert norms["change"] == pytest.approx(total.layers[1].frobenius())
    assert norms["s_max_change"] == pytest.approx(total.layers[1].spectral())
    assert running.sizes()["1"]["l1_norm"] == pytest.approx(norms["l1_norm"])
    assert running.norms_before()["1"]["change"] == 0


def test_rules_say_what_the_next_is_found_under_and_what_is_asked(repo: Repo) -> None:
    """By itself a batch is what it is at the beginning; WiSE-FT goes on without its share."""
    plain, alone, wise = (sequence(repo, "memit", rule) for rule in ("sum", "alone", "wise-ft:0.5"))
    for batch in BATCHES[:2]:
        for running in (plain, alone, wise):
            running.advance(batch)
    fresh = sequence(repo, "memit")
    fresh.advance(BATCHES[1])
    assert alone.norms() == fresh.norms() != plain.norms()
    assert wise.norms()["1"]["change"] == pytest.approx(plain.norms()["1"]["change"] / 2)


def test_cosines_are_those_of_the_first_updates_after_fusion(repo: Repo) -> None:
    plain, dropped = sequence(repo, "memit", compared=2), sequence(repo, "memit", "drop:0.9")
    for batch in BATCHES:
        plain.advance(batch)
    dropped.advance(BATCHES[0])
    (first, second) = plain.cosines()["1"]
    assert first[0] == pytest.approx(1) and first[1] == pytest.approx(second[0])
    assert len(dropped.cosines()["1"]) == 1


@pytest.mark.parametrize(
    ("method", "rule"),
    [("memit", "drop:0.5"), ("ft", "lookahead:0.5:2"), ("ft-full", "top:10"), ("grace", "sum")],
)
def test_what_was_kept_goes_on_to_equal_bits(repo: Repo, method: str, rule: str) -> None:
    whole = sequence(repo, method, rule)
    for batch in BATCHES[:2]:
        whole.advance(batch)
    kept = whole.to_bytes()
    whole.advance(BATCHES[2])
    resumed = sequence(repo, method, rule)
    resumed.restore(kept, 2)
    resumed.advance(BATCHES[2])
    assert resumed.to_bytes() == whole.to_bytes()
    assert resumed.norms() == whole.norms() and resumed.cosines() == whole.cosines()


def test_codebooks_answer_beside_the_weights(repo: Repo) -> None:
    running = sequence(repo, "grace")
    question = running.lm.tokenizer(FACTS[0].question, return_tensors="pt")["input_ids"]

    def logits() -> torch.Tensor:
        with torch.no_grad():
            return running.lm.model(question).logits[0, -1]

    before = logits()
    running.advance(BATCHES[0])
    with running.at_work():
        assert not torch.equal(logits(), before)
    assert torch.equal(logits(), before) and running.norms() == {}


def test_an_update_that_is_no_number_ends_it_and_changes_nothing(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = sequence(repo, "memit")
    running.advance(BATCHES[0])
    kept = running.to_bytes()
    make = make_in_sequence

    def broken(*args) -> list[Patch]:
        return [
            Patch(one.delta.each(lambda part: part.scaled(float("nan"))), {})
            for one in make(*args)
            if isinstance(one, Patch)
        ]

    monkeypatch.setattr("editvc.materialise.blind_sequence.make_in_sequence", broken)
    with pytest.raises(Broken):
        running.advance(BATCHES[1])
    assert running.to_bytes() == kept and running.steps == 1


def test_the_last_batch_is_withdrawn_to_equal_bits(repo: Repo) -> None:
    running = sequence(repo, "memit")
    running.advance(BATCHES[0])
    kept = running.to_bytes()
    running.advance(BATCHES[1])
    assert running.to_bytes() != kept
    running.withdraw()
    assert running.to_bytes() == kept and running.steps == 1

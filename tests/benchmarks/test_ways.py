"""The ways from facts to weights, on a tiny random model: what each of them is by definition."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from real_data import Collection
from scoring import Scorer
from tiny_repos import FACTS, Prepared
from tolerances import assert_near, condition, rounding, size
from ways import MEMIT_WEIGHT, Workshop, as_published, remembered

from editvc.evaluation.probes import predicts_target
from editvc.materialise.make_elements import make, make_in_sequence
from editvc.models.loading import load
from editvc.models.weights import apply_delta


@pytest.fixture
def workshop(prepared: Prepared, work: Path) -> Iterator[Workshop]:
    yield Workshop(prepared.work, work / "copy", FACTS)
    shutil.rmtree(work / "copy")


def weights(lm) -> list[torch.Tensor]:
    return [lm.weight(layer).clone() for layer in range(lm.depth)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def test_a_set_is_what_a_repository_of_these_facts_loads(workshop: Workshop) -> None:
    repo = workshop.repo
    base, recipe = weights(repo.session.base_model()), repo.recipe()
    found = {}
    for one in workshop.edited("set", recipe, [1, 3]):
        assert one.way == "set" and one.seconds > 0 and one.stored > 100
        found[one.edits] = weights(one.lm)
    assert same(base, weights(repo.session.base_model()))
    repo.switch("set-3")
    assert {fact.question for fact in repo.live()} == {fact.question for fact in FACTS[:3]}
    loaded = repo.load_model()
    state = [loaded.get_parameter(f"transformer.h.{n}.mlp.c_proj.weight") for n in range(4)]
    assert same(found[3], state) and not same(found[1], found[3])


@pytest.mark.parametrize("way", ["set", "sequential", "published"])
def test_a_fact_alone_leaves_nothing_behind(workshop: Workshop, way: str) -> None:
    repo = workshop.repo
    base, recipe = weights(repo.session.base_model()), repo.recipe()
    seen = []
    for fact in FACTS[:2]:
        with workshop.alone(way, recipe, fact) as one:
            seen.append(weights(one.lm))
            assert one.edits == 1 and not same(base, seen[-1])
        assert not repo.live()
    assert not same(*seen)
    with workshop.alone(way, recipe, FACTS[0]) as again:
        assert same(seen[0], weights(again.lm))


def test_a_sequence_sees_the_weights_as_they_are(workshop: Workshop) -> None:
    recipe, materialiser = workshop.repo.recipe(), workshop.repo.session.materialiser
    expected = workshop.repo.session.base_model()
    before = weights(expected)
    for fact in FACTS[:2]:
        (patch,) = make_in_sequence(materialiser, expected, [fact.request], recipe, None)
        apply_delta(expected, patch.delta)
    (one,) = workshop.edited("sequential", recipe, [2])
    assert same(weights(one.lm), weights(expected)) and not same(before, weights(expected))


def test_memit_as_published_makes_up_for_nothing(workshop: Workshop) -> None:
    recipe = as_published(workshop.repo.recipe(), 7.0)
    assert (recipe.mom2_update_weight, recipe.entity_update_weight) == (7.0, 0.0)
    assert (recipe.compensation, recipe.delivery_factor, recipe.sensitivity) == (0.0, 1.0, None)
    rome = workshop.repo.choose("rome").recipe
    assert as_published(rome, 7.0) == rome
    (one,) = workshop.edited("published", workshop.repo.recipe(), [1])
    width = workshop.repo.session.materialiser.base.inner_size
    alone = as_published(workshop.repo.recipe(), MEMIT_WEIGHT * width)
    (patch,) = make_in_sequence(
        workshop.repo.session.materialiser, workshop.repo.session.base_model(),
        [FACTS[0].request], alone, None,
    )  # fmt: skip
    apply_delta(workshop.repo.session.base_model(), patch.delta)
    assert same(weights(one.lm), weights(workshop.repo.session.base_model()))


def test_alphaedit_remembers_the_keys_of_earlier_edits(workshop: Workshop) -> None:
    """``R K^T P ([K_p K] [K_p K]^T P + L2 I)^-1``, equation 14, term by term."""
    repo = workshop.repo
    threshold = 1e9  # all of this small space is free
    recipe = repo.choose("alphaedit", options=[f"nullspace_threshold={threshold}"]).recipe
    materialiser, lm = repo.session.materialiser, repo.session.base_model()
    edits = make(materialiser, lm, [fact.request for fact in FACTS[:3]], recipe, None)
    delta = remembered(materialiser, edits, recipe)
    for layer in recipe.layers:
        keys = torch.stack([edit.keys[layer].double() for edit in edits], dim=1)
        residual = edits[-1].residuals[layer].double()
        system = keys @ keys.T + recipe.l2 * torch.eye(len(keys), dtype=torch.float64)
        expected = torch.outer(residual, keys[:, -1]) @ torch.linalg.inv(system)
        bound = rounding(sum(keys.shape) + 10) * condition(system)
        assert_near(delta.layers[layer].dense(), expected, bound, size(expected))
    alone = remembered(materialiser, edits[-1:], recipe)
    assert not torch.allclose(alone.layers[1].dense(), delta.layers[1].dense())


def test_alphaedits_published_sequence_goes_on_remembering(workshop: Workshop) -> None:
    repo = workshop.repo
    recipe = repo.choose("alphaedit", options=["nullspace_threshold=1e9"]).recipe
    materialiser, lm, edits = repo.session.materialiser, repo.session.base_model(), []
    for fact in FACTS[:3]:
        edits += make(materialiser, lm, [fact.request], recipe, None)
        apply_delta(lm, remembered(materialiser, edits, recipe))
    (one,) = workshop.edited("published", recipe, [3])
    assert same(weights(one.lm), weights(lm))


def test_a_codebook_answers_in_the_copy_that_is_scored(workshop: Workshop) -> None:
    options = ["layers=[2]", "eps=0.01", "edit_lr=0.3"]
    recipe = workshop.repo.choose("grace", options=options).recipe
    base = load(workshop.repo.session.materialiser.files)
    base.model.double()
    scorer = Scorer(base, Collection("tiny", (), (), recalled=0, text=""))
    with workshop.alone("set", recipe, FACTS[0]) as one:
        copy = scorer.like_base(one.lm)
        assert copy.model.dtype == torch.float64 != one.lm.model.dtype
        assert predicts_target(copy, [FACTS[0].request]) == [True]
    assert predicts_target(base, [FACTS[0].request]) == [False]

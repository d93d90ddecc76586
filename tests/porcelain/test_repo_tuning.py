"""``Repo.tune``: what it scores are the weights of a commit, and nothing is committed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from repo_rounding import located_rounding
from tiny_repos import FACTS, OTHERS, Prepared, known_fact
from tolerances import assert_near, model_roundings, rounding, size

from editvc import Repo
from editvc.algebra.second_moment import SecondMoment
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.evaluation.probes import forced, predicts_target
from editvc.evaluation.scores import Scores, score
from editvc.models.forward import TOKENS_PER_BATCH
from editvc.models.language_model import LanguageModel
from editvc.porcelain import coverage, tune
from editvc.porcelain.tune import FULL, QUICK, Grid, Setting, Trial, windows_around
from editvc.session.probe_facts import NEIGHBOURS, probing_facts
from editvc.session.recording import NothingToDo
from editvc.session.trees import tree_at
from editvc.statistics.bundle import sources_of, take

SMALL = Grid(facts=3, windows=2, weights=(1.0, 4.0), clamps=(1.0, 0.5))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "QUICK", SMALL)


def down_projections(model: Any) -> torch.Tensor:
    return torch.stack([block.mlp.c_proj.weight.clone() for block in model.transformer.h])


def test_what_is_scored_is_a_commit_with_the_setting(
    repo: Repo, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[torch.Tensor] = []

    def spy(lm: LanguageModel, *rest: Any) -> Scores:
        scored.append(down_projections(lm.model))
        return score(lm, *rest)

    monkeypatch.setattr(tune, "score", spy)
    found = repo.tune(FACTS, quick=True, texts=[prepared.text], entities=prepared.names)
    assert found.remarks == () or "no causal trace" in found.remarks[0]
    assert len(scored) == len(found.tried) == 2 * 2 * 2
    lm = repo.session.base_model()
    facts = probing_facts(lm, FACTS, 3, 0)
    written = [replace(fact, target_true=None) for fact in facts]  # a tiny model says anything
    named = {name: one for name, one in found.in_recipe.items() if len(str(one)) == 64}
    assert named.keys() == {"statistics", "entity_statistics", "sensitivity"}
    windows = {one.setting.layers: None for one in found.tried}
    assert len(windows) == 2 and repo.recipe().layers in windows
    base, now = down_projections(lm.model), repo.recipe()
    rest = iter(scored)
    for layers in (now.layers, *(one for one in windows if one != now.layers)):
        for weight in (now.mom2_update_weight, 4 * now.mom2_update_weight):
            for clamp in (now.clamp_norm_factor, 0.5 * now.clamp_norm_factor):
                used = replace(now, **named, layers=layers, mom2_update_weight=weight,
                               clamp_norm_factor=clamp)  # fmt: skip
                repo.commit(written, recipe=used)
                with repo.session.edited(tree_at(repo.session, "HEAD")) as edited:
                    expected = down_projections(edited.model)
                repo.revert("HEAD")
                moved = size(expected - base)
                assert moved > 0.1
                # What is located twice, and weights that are rounded once.
                bound = max(located_rounding(repo, used, facts, layer) for layer in layers)
                scale = bound * moved + rounding(1, torch.float32, size(expected))
                assert_near(next(rest), expected, 1.0, scale)


def test_nothing_is_committed_and_only_write_changes_the_configuration(
    repo: Repo, prepared: Prepared
) -> None:
    def state() -> tuple[Any, ...]:
        return (repo.status(), repo.session.repository.config_file.text())

    before, weights = state(), down_projections(repo.session.base_model().model)
    words = {"quick": True, "texts": [prepared.text], "entities": prepared.names}
    found = repo.tune(FACTS, **words)
    assert state() == before
    assert torch.equal(down_projections(repo.session.base_model().model), weights)
    again = repo.tune(FACTS, **words, write=True)
    assert again.to_json() == found.to_json()
    now, best = repo.recipe(), found.best.setting
    assert Setting(now.layers, now.mom2_update_weight, now.clamp_norm_factor) == best
    assert now.statistics == found.in_recipe["statistics"]
    assert "# " in repo.session.repository.config_file.text(), "comments stay"
    repo.commit(FACTS[:1])
    assert tuple(repo.materialise().layers) == best.layers


def test_without_their_sources_only_layers_with_statistics_are_tried(repo: Repo) -> None:
    found = repo.tune(FACTS, quick=True)
    assert {one.setting.layers for one in found.tried} == {repo.recipe().layers}
    assert "'text.txt' and 'names.txt'" in found.remarks[-1]
    assert "--text and --entities" in found.remarks[-1]
    assert not found.in_recipe.keys() & {"layers", "statistics"}


def test_a_window_needs_the_sensitivity_after_its_last_layer_too(repo: Repo) -> None:
    layers = repo.recipe().layers
    assert coverage.cover(repo.session, [layers, layers[:1]], [], None).windows == (layers,)
    repo.session.repository.set_config("recipe.sensitivity", "")
    assert coverage.cover(repo.session, [layers, layers[:1]], [], None).windows == (
        layers,
        layers[:1],
    )


def test_the_best_comes_first_and_of_equals_what_was_tried_first(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = iter([50.0, 80.0, 20.0, 80.0])

    def scores(*_: Any) -> Scores:
        share = next(shares)
        return Scores(share, share, share, share, None, None, None, None)

    monkeypatch.setattr(tune, "score", scores)
    recipe = repo.recipe()
    found = repo.tune(FACTS, quick=True)
    assert [one.scores.s for one in found.tried] == [80.0, 80.0, 50.0, 20.0]
    assert found.tried[2].setting == found.current, "the recipe's own is tried first"
    lower = 0.5 * recipe.clamp_norm_factor
    assert found.best.setting == Setting(recipe.layers, recipe.mom2_update_weight, lower)
    assert found.in_recipe == {"clamp_norm_factor": lower}


def test_bundled_sources_are_taken_again_once_and_give_the_same(
    repo: Repo, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bundled(*_: Any) -> Any:
        return sources_of([prepared.text], None, prepared.names)

    monkeypatch.setattr(coverage, "sources_of", bundled)
    recipe, statistics = repo.recipe(), repo.session.materialiser.statistics
    windows = [recipe.layers, (0, 1)]
    found = coverage.cover(repo.session, windows, [], None)
    assert found.windows == tuple(windows) and found.remark == ""
    lm = repo.session.base_model()

    def taken(model: Any) -> list[torch.Tensor]:
        """Of the layers that both have: text, entities, and what is sensitive."""
        one = replace(lm, model=model)
        bundle = take(one, repo.session.materialiser.base, (0, 1), bundled())
        return [SecondMoment.from_bytes(data).matrix(1) for data in bundle.objects]

    names = ("statistics", "entity_statistics", "sensitivity")
    new = [statistics.moment(found.in_recipe[name]) for name in names]
    assert [one.layers for one in new] == [(0, 1, 2), (0, 1, 2), (1, 2)]
    bounds = model_roundings(taken, lm.model, terms=len(lm.tokenizer))
    for one, expected, bound in zip(new, taken(lm.model), bounds, strict=True):
        # Products of keys are float32 sums over the tokens of a batch, stored once more; they err
        # relative to the mean of |k|^2, the trace.
        scale = float(expected.trace()) / size(expected)
        products = rounding(TOKENS_PER_BATCH + 1, torch.float32, scale)
        assert_near(one.matrix(1), expected, bound + products)
    for one, name in zip(new[:2], names, strict=False):
        assert one.samples == statistics.moment(getattr(recipe, name)).samples
    monkeypatch.setattr(coverage, "take", None)
    assert coverage.cover(repo.session, windows, [], None) == found, "found in the store"


@pytest.mark.parametrize("method", ["memit", "alphaedit", "ultraedit", "rome"])
def test_a_method_is_tuned_in_the_numbers_that_it_has(
    repo: Repo, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = repo.choose(method, options=["layers=[2]"]).recipe
    assert isinstance(recipe, LocatedRecipe)
    monkeypatch.setattr(repo.session, "recipe", lambda: recipe)
    found = repo.tune(FACTS, quick=True)
    own = {*recipe.row.numbers, *recipe.row.wide}
    has_weight, has_clamp = (name in own for name in ("mom2_update_weight", "clamp_norm_factor"))
    windows = {one.setting.layers for one in found.tried}
    assert len(found.tried) == len(windows) * 2**has_weight * 2**has_clamp


# windows ---------------------------------------------------------------------------------------


def test_windows_lie_around_the_peak_and_leave_out_the_last_block() -> None:
    assert windows_around(12, (2, 3, 4), 7, 4) == [
        (2, 3, 4), (6, 7, 8), (4, 5, 6), (8, 9, 10),
    ]  # fmt: skip
    every = windows_around(12, (2, 3, 4), 7, None)
    assert every[0] == (2, 3, 4) and len(every) == 9 == len(set(every))
    assert max(one[-1] for one in every) == 10
    assert windows_around(12, (2, 3, 4), None, 3)[1:] == [(0, 1, 2), (4, 5, 6)]
    assert windows_around(3, (0,), 2, 4) == [(0,), (1,)]
    assert windows_around(2, (0, 1), 0, 4) == [(0, 1)]
    assert windows_around(12, (1, 4), 3, None)[1] == (2, 3), "not another one that ends in 4"


def test_grids_begin_with_the_recipe_itself() -> None:
    for grid in (QUICK, FULL):
        assert grid.weights[0] == grid.clamps[0] == 1.0
        assert len(set(grid.weights)) == len(grid.weights)
    assert QUICK.facts == 10


def test_settings_are_compared_by_the_harmonic_mean_then_by_the_mean_of_d4s() -> None:
    def tried(es: float, ps: float | None, ns: float | None, avg: float | None) -> Trial:
        scores = Scores(es=es, ps=ps, ns=ns, s=None, eff=None, par=None, spe=None, avg=avg)
        return Trial(Setting((0,), 1.0, 1.0), scores)

    assert tried(100, 50, 100, 1).quality == (75.0, 1)
    quality, mean = tried(100, None, 50, None).quality
    assert_near(quality, 200 / 3, rounding(4))
    assert mean == 0.0
    assert tried(100, 0, 100, 3).quality == (0.0, 3)


# facts -----------------------------------------------------------------------------------------


def test_what_a_fact_lacks_is_made_up(repo: Repo) -> None:
    lm = repo.session.base_model()
    known = known_fact(repo)
    facts = probing_facts(lm, [known, *FACTS], 4, 1)
    assert len(facts) == 4 and known.subject not in {fact.subject for fact in facts}
    for fact in facts:
        assert fact.target_true and fact.target_true != fact.target_new
        given = next(one for one in FACTS if one.request == fact.request)
        assert fact.paraphrases == given.paraphrases or (
            len(fact.paraphrases) == 2
            and all(one.endswith(fact.question) for one in fact.paraphrases)
            and not set(fact.paraphrases)
            & {one.replace("{}", fact.question) for one in repo.recipe().contexts}
        )
        assert len(fact.locality) <= NEIGHBOURS and fact.question not in fact.locality
        pairs = [[(prompt, said) for prompt in fact.locality]
                 for said in (fact.target_true, fact.target_new)]  # fmt: skip
        true, new = (forced(lm, one) for one in pairs)
        assert all(a.log_probability > b.log_probability for a, b in zip(true, new, strict=True))
    assert any(fact.locality for fact in facts)
    assert probing_facts(lm, [known, *FACTS], 4, 1) == facts
    assert probing_facts(lm, [known, *FACTS], 4, 2) != facts


def test_what_the_base_prefers_to_the_true_object_is_no_locality_prompt(repo: Repo) -> None:
    lm = repo.session.base_model()
    prompts = ("The old town of", "London lies in", "The river runs through")
    for true, new in (("Rome", "Italy"), ("Italy", "Rome")):
        fact = Fact("France", "The capital of {} is", new, target_true=true, locality=prompts)
        (found,) = probing_facts(lm, [fact], 1, 0)
        scores = score(lm, [found], [0] * len(found.locality))
        assert scores.ns in (100.0, None)
        assert set(found.locality) <= set(prompts)


def test_there_must_be_something_to_tell(repo: Repo) -> None:
    known = known_fact(repo)
    lm = repo.session.base_model()
    assert predicts_target(lm, [known.request]) == [True]
    with pytest.raises(NothingToDo, match="nothing to tune with"):
        repo.tune([known], quick=True)
    assert repo.status().live == 0


def test_a_repeated_fact_counts_once(repo: Repo) -> None:
    assert repo.tune([OTHERS[0], OTHERS[0]], quick=True).facts == 1

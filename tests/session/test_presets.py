"""Presets: what they mean ends as values in the recipe, and no id depends on their names."""

from __future__ import annotations

import pytest
from tiny_repos import FACTS

from editvc import Repo
from editvc.core.methods.recipe import RecipeError

SPELT = [
    "compensation=0", "delivery_factor=1", "entity_update_weight=0", "mom2_update_weight=15000",
    "v_num_grad_steps=25", "v_lr=0.5", "v_loss_threshold=0.05", "v_weight_decay=0.5",
    "clamp_norm_factor=0.75", "kl_factor=0.0625", "norm_anchor=0", "entity_statistics=",
    "sensitivity=",
]  # fmt: skip


def test_a_preset_is_the_values_it_stands_for(repo: Repo) -> None:
    named = repo.choose("d4s", options=["preset=paper"]).recipe
    spelt = repo.choose("d4s", options=[*SPELT, "form=printed"]).recipe
    assert named == spelt and named.id == spelt.id
    assert "preset" not in named.to_json()
    assert named.to_json()["mom2_update_weight"] == 15000.0


def test_options_come_over_a_preset_and_a_preset_over_the_row(repo: Repo) -> None:
    own = repo.choose("memit").recipe
    paper = repo.choose("memit", options=["preset=paper", "mom2_update_weight=7"]).recipe
    assert (own.to_json()["compensation"], paper.to_json()["compensation"]) == (1.0, 0.0)
    assert paper.to_json()["mom2_update_weight"] == 7.0


def test_a_preset_with_contexts_has_the_base_write_them(repo: Repo) -> None:
    used = repo.choose("rome", options=["preset=paper"]).recipe
    contexts = used.to_json()["contexts"]
    assert len(contexts) == 50 and contexts[0] == "{}"
    assert len(set(contexts)) > 25
    assert repo.choose("rome", options=["preset=paper"]).recipe.id == used.id
    few = repo.choose("rome", options=["preset=paper", 'contexts=["{}"]']).recipe
    assert few.to_json()["contexts"] == ["{}"]


def test_a_recipe_without_c_needs_no_statistics(repo: Repo) -> None:
    used = repo.choose("rome", options=["preset=without-c", "v_num_grad_steps=2"]).recipe
    assert used.row.needs == ()
    repo.commit(FACTS[:1], recipe=used)
    assert repo.materialise().rank == 1


def test_adaples_forms_are_sets_like_any_other(repo: Repo) -> None:
    for preset in ("paper", "algorithm1"):
        options = [f"preset={preset}", "v_num_grad_steps=2"]
        used = repo.choose("adaple", options=options).recipe
        done = repo.commit(FACTS[:2], recipe=used)
        assert done.commit is not None
        repo.revert("HEAD")
    assert repo.materialise().is_empty


def test_an_unknown_preset_is_refused_with_those_there_are(repo: Repo) -> None:
    with pytest.raises(RecipeError, match="rome has no preset 'papr'") as caught:
        repo.choose("rome", options=["preset=papr"])
    assert "paper" in caught.value.hint
    with pytest.raises(RecipeError, match="emmet has no preset") as caught:
        repo.choose("emmet", options=["preset=paper"])
    assert "none" in caught.value.hint

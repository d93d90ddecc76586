"""Recipes and base models: validation, identity, round trips, pinned digests."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editvc.core.base import BaseModel
from editvc.core.ids import canonical_json, digest_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import RecipeError

RECIPE = LocatedRecipe(
    layers=(1, 2),
    contexts=("{}", "Then. {}"),
    statistics=digest_of("statistics"),
    entity_statistics=None,
    method="memit",
    mom2_update_weight=100.0,
    entity_update_weight=200.0,
    v_num_grad_steps=20,
    v_lr=0.5,
    v_loss_threshold=0.05,
    v_weight_decay=0.5,
    clamp_norm_factor=0.75,
    kl_factor=0.0625,
)
BASE = BaseModel(
    source="pocket",
    revision=None,
    model_type="llama",
    layers=4,
    hidden_size=8,
    inner_size=16,
    weights=(("a.weight", "1" * 64), ("b.weight", "2" * 64)),
    config="3" * 64,
    tokenizer="4" * 64,
)

BLOCK = (("down_proj", "mlp.fc1"), ("layers", "model.layers"), ("transposed", False))

positive = st.floats(1e-6, 1e6)
recipes = st.builds(
    LocatedRecipe,
    layers=st.sets(st.integers(0, 80), min_size=1, max_size=6).map(lambda s: tuple(sorted(s))),
    contexts=st.lists(st.sampled_from(["{}", "So. {}", "{}!"]), min_size=1, max_size=3).map(tuple),
    statistics=st.just(digest_of("statistics")),
    entity_statistics=st.none() | st.just(digest_of("names")),
    mom2_update_weight=positive,
    v_num_grad_steps=st.integers(1, 100),
    v_weight_decay=st.floats(0, 10),
    kl_factor=st.floats(0, 10),
)


@settings(max_examples=100)
@given(recipes)
def test_a_recipe_survives_its_json(recipe):
    again = LocatedRecipe.from_json(json.loads(canonical_json(recipe.to_json())))
    assert again == recipe
    assert again.id == recipe.id


@settings(max_examples=60)
@given(recipes, recipes)
def test_recipes_have_equal_ids_exactly_when_they_are_equal(one, other):
    assert (one.id == other.id) == (one == other)


def test_whole_numbers_are_the_same_recipe_however_they_are_written():
    assert replace(RECIPE, mom2_update_weight=100).id == replace(RECIPE, mom2_update_weight=1e2).id


def test_the_bytes_of_a_recipe_are_pinned():
    assert canonical_json(RECIPE.to_json()) == (
        b'{"clamp_norm_factor":0.75,"compensation":1.0,"contexts":["{}","Then. {}"],'
        b'"delivery_factor":0.83,'
        b'"entity_statistics":null,"entity_update_weight":200.0,"kind":"recipe",'
        b'"kl_factor":0.0625,"layers":[1,2],"method":"memit","mom2_update_weight":100.0,'
        b'"norm_anchor":0.0,'
        b'"sensitivity":null,"sensitivity_floor":0.05,"sensitivity_power":0.25,"statistics":"'
        + RECIPE.statistics.encode()
        + b'","v_loss_threshold":0.05,"v_lr":0.5,"v_num_grad_steps":20,"v_weight_decay":0.5}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"layers": ()},
        {"layers": (2, 1)},
        {"layers": (1, 1)},
        {"layers": (-1, 0)},
        {"contexts": ()},
        {"contexts": ("no place for the prompt",)},
        {"contexts": ("{} {}",)},
        {"v_num_grad_steps": 0},
        *({name: 0} for name in ("mom2_update_weight", "v_lr", "clamp_norm_factor")),
        *(
            {name: value}
            for name in ("entity_update_weight", "v_weight_decay", "kl_factor", "v_loss_threshold")
            for value in (-1.0, math.nan, math.inf, "1", True)
        ),
        *({"v_lr": value} for value in (math.nan, math.inf, -1.0, None)),
    ],
)
def test_a_recipe_that_cannot_be_carried_out_is_refused_by_name(change):
    with pytest.raises(RecipeError) as caught:
        replace(RECIPE, **change)
    (name,) = change
    assert name in str(caught.value)


def test_an_unknown_key_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match="v_lrate") as caught:
        LocatedRecipe.from_json(RECIPE.to_json() | {"v_lrate": 1})
    assert "v_lr" in caught.value.hint


def test_a_base_is_what_its_weights_are_and_not_where_they_came_from():
    moved = replace(BASE, source="/models/pocket", revision="main")
    assert moved.id == BASE.id
    assert replace(BASE, tokenizer="5" * 64).id != BASE.id
    assert replace(BASE, weights=(("a.weight", "1" * 64), ("b.weight", "9" * 64))).id != BASE.id


@pytest.mark.parametrize("base", [BASE, replace(BASE, architecture=BLOCK)])
def test_a_base_survives_its_json(base):
    record = json.loads(canonical_json(base.to_json()))
    assert BaseModel.from_json(record, source="pocket", revision=None) == base


def test_a_confirmed_block_is_part_of_the_identity_and_no_block_leaves_it_as_it_was():
    assert "architecture" not in BASE.to_json()
    other = (("down_proj", "mlp.fc2"), *BLOCK[1:])
    ids = {replace(BASE, architecture=block).id for block in ((), BLOCK, other)}
    assert len(ids) == 3

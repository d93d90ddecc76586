"""The table of methods, and recipes that know the numbers of their method and no others."""

from __future__ import annotations

import dataclasses

import pytest

from editvc.core.ids import ObjectId
from editvc.core.methods.patch_recipes import CLASSES, recipe_from_json
from editvc.core.methods.recipe import NEUTRAL, Recipe, RecipeError
from editvc.core.methods.table import METHODS, UnknownMethod, method_of

BEGUN = {"layers": (2,), "contexts": ("{}",), "statistics": ObjectId("a" * 64)}
LOCATED = [name for name, row in METHODS.items() if row.element == "located"]


def test_every_row_says_what_it_is_and_where_it_is_from() -> None:
    for name, row in METHODS.items():
        assert row.name == name and row.summary
        assert any(year in row.paper for year in ("202", "201")), name
    assert next(iter(METHODS)) == "memit"


def test_every_method_that_is_no_located_one_has_a_recipe_of_its_own() -> None:
    assert CLASSES.keys() == METHODS.keys() - set(LOCATED) - {"lora"}


def test_an_unknown_method_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownMethod, match="unknown method 'romme'") as caught:
        method_of("romme")
    assert "rome" in caught.value.hint


@pytest.mark.parametrize("name", LOCATED)
def test_a_recipe_says_the_numbers_of_its_method_and_no_others(name: str) -> None:
    row = METHODS[name]
    recipe = Recipe(**BEGUN, method=name, **row.numbers_for(1000))
    own = {*row.numbers, *row.wide}
    common = {"kind", "layers", "contexts", "statistics", "entity_statistics", "sensitivity"}
    assert recipe.to_json().keys() == own | common | {"method"}
    assert recipe_from_json(recipe.to_json()) == recipe
    assert recipe_from_json(recipe.to_json()).id == recipe.id


@pytest.mark.parametrize("name", LOCATED)
def test_a_number_that_means_nothing_to_a_method_is_an_error(name: str) -> None:
    row = METHODS[name]
    for item in dataclasses.fields(Recipe):
        if item.type == "float" and item.name not in {*row.numbers, *row.wide}:
            with pytest.raises(RecipeError, match=f"{item.name} means nothing to {name}"):
                Recipe(**BEGUN, method=name, **{item.name: 0.123})


def test_what_a_method_does_not_know_stands_out_of_the_way() -> None:
    recipe = Recipe(**BEGUN, method="alphaedit")
    assert {name: getattr(recipe, name) for name in NEUTRAL} == NEUTRAL


def test_the_weights_grow_with_the_width_of_the_mlp() -> None:
    assert METHODS["memit"].numbers_for(1536)["mom2_update_weight"] == 76.8
    assert METHODS["memit"].numbers_for(1536)["entity_update_weight"] == 384.0
    assert METHODS["memit"].numbers_for(3072)["mom2_update_weight"] == 153.6


def test_one_layer_is_what_rome_edits() -> None:
    with pytest.raises(RecipeError, match="rome edits one layer") as caught:
        Recipe(**BEGUN | {"layers": (1, 2)}, method="rome")
    assert "layers=[2]" in caught.value.hint


def test_a_patch_has_no_keys_and_residuals() -> None:
    with pytest.raises(RecipeError, match="'ft' makes a patch") as caught:
        Recipe(**BEGUN, method="ft")
    assert "commit --method ft" in caught.value.hint


@pytest.mark.parametrize("name", CLASSES)
def test_recipes_of_patches_come_back_from_their_json(name: str) -> None:
    cls = CLASSES[name]
    more = {"norm_constraint": 5e-4} if name == "ft-c" else {}
    recipe = cls(layers=(1,), method=name, **more)
    assert recipe_from_json(recipe.to_json()) == recipe
    with pytest.raises(RecipeError, match="unknown recipe keys"):
        recipe_from_json(recipe.to_json() | {"v_lr": 1})


@pytest.mark.parametrize("layers", [(), (2, 1), (1, 1), (-1,)])
def test_layers_of_patches_rise(layers: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="layers must rise"):
        CLASSES["kn"](layers=layers, method="kn")


@pytest.mark.parametrize("contexts", [(), ("no place for the prompt",), ("{}", "{} {}")])
def test_every_context_of_kn_has_one_place_for_the_prompt(contexts: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="contexts need at least one entry"):
        CLASSES["kn"](layers=(1,), method="kn", contexts=contexts)

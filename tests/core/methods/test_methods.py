"""The table of methods, and recipes that know the numbers of their method and no others."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import pytest

from editvc.core.ids import ObjectId
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import (
    DECLARATIONS,
    METHODS,
    RECIPES,
    UnknownMethod,
    default_method,
    method_of,
    recipe_from_json,
    require_located,
)
from editvc.core.settings import NUMBER, WHOLE, Number

BEGUN = {"layers": (2,), "contexts": ("{}",), "statistics": ObjectId("a" * 64)}
LOCATED = [name for name, row in METHODS.items() if row.element == "located"]
OTHERS = [name for name in RECIPES if name not in LOCATED]


def test_every_row_says_what_it_is_and_where_it_is_from() -> None:
    for name, row in METHODS.items():
        assert row.name == name and row.summary
        assert any(year in row.paper for year in ("202", "201")), name
    assert next(iter(METHODS)) == "memit"


def test_every_method_that_makes_something_of_facts_has_recipes() -> None:
    assert RECIPES.keys() == METHODS.keys() - {"lora"}
    assert {RECIPES[name] for name in LOCATED} == {LocatedRecipe}
    assert LocatedRecipe not in {RECIPES[name] for name in OTHERS}


@pytest.mark.parametrize("name", METHODS)
def test_the_algorithm_stands_in_a_module_of_the_declarations_name(name: str) -> None:
    (stem,) = (stem for stem, module in DECLARATIONS.items() if name in module.ROWS)
    module, _, function = METHODS[name].maker.partition(":")
    assert bool(module) == (name in RECIPES)
    if module:
        assert module == f"editvc.editing.{stem}"
        assert callable(getattr(importlib.import_module(module), function))


def test_the_table_is_listed_in_this_order() -> None:
    located, others = list(METHODS)[: len(LOCATED)], list(METHODS)[len(LOCATED) :]
    assert located == LOCATED
    assert " ".join(located) == "memit d4s rome emmet pmet adaple alphaedit ultraedit"
    assert others == ["gated", "ft", "ft-c", "ft-full", "mend", "kn", "lora", "grace"]


@pytest.mark.parametrize(
    ("depth", "widens", "method"),
    [
        (1, True, "memit"),
        (5, True, "memit"),
        (6, True, "gated"),
        (80, True, "gated"),
        (80, False, "memit"),
    ],
)
def test_new_repositories_begin_with_what_suits_the_model(
    depth: int, widens: bool, method: str
) -> None:
    assert default_method(depth, widens=widens) == method


def test_an_unknown_method_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownMethod, match="unknown method 'romme'") as caught:
        method_of("romme")
    assert "rome" in caught.value.hint


@pytest.mark.parametrize("name", LOCATED)
def test_a_recipe_says_the_numbers_of_its_method_and_no_others(name: str) -> None:
    row = METHODS[name]
    recipe = LocatedRecipe(**BEGUN, method=name, **row.numbers_for(1000))
    own = {*row.numbers, *row.wide}
    common = {"kind", "layers", "contexts", "statistics", "entity_statistics", "sensitivity"}
    assert recipe.to_json().keys() == own | common | {"method"}
    assert recipe_from_json(recipe.to_json()) == recipe
    assert recipe_from_json(recipe.to_json()).id == recipe.id


@pytest.mark.parametrize("name", LOCATED)
def test_a_number_that_means_nothing_to_a_method_is_an_error(name: str) -> None:
    row = METHODS[name]
    for key, setting in LocatedRecipe.settings().items():
        if setting.kind is NUMBER and key not in row.own:
            with pytest.raises(RecipeError, match=f"{key} means nothing to {name}"):
                LocatedRecipe(**BEGUN, method=name, **{key: 0.123})


def test_what_a_method_does_not_know_stands_out_of_the_way() -> None:
    recipe = LocatedRecipe(**BEGUN, method="alphaedit")
    neutral = {
        "mom2_update_weight": 1.0,
        "entity_update_weight": 0.0,
        "delivery_factor": 1.0,
        "compensation": 0.0,
    }
    assert {name: getattr(recipe, name) for name in neutral} == neutral


def test_the_weights_grow_with_the_width_of_the_mlp() -> None:
    assert METHODS["memit"].numbers_for(1536)["mom2_update_weight"] == 76.8
    assert METHODS["memit"].numbers_for(1536)["entity_update_weight"] == 384.0
    assert METHODS["memit"].numbers_for(3072)["mom2_update_weight"] == 153.6


def test_one_layer_is_what_rome_edits() -> None:
    with pytest.raises(RecipeError, match="rome edits one layer") as caught:
        LocatedRecipe(**BEGUN | {"layers": (1, 2)}, method="rome")
    assert "layers=[2]" in caught.value.hint


def test_a_patch_has_no_keys_and_residuals() -> None:
    with pytest.raises(RecipeError, match="'ft' makes a patch") as caught:
        require_located("ft")
    assert "config commit.method ft" in caught.value.hint


@pytest.mark.parametrize("name", OTHERS)
def test_recipes_of_patches_come_back_from_their_json(name: str) -> None:
    cls = RECIPES[name]
    recipe = cls.from_json({"layers": [1], "method": name})
    assert recipe_from_json(recipe.to_json()) == recipe
    with pytest.raises(RecipeError, match="unknown recipe keys"):
        recipe_from_json(recipe.to_json() | {"mom3_update_weight": 1})


@pytest.mark.parametrize("layers", [(), (2, 1), (1, 1), (-1,)])
def test_layers_of_patches_rise(layers: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="layers must rise"):
        RECIPES["kn"](layers=layers, method="kn")


@pytest.mark.parametrize("contexts", [(), ("no place for the prompt",), ("{}", "{} {}")])
def test_every_context_of_kn_has_one_place_for_the_prompt(contexts: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="contexts need at least one entry"):
        RECIPES["kn"](layers=(1,), method="kn", contexts=contexts)


@pytest.mark.parametrize("name", OTHERS)
def test_every_number_has_words_for_what_is_out_of_range(name: str) -> None:
    recipe = RECIPES[name].from_json({"layers": [1], "method": name})
    for key, setting in recipe.settings().items():
        if isinstance(setting, Number):
            wrong = setting.low if setting.above else setting.low - 1
            assert setting.refusal(getattr(recipe, key)) == "", key
            with pytest.raises(RecipeError, match=f"{key} must be .*, got {wrong}"):
                replace(recipe, **{key: wrong})
            with pytest.raises(RecipeError, match=f"{key} must be a (whole )?number, got 'x'"):
                replace(recipe, **{key: "x"})


@pytest.mark.parametrize(
    ("number", "value", "words"),
    [
        (Number(NUMBER, above=True), 0.0, "positive and finite"),
        (Number(NUMBER), -1.0, "finite and not negative"),
        (Number(NUMBER), math.inf, "finite and not negative"),
        (Number(NUMBER), math.nan, "finite and not negative"),
        (Number(WHOLE, low=1), 0, "1 or more"),
        (Number(NUMBER, above=True, high=1), 0.0, "in (0, 1]"),
        (Number(NUMBER, above=True, high=1), 1.0, ""),
        (Number(NUMBER, high=1), 1.5, "in [0, 1]"),
        (Number(NUMBER, high=1, below=True), 1.0, "below 1"),
        (Number(NUMBER, high=1, below=True), -1.0, "finite and not negative"),
    ],
)
def test_what_a_number_must_be(number: Number, value: float, words: str) -> None:
    assert number.refusal(value) == words

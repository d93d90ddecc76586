"""Sections of ``config.toml`` for methods that are not located: what their recipes begin with.

The located method in force has ``[recipe]``. Every other method has a section of its own name,
which holds what its recipes hold but the method itself; what is left out there is the method's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editvc.core.methods.table import METHODS, RECIPES
from editvc.core.settings import Setting

NAMES: tuple[str, ...] = tuple(
    name for name, row in METHODS.items() if row.element != "located" and name in RECIPES
)
"""The methods that have such a section."""

_NONE_NAMED = (0,)
"""Any layer will do where only the numbers are looked at."""


def settings_of_method(name: str) -> Mapping[str, Setting]:
    """What the section of a method may hold."""
    settings = RECIPES[name].settings()
    return {key: declared for key, declared in settings.items() if key != "method"}


def require_recipe(name: str, values: Mapping[str, Any]) -> None:
    """Raise :class:`editvc.core.methods.recipe.RecipeError` where they make no recipe."""
    _recipe(name, values)


def filled(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section with those of the method in the place of what is left out.

    ``layers`` are empty where they are not set: which ones a method edits depends on the model.
    """
    recipe = _recipe(name, values)
    whole = {key: getattr(recipe, key) for key in settings_of_method(name)}
    return whole | {"layers": tuple(values.get("layers", ()))}


def _recipe(name: str, values: Mapping[str, Any]) -> Any:
    layers = values.get("layers") or _NONE_NAMED
    return RECIPES[name].from_json({**values, "layers": layers, "method": name})

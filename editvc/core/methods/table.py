"""Every editing method: the rows and the recipe classes of all declarations in this package.

A module here that has ``ROWS`` declares methods, and with ``RECIPE`` the class of their recipes.
They are found by themselves: a new method is a row, or one such module, and nothing else is told.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import editvc.core.methods as package
from editvc.core.methods.method import Method
from editvc.core.methods.recipe import Recipe, RecipeError
from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError

DEFAULT = "memit"
"""The method of recipes that name none: the located one that new repositories begin with."""

READERS = ("table", "foreign_hparams")
"""Modules of this package that read the table, and so cannot be looked into for it."""

ORDER = (
    "locate", "gated", "fine_tuning", "full_fine_tuning", "mend", "knowledge_neurons", "lora",
    "grace",
)  # fmt: skip
"""In which order declarations are listed; any others follow by name."""


class UnknownMethod(EditvcError):
    """A name that is in no row of the table."""

    def __init__(self, name: str) -> None:
        named = did_you_mean(name, METHODS) or f"Methods: {', '.join(METHODS)}."
        super().__init__(
            f"unknown method {name!r}", hint=f"{named} `editvc methods` tells what they are."
        )
        self.name = name


def _declarations() -> Iterator[ModuleType]:
    names = {module.name for module in pkgutil.iter_modules(package.__path__)} - {*READERS}
    for name in (*ORDER, *sorted(names.difference(ORDER))):
        module = importlib.import_module(f"{package.__name__}.{name}")
        if hasattr(module, "ROWS"):
            yield module


DECLARATIONS: Mapping[str, ModuleType] = MappingProxyType(
    {module.__name__.rpartition(".")[2]: module for module in _declarations()}
)
"""The modules that declare methods, by their names."""

METHODS: Mapping[str, Method] = MappingProxyType(
    {name: row for module in DECLARATIONS.values() for name, row in module.ROWS.items()}
)
"""The table, by the methods' names."""

RECIPES: Mapping[str, type[Recipe]] = MappingProxyType(
    {
        name: module.RECIPE
        for module in DECLARATIONS.values()
        if hasattr(module, "RECIPE")
        for name in module.ROWS
    }
)
"""The class of each method's recipes; a method that makes nothing of facts has none."""

REFERENCES: Mapping[str, str] = MappingProxyType(
    {
        name: declared.refers_to
        for cls in RECIPES.values()
        for name, declared in cls.settings().items()
        if declared.refers_to
    }
)
"""Settings of recipes that are ids of objects, and the kind of these."""


def method_of(name: str) -> Method:
    """The row of a method. Raises :class:`UnknownMethod`."""
    if name not in METHODS:
        raise UnknownMethod(name)
    return METHODS[name]


def default_method(depth: int, *, widens: bool) -> str:
    """What a new repository makes facts with, over a model of ``depth`` blocks.

    ``widens``: its MLPs can be made wider, which an export of gates asks for.
    """
    rows = [row for row in METHODS.values() if widens or row.element != "gate"]
    starts = {row.name: row.default_from for row in rows if row.default_from is not None}
    fitting = {name: start for name, start in starts.items() if start <= depth}
    return max(fitting, key=fitting.__getitem__)


def recipe_class(name: str) -> type[Recipe]:
    """The class of a method's recipes.

    Raises :class:`UnknownMethod`, and :class:`RecipeError` for what makes nothing of facts.
    """
    row = method_of(name)
    if name not in RECIPES:
        raise RecipeError(
            f"{name} makes nothing of facts: it is {row.summary}",
            hint="See `editvc import --help`.",
        )
    return RECIPES[name]


def require_located(name: str) -> None:
    """Raise unless a method is a located one: only such have their numbers in config.toml."""
    row = method_of(name)
    if row.element != "located":
        raise RecipeError(
            f"{name!r} makes a {row.element}, not keys and residuals",
            hint=f"`editvc config commit.method {name}` has commits use it.",
        )


def recipe_from_json(record: Mapping[str, Any]) -> Recipe:
    """A recipe of any method, the inverse of ``to_json``.

    Raises :class:`RecipeError` for unknown names and numbers out of range, and
    :class:`UnknownMethod`.
    """
    return recipe_class(record.get("method", DEFAULT)).from_json(record)

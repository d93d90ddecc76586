"""A recipe: the method and every number that decides how a fact becomes an element of the set."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.core.methods.method import Method
from editvc.core.settings import (
    NUMBER,
    TEXT,
    TEXTS,
    WHOLE,
    WHOLES,
    Setting,
    is_number,
    setting,
    settings_of,
)
from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError


class NoSuchLayer(EditvcError):
    """A layer that the base does not have."""

    def __init__(self, layer: int, count: int) -> None:
        super().__init__(
            f"there is no layer {layer}: the base has {count}",
            hint=f"Layers are numbered from 0 to {count - 1}.",
        )


def require_layers(layers: Sequence[int], base: BaseModel) -> None:
    """Raise :class:`NoSuchLayer` for the first layer that ``base`` does not have."""
    for layer in layers:
        if not 0 <= layer < base.layers:
            raise NoSuchLayer(layer, base.layers)


class RecipeError(EditvcError):
    """A recipe that cannot be carried out; the message names the number and its range."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What recipes have in common: layers, a method, and a canonical form with an id.

    ``layers`` are those whose MLP down projection is changed or replaced, in rising order. There is
    one class a kind of method: its fields declare their settings (:mod:`editvc.core.settings`), its
    ``ROWS`` are its methods by name. ``COMMON`` are the keys that every recipe of the class has, in
    the order of files; the numbers follow.
    """

    ROWS: ClassVar[Mapping[str, Method]] = {}
    COMMON: ClassVar[tuple[str, ...]] = ("layers", "method")

    layers: tuple[int, ...] = setting(WHOLES)
    method: str = setting(TEXT)

    def __post_init__(self) -> None:
        settings = self.settings()
        for name, declared in settings.items():
            object.__setattr__(self, name, _typed(name, declared, getattr(self, name)))
        if not self.layers or self.layers[0] < 0 or list(self.layers) != sorted(set(self.layers)):
            raise RecipeError(
                f"layers must rise from 0 or more and not repeat, got {list(self.layers)}",
                hint="Write them like layers = [1, 2, 3].",
            )
        self._require_method()
        for name, declared in settings.items():
            if bounds := declared.refusal(getattr(self, name)):
                raise RecipeError(f"{name} must be {bounds}, got {getattr(self, name)}")

    def _require_method(self) -> None:
        """Raise where the method is none of the class's, or edits fewer layers than are named."""
        if self.method not in self.ROWS:
            raise RecipeError(
                f"{self.method!r} is none of {', '.join(self.ROWS)}",
                hint="`editvc methods` lists the methods.",
            )
        if self.row.single and len(self.layers) > 1:
            raise RecipeError(
                f"{self.method} edits one layer, not {list(self.layers)}",
                hint=f"Name one: -O layers=[{self.layers[-1]}]",
            )

    @classmethod
    def settings(cls) -> Mapping[str, Setting]:
        """All keys of such recipes, in the order of files."""
        declared = settings_of(cls)
        return {name: declared[name] for name in dict.fromkeys((*cls.COMMON, *declared))}

    @classmethod
    def keys_of(cls, row: Method) -> tuple[str, ...]:
        """The keys that a recipe of this method has, in the order of files."""
        return tuple(cls.settings())

    @property
    def row(self) -> Method:
        """The row of the recipe's method."""
        return self.ROWS[self.method]

    @property
    def id(self) -> ObjectId:
        """The address of the recipe as a stored object."""
        return object_id(canonical_json(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the recipe's id is computed."""
        values = {name: getattr(self, name) for name in self.keys_of(self.row)}
        return {"kind": "recipe"} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`; unknown names raise :class:`RecipeError`.

        What a record leaves out has the class's default: a located recipe's those of config.toml,
        another's those that its method's row has in place of them.
        """
        values = {key: value for key, value in record.items() if key != "kind"}
        settings = cls.settings()
        row = cls.ROWS[values.get("method", next(iter(cls.ROWS)))]
        require_known(values, settings, cls.keys_of(row))
        for name in values:
            if settings[name].kind in (WHOLES, TEXTS):
                values[name] = tuple(values[name])
        begins = {} if row.element == "located" else row.numbers
        return cls(**{**begins, **values})

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """A recipe from values as YAML and options have them; raises :class:`RecipeError`."""
        settings = cls.settings()
        return cls.from_json(
            {
                name: _read(name, settings[name], value) if name in settings else value
                for name, value in record.items()
            }
        )


def _typed(name: str, declared: Setting, value: Any) -> Any:
    """A value as its field has it: 100 and 100.0 are equal, so the ids made of them must be."""
    if declared.kind is NUMBER and is_number(value):
        return float(value)
    if declared.kind is NUMBER or (declared.kind is WHOLE and type(value) is not int):
        raise RecipeError(f"{name} must be {declared.kind.words}, got {value!r}")
    if declared.kind is TEXTS and (not value or any(context.count("{}") != 1 for context in value)):
        raise RecipeError(
            f"{name} need at least one entry, each with one {{}} for the prompt",
            hint='The empty context is "{}".',
        )
    return value


def _read(name: str, declared: Setting, value: Any) -> Any:
    try:
        return declared.kind.read(value)
    except (TypeError, ValueError, OverflowError):
        raise RecipeError(f"{name} must be {declared.kind.words}, got {value!r}") from None


def require_known(keys: Iterable[str], known: Collection[str], own: Iterable[str]) -> None:
    """Raise :class:`RecipeError` for keys that are not ``known``; the hint is of ``own`` ones."""
    unknown, own = sorted(set(keys) - set(known)), sorted(own)
    if unknown:
        guesses = [did_you_mean(key, own) for key in unknown]
        listed = [] if all(guesses) else ["Known keys: " + ", ".join(own)]
        raise RecipeError(
            f"unknown recipe keys {unknown}", hint=" ".join([*filter(None, guesses), *listed])
        )


def default_layers(depth: int) -> tuple[int, ...]:
    """Layers to edit in a model of ``depth`` blocks where the user names none.

    Up to five blocks that end a third of the way up: where causal tracing of the MEMIT paper finds
    that the subject's last token gathers what the model knows of it (13-17 of 48 in GPT-2 XL, 3-8
    of 28 in GPT-J).
    """
    last = max(0, round(0.35 * depth))
    return tuple(range(max(0, last - 4), last + 1))

"""Which recipe a commit uses: a method's row, a file, and what was said on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId
from editvc.core.methods.foreign_hparams import read_hparams
from editvc.core.methods.patch_recipes import CLASSES, AnyRecipe, recipe_from_json
from editvc.core.methods.recipe import Recipe, RecipeError, require_layers
from editvc.core.methods.table import Method, method_of
from editvc.porcelain.session import Session
from editvc.vcs.codec import metadata
from editvc.vcs.short_ids import whole_id

ID_OF = {
    "statistics": "statistics",
    "entity_statistics": "statistics",
    "sensitivity": "statistics",
    "editor": "editor",
}
"""Numbers of a recipe that are ids of objects, and the kind of these."""

DEFAULT = "memit"
"""What ``init`` makes a repository with."""

ROME_CLAMP = 4.0
"""``clamp_norm_factor`` for targets of a down projection's own output, as ROME's files have it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A recipe, and the keys of a hyper-parameter file that editvc takes from elsewhere."""

    recipe: AnyRecipe
    aside: tuple[str, ...] = ()


def choose(
    session: Session, method: str | None, options: Sequence[str] = (), file: Path | None = None
) -> Chosen:
    """The recipe of ``--method``, ``-O key=value`` and ``--recipe FILE``.

    Without any of them, the one in config.toml. A method begins with its row's numbers, the file
    comes over them, the options over both. Layers, contexts and statistics are the repository's
    where neither says otherwise. Raises :class:`RecipeError` and ``UnknownMethod``.
    """
    said = dict(_option(text) for text in options)
    aside: tuple[str, ...] = ()
    record: Mapping[str, Any] = {}
    if file is not None:
        record = read_yaml(file)
        if "method" not in record:
            read = read_hparams(record, method)
            record, aside = {"method": read.method} | dict(read.numbers), read.aside
    name = method or str(record.get("method", session.recipe().method))
    given = {key: value for key, value in (*record.items(), *said.items()) if key != "kind"}
    given |= {key: _object(session, key, given[key]) for key in given.keys() & ID_OF}
    row = method_of(name)
    if row.element != "located" and name not in CLASSES:
        raise RecipeError(
            f"{name} makes nothing of facts: it is {row.summary}",
            hint="See `editvc import --help`.",
        )
    if given.get("method", name) != name:
        raise RecipeError(
            f"two methods are named: {name} and {given['method']}", hint="Leave one of them out."
        )
    begun = _begun(session, row, given)
    recipe = _recipe(name, begun | given | {"method": name})
    require_layers(recipe.layers, session.repository.read_base())
    return Chosen(recipe, aside)


def numbers_of(row: Method, base: BaseModel) -> dict[str, float | int]:
    """What a method begins with on a base.

    These are its row's numbers; a target behind a norm is one of the down projection's own output,
    and has ROME's clamp. What a base ships with its statistics was tuned for the default method.
    """
    from editvc.models.architectures import architecture_of
    from editvc.models.loading import resolve
    from editvc.porcelain.stats import shipped_settings

    numbers = row.numbers_for(base.inner_size)
    if row.target == "memit" and architecture_of(base.model_type, base.architecture).normed:
        numbers["clamp_norm_factor"] = ROME_CLAMP
    if row.name == DEFAULT:
        shipped = shipped_settings(resolve(base.source, base.revision))
        numbers |= {name: shipped[name] for name in numbers if name in shipped}
    return numbers


def to_yaml(recipe: AnyRecipe) -> str:
    """A recipe as a YAML file that ``--recipe`` reads, without what is one repository's own."""
    import yaml

    own = ("kind", "contexts", "statistics", "entity_statistics", "sensitivity", "editor")
    record = {key: value for key, value in recipe.to_json().items() if key not in own}
    text: str = yaml.safe_dump(record, sort_keys=False)
    return text


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML or JSON file that holds one mapping. Raises :class:`RecipeError`."""
    import yaml

    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise RecipeError(
            f"{file}: cannot be read as YAML or JSON: {cause}",
            hint="`editvc methods NAME` prints a recipe to begin with.",
        ) from cause
    if not isinstance(record, dict) or not all(isinstance(key, str) for key in record):
        raise RecipeError(
            f"{file}: holds no mapping of names to values",
            hint="`editvc methods NAME` prints a recipe to begin with.",
        )
    return record


def _option(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"-O takes key=value, got {text!r}", hint="Like -O clamp_norm_factor=0.8")
    try:
        read = yaml.safe_load(value)
        # To YAML, the digits of an id may be a number, even an octal one.
        return key.strip(), value.strip() if key.strip() in ID_OF and read is not None else read
    except yaml.YAMLError as cause:
        raise RecipeError(f"-O {key}: {value!r} is not a value of YAML") from cause


def _object(session: Session, key: str, value: Any) -> ObjectId | None:
    """An id that may be abbreviated, or nothing."""
    if value is None or value == "":
        if key == "statistics":
            raise RecipeError(
                "statistics must be an object's id: no edit goes without them",
                hint="`editvc stats show` lists those that are here.",
            )
        return None
    if not isinstance(value, str):
        raise RecipeError(
            f"{key} must be an object's id, got {value!r}",
            hint=f'Write its digits in quotes, like {key}: "0123".',
        )
    return whole_id(session.repository.store, value, ID_OF[key])


def _begun(session: Session, row: Method, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the repository and the row say of a recipe before anybody else does."""
    config, base = session.recipe(), session.repository.read_base()
    if row.name == "mend":
        return _mend(session, given, last_three(base))
    if row.element != "located":
        return {"layers": LAYERS.get(row.name, _last)(config, base)}
    mine = {**row.numbers, **row.wide}
    begun: dict[str, Any] = {"layers": _last(config, base) if row.single else config.layers}
    begun |= {"contexts": config.contexts, "statistics": config.statistics}
    if mine.keys() == {**config.row.numbers, **config.row.wide}.keys():
        begun |= {name: getattr(config, name) for name in mine}
    else:
        begun |= numbers_of(row, base)
    if "entity_update_weight" in mine:
        begun["entity_statistics"] = config.entity_statistics
    if "sensitivity_power" in mine:
        begun["sensitivity"] = config.sensitivity
    return begun


def _mend(session: Session, given: Mapping[str, Any], default: tuple[int, ...]) -> dict[str, Any]:
    """The editor in force, or the one given, and the layers that it was trained for."""
    editor = given.get("editor") or session.repository.config.mend.editor
    if editor is None:
        return {"layers": default}
    record = metadata(session.repository.store.get(ObjectId(str(editor))))
    return {"editor": editor, "layers": tuple(record.get("layers", default))}


def last_three(base: BaseModel) -> tuple[int, ...]:
    """Where MEND edits, as in its paper."""
    return tuple(range(max(0, base.layers - 3), base.layers))


def _last(config: Recipe, base: BaseModel) -> tuple[int, ...]:
    return config.layers[-1:]


def _late(config: Recipe, base: BaseModel) -> tuple[int, ...]:
    return (max(0, round(0.75 * base.layers) - 1),)


LAYERS: Mapping[str, Callable[[Recipe, BaseModel], tuple[int, ...]]] = {
    "kn": lambda config, base: tuple(range(base.layers)),
    "grace": _late,
}
"""Layers of methods that do not edit the last of the repository's: KN looks everywhere, GRACE's are
three quarters of the way up, as in their papers."""


def _recipe(name: str, record: dict[str, Any]) -> AnyRecipe:
    cls = CLASSES.get(name, Recipe)
    kinds = {item.name: str(item.type) for item in fields(cls)}
    typed = {
        key: _as(kinds[key], key, value) if key in kinds else value for key, value in record.items()
    }
    return recipe_from_json(typed)


def _as(kind: str, key: str, value: Any) -> Any:
    """``value`` as a field of a recipe has it. YAML reads 5e-1 as text, and so may a user."""
    try:
        if kind == "float" and not isinstance(value, bool):
            return float(value)
        if kind == "int":
            return _whole(value)
        if kind == "tuple[int, ...]":
            items = value if isinstance(value, list | tuple) else [value]
            return tuple(_whole(item) for item in items)
        if kind == "tuple[str, ...]" and isinstance(value, list | tuple):
            return tuple(str(item) for item in value)
        if kind == "str" or kind.startswith("ObjectId"):
            return value or None if kind.startswith("ObjectId") else str(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise RecipeError(f"{key} must be {KINDS.get(kind, kind)}, got {value!r}")


def _whole(value: Any) -> int:
    number = float(value)
    if isinstance(value, bool) or number != int(number):
        raise ValueError(value)
    return int(number)


KINDS = {
    "float": "a number",
    "int": "a whole number",
    "tuple[int, ...]": "a list of whole numbers",
    "tuple[str, ...]": "a list of texts",
}

"""Which recipe a commit uses: a method's row, a file, and what was said on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId
from editvc.core.invisible import require_visible
from editvc.core.methods.foreign_hparams import read_hparams
from editvc.core.methods.method import Method
from editvc.core.methods.recipe import Recipe, RecipeError, require_layers
from editvc.core.methods.table import DEFAULT, REFERENCES, recipe_class
from editvc.models.architectures import architecture_of
from editvc.models.source import resolve
from editvc.session.presets import spelt_out
from editvc.session.session import Session
from editvc.vcs.codec import metadata
from editvc.vcs.short_ids import whole_id

EDITOR = "mend.editor"
"""The setting that names the editor in force."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A recipe, and the keys of a hyper-parameter file that editvc takes from elsewhere."""

    recipe: Recipe
    aside: tuple[str, ...] = ()


def choose(
    session: Session, method: str | None, options: Sequence[str] = (), file: Path | None = None
) -> Chosen:
    """The recipe of ``--method``, ``-O key=value`` and ``--recipe FILE``.

    Without any of them, what config.toml has commits use. A method begins with its row's numbers
    and what config.toml sets for it, the file comes over them, the options over both. Layers,
    contexts and statistics are the repository's where neither says otherwise. Raises
    :class:`RecipeError` and ``UnknownMethod``.
    """
    typed = dict(_option(text) for text in options)
    aside: tuple[str, ...] = ()
    record: Mapping[str, Any] = {}
    if file is not None:
        record = read_yaml(file)
        if "method" not in record:
            read = read_hparams(record, method)
            record, aside = {"method": read.method} | dict(read.numbers), read.aside
    _require_visible({**record, **typed})
    name = method or str(record.get("method", session.repository.config.method))
    values = {key: value for key, value in (*record.items(), *typed.items()) if key != "kind"}
    cls = recipe_class(name)
    values = spelt_out(session, cls.ROWS[name], values)
    values |= {key: _object(session, key, values[key]) for key in values.keys() & REFERENCES}
    if values.get("method", name) != name:
        raise RecipeError(
            f"two methods are named: {name} and {values['method']}", hint="Leave one of them out."
        )
    defaults = _defaults(session, cls.ROWS[name], values)
    recipe = cls.read(defaults | values | {"method": name})
    require_layers(recipe.layers, session.repository.read_base())
    return Chosen(recipe, aside)


def _require_visible(typed: Mapping[str, Any]) -> None:
    """Raise for a text of a file or an option that hides a character; a model may write any."""
    for key, value in typed.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                require_visible(**{f"{key} of the recipe": text})


def numbers_of(row: Method, base: BaseModel) -> dict[str, Any]:
    """What a method begins with on a base.

    These are its row's numbers; a target behind a norm is one of the down projection's own output,
    and has ROME's clamp. What a base ships with its statistics was tuned for the default method.
    """
    normed = architecture_of(base.model_type, base.architecture).normed
    numbers = row.numbers_for(base.inner_size, normed=normed)
    if row.name == DEFAULT:
        # Here, for it loads torch, which a recipe of the numbers in config.toml does without.
        from editvc.statistics.bundle import shipped_settings

        shipped = shipped_settings(resolve(base.source, base.revision))
        numbers |= {name: shipped[name] for name in numbers if name in shipped}
    return numbers


def to_yaml(recipe: Recipe) -> str:
    """A recipe as a YAML file that ``--recipe`` reads, without what is one repository's own."""
    import yaml

    settings = recipe.settings()
    record = {
        name: value
        for name, value in recipe.to_json().items()
        if name in settings and settings[name].portable
    }
    text: str = yaml.safe_dump(record, sort_keys=False)
    return text


def read_yaml(file: Path) -> dict[str, Any]:
    """A YAML or JSON file that holds one mapping. Raises :class:`RecipeError`."""
    import yaml

    from editvc.core import plain_yaml

    try:
        record = plain_yaml.read_yaml(file.read_text(encoding="utf-8"))
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

    from editvc.core import plain_yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"-O takes key=value, got {text!r}", hint="Like -O clamp_norm_factor=0.8")
    try:
        read = plain_yaml.read_yaml(value)
        # To YAML, the digits of an id may be a number, even an octal one.
        return (
            key.strip(),
            value.strip() if key.strip() in REFERENCES and read is not None else read,
        )
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
    return whole_id(session.repository.store, value, REFERENCES[key])


def _defaults(session: Session, row: Method, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the repository and the row say of a recipe before anybody else does."""
    config, base = session.recipe(), session.repository.read_base()
    layers = row.default_layers(config.layers, base.layers)
    defaults: dict[str, Any] = {"layers": layers[-1:] if row.single else layers}
    if "editor" in row.needs:
        defaults |= _editor(session, values)
    if row.element == "located":
        defaults |= {
            name: getattr(config, name)
            for name, declared in config.settings().items()
            if not declared.portable and declared.counts_with in {"", *row.own}
        }
    if row.own == config.row.own:
        return defaults | {name: getattr(config, name) for name in row.own}
    return defaults | numbers_of(row, base) | _set(session, row)


def _set(session: Session, row: Method) -> dict[str, Any]:
    """What config.toml sets for a method that is not located, but objects: these may not fit."""
    config, settings = session.repository.config, recipe_class(row.name).settings()
    return {
        name: value
        for name, value in config.methods.get(row.name, {}).items()
        if value != () and not settings[name].refers_to
    }


def _editor(session: Session, values: Mapping[str, Any]) -> dict[str, Any]:
    """The editor in force, or the one values, and the layers that it was trained for."""
    editor = values.get("editor") or session.repository.config.get(EDITOR)
    if editor is None:
        return {}
    record = metadata(session.repository.store.get(ObjectId(str(editor))))
    return {"editor": editor} | ({"layers": tuple(record["layers"])} if "layers" in record else {})

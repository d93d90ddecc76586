"""``config.toml``: strict keys, checked types, and writing that keeps the user's comments."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editvc.core.compute import Compute, ComputeError
from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.core.invisible import WAY_OUT, unseen
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import (
    DEFAULT,
    UnknownMethod,
    recipe_class,
    require_located,
)
from editvc.core.plain_toml import read_toml
from editvc.core.settings import (
    FLAG,
    NUMBER,
    OBJECT,
    OPTIONAL_OBJECT,
    TEXT,
    Setting,
    number,
    setting,
    settings_of,
)
from editvc.core.spelling import did_you_mean, nearest
from editvc.core.thresholds import ThresholdError, Thresholds
from editvc.errors import EditvcError
from editvc.vcs.files import OF_THE_MACHINE, Files
from editvc.vcs.method_sections import NAMES, filled, require_recipe, settings_of_method
from editvc.vcs.remote_sections import RemoteSection, remotes_in, with_remotes
from editvc.vcs.store import ObjectStore


class ConfigError(EditvcError):
    """A configuration that cannot be used. ``key`` is the dotted name of what is wrong in it."""

    def __init__(self, key: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"config {key}: {problem}" if key else f"config: {problem}", hint=hint)
        self.key = key


class UnknownKey(ConfigError):
    """A key or section that means nothing. ``suggestion`` is the nearest that does, or ``None``."""

    def __init__(self, key: str, known: list[str]) -> None:
        self.suggestion = nearest(key, known)
        hint = did_you_mean(key, known) or "Known keys: " + ", ".join(known)
        super().__init__(key, "there is no such key", hint=hint)


@dataclass(frozen=True, slots=True)
class BaseSection:
    """Where the base model is loaded from: ``model``, ``revision``.

    ``id`` is what commits call it; ``identity`` is all that it must be, which repositories of the
    first versions do not say.
    """

    model: str = setting(TEXT)
    id: ObjectId = setting(OBJECT)
    revision: str = setting(TEXT, "")
    identity: ObjectId | None = setting(OPTIONAL_OBJECT, None)


@dataclass(frozen=True, slots=True)
class CommitSection:
    """What ``commit`` makes facts with where nobody says: ``method``, else that of the recipe.

    ``gpgsign``: commits are signed, whichever command makes them.
    """

    method: str = setting(TEXT, "")
    gpgsign: bool = setting(FLAG, False)

    def __post_init__(self) -> None:
        if self.method:
            recipe_class(self.method)


@dataclass(frozen=True, slots=True)
class UserSection:
    """Who commits where neither the command nor the environment says so; the file of their key."""

    author: str = setting(TEXT, "")
    signingkey: str = setting(TEXT, "")


@dataclass(frozen=True, slots=True)
class GpgSection:
    """Whose signatures are good: the file of ``allowed_signers``, as ``ssh-keygen`` reads it."""

    allowed_signers: str = setting(TEXT, "")


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """What a slip may not cost: ``target_tokens`` is the longest new object of a fact."""

    target_tokens: int = number(256, low=1, help="tokens of a fact's new object, at most")


@dataclass(frozen=True, slots=True)
class ExportSection:
    """How models are written: ``width_multiple`` divides the width of MLPs that are widened."""

    width_multiple: int = number(64, low=1, help="widened MLPs are filled up to a multiple of this")


@dataclass(frozen=True, slots=True)
class Config:
    """A whole, checked ``config.toml``.

    ``methods`` is what is set in the sections of :mod:`editvc.vcs.method_sections`, by method;
    ``remotes`` are the sections ``[remote.NAME]``.
    """

    base: BaseSection
    recipe: LocatedRecipe
    commit: CommitSection = field(default_factory=CommitSection)
    health: Thresholds = field(default_factory=Thresholds)
    user: UserSection = field(default_factory=UserSection)
    compute: Compute = field(default_factory=Compute)
    limits: LimitsSection = field(default_factory=LimitsSection)
    export: ExportSection = field(default_factory=ExportSection)
    gpg: GpgSection = field(default_factory=GpgSection)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remotes: Mapping[str, RemoteSection] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """What facts are made with where nobody names a method."""
        return self.commit.method or self.recipe.method

    def as_dict(self) -> dict[str, Any]:
        """All settings by dotted name, defaults filled in."""
        own = {name: filled(name, self.methods.get(name, {})) for name in NAMES}
        return {
            f"{section}.{name}": own[section][name]
            if section in own
            else getattr(getattr(self, section), name)
            for section, settings in SETTINGS.items()
            for name in settings
        }

    def get(self, key: str) -> Any:
        """The setting of a dotted name, its default where it is not set."""
        return self.as_dict()[key]


SECTIONS: Mapping[str, type[Any]] = {
    item.name: cls
    for item, cls in zip(
        dataclasses.fields(Config),
        (
            BaseSection,
            LocatedRecipe,
            CommitSection,
            Thresholds,
            UserSection,
            Compute,
            LimitsSection,
            ExportSection,
            GpgSection,
        ),
        strict=False,  # sections of methods have no class of their own
    )
}
"""The classes of the sections of a :class:`Config` that are no method's."""


def _settings(cls: type[Any]) -> Mapping[str, Setting]:
    if cls is Thresholds:  # numbers, all of them
        return {item.name: Setting(NUMBER) for item in dataclasses.fields(cls)}
    declared = LocatedRecipe.settings() if cls is LocatedRecipe else settings_of(cls)
    return {name: one for name, one in declared.items() if one.configured}


SETTINGS: Mapping[str, Mapping[str, Setting]] = {
    **{section: _settings(cls) for section, cls in SECTIONS.items()},
    **{name: settings_of_method(name) for name in NAMES},
}
"""What each section holds, in the order in which it is listed."""

FIELDS: Mapping[str, Setting] = {
    f"{section}.{name}": declared
    for section, settings in SETTINGS.items()
    for name, declared in settings.items()
}
"""All settings by dotted name."""


def checked(key: str, value: Any) -> Any:
    """``value`` as the type that ``key`` has. Raises :class:`ConfigError` naming both."""
    kind = FIELDS[key].kind
    try:
        read = kind.strict(value)
    except (TypeError, ValueError):
        raise ConfigError(key, f"must be {kind.in_toml}, got {value!r}") from None
    if isinstance(read, str) and (hidden := unseen(read)):
        raise ConfigError(key, hidden.problem, hint=WAY_OUT)
    return read


def parse(text: str) -> Config:
    """Read and check a whole configuration. Raises :class:`ConfigError` or :class:`UnknownKey`."""
    document = _document(text)
    remotes = remotes_in(document.pop("remote", {}))
    for name, section in document.items():
        if name not in SETTINGS:
            raise UnknownKey(name, list(SETTINGS))
        if not isinstance(section, dict):
            raise ConfigError(name, f"must be a section, written [{name}]")
        for key in section:
            _require_known(f"{name}.{key}")
    sections = {name: _section(name, cls, document.get(name, {})) for name, cls in SECTIONS.items()}
    own = {name: _method_section(name, document[name]) for name in NAMES if name in document}
    return Config(**sections, methods=own, remotes=remotes)


def _document(text: str) -> dict[str, Any]:
    """The TOML of a configuration; a fault that nobody can see is told as that."""
    try:
        return read_toml(text)
    except tomllib.TOMLDecodeError as cause:
        for number, line in enumerate(text.split("\n"), 1):
            if hidden := unseen(line):
                raise ConfigError("", f"line {number} {hidden.problem}", hint=WAY_OUT) from cause
        raise ConfigError("", f"is not TOML: {cause}") from cause


def _section(name: str, cls: type[Any], values: Mapping[str, Any]) -> Any:
    settings = {key: checked(f"{name}.{key}", value) for key, value in values.items()}
    for item in dataclasses.fields(cls):
        needed = (item.default, item.default_factory) == (dataclasses.MISSING,) * 2
        if needed and item.name not in settings:
            raise ConfigError(f"{name}.{item.name}", "is missing", hint="`editvc init` writes it.")
    if cls is not LocatedRecipe:  # whose own words about bounds name the method
        _require_in_bounds(name, settings)
    try:
        if cls is LocatedRecipe:
            require_located(settings.get("method", DEFAULT))
        return cls(**settings)
    except (RecipeError, ThresholdError, UnknownMethod, ComputeError) as cause:
        raise ConfigError(name, str(cause), hint=cause.hint) from cause


def _method_section(name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is set for a method that is not located; it must make a recipe."""
    settings = {key: checked(f"{name}.{key}", value) for key, value in values.items()}
    _require_in_bounds(name, settings)
    try:
        require_recipe(name, settings)
    except RecipeError as cause:
        raise ConfigError(name, str(cause), hint=cause.hint) from cause
    return settings


def _require_in_bounds(section: str, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if bounds := FIELDS[f"{section}.{key}"].refusal(value):
            raise ConfigError(f"{section}.{key}", f"must be {bounds}, got {value!r}")


def _require_known(key: str) -> None:
    if key not in FIELDS:
        raise UnknownKey(key, list(FIELDS))


def settings_object(data: bytes) -> bytes:
    """The object that remembers a ``config.toml``: what it was when editvc wrote or accepted it.

    Raises ``UnicodeDecodeError``.
    """
    return canonical_json({"kind": "settings", "text": data.decode()})


class ConfigFile:
    """One ``config.toml`` on disk. What is written to it is an object of ``store`` before."""

    def __init__(self, path: Path, files: Files, store: ObjectStore) -> None:
        self.path = path
        self.files = files
        self.store = store

    def object(self) -> ObjectId | None:
        """The object that remembers the file as it is, stored or not; ``None`` for no text."""
        try:
            return object_id(settings_object(self.path.read_bytes()))
        except (OSError, UnicodeDecodeError):
            return None

    def accept(self) -> None:
        """Remember the file as it is, whoever has changed it. Raises :class:`ConfigError`."""
        self.load()
        self.store.put(settings_object(self.path.read_bytes()))

    def text(self) -> str:
        """The file as it is."""
        try:
            return self.path.read_text(encoding="utf-8-sig")  # as some editors write it
        except (OSError, UnicodeDecodeError) as cause:
            if isinstance(cause, OSError) and cause.errno in OF_THE_MACHINE:
                raise
            raise ConfigError(
                "", f"cannot read {self.path}: {cause}", hint="Restore it from a copy."
            ) from cause

    def load(self) -> Config:
        """The checked configuration. Raises :class:`ConfigError`, naming key and type."""
        return parse(self.text())

    def section(self, name: str) -> dict[str, Any]:
        """A section as it is written, unchecked: to be set right where it contradicts itself."""
        return dict(_document(self.text()).get(name, {}))

    def base(self) -> BaseSection:
        """The checked section ``base``, whatever the others hold."""
        values = self.section("base")
        for key in values:
            _require_known(f"base.{key}")
        section: BaseSection = _section("base", BaseSection, values)
        return section

    def get(self, key: str) -> Any:
        """The value of a dotted key, its default where the file does not set it."""
        _require_known(key)
        return self.load().get(key)

    def as_dict(self) -> dict[str, Any]:
        """All settings by dotted name."""
        return self.load().as_dict()

    def set_value(self, key: str, text: str) -> Config:
        """Set a dotted key from what the user typed, keeping comments; returns the new whole.

        Strings need no quotes; everything else is TOML. The whole result is checked before the
        file is replaced.
        """
        _require_known(key)
        return self.set_values({key: checked(key, typed(key, text))})

    def set_values(self, values: Mapping[str, Any], without: Iterable[str] = ()) -> Config:
        """Set dotted keys to values of their types, and take the keys of ``without`` out.

        All or none; otherwise as :meth:`set_value`.
        """
        import tomlkit  # needed for writing only, and dear enough to keep out of `log`

        document = tomlkit.parse(self.text())
        for key, value in values.items():
            _require_known(key)
            section, name = key.split(".")
            if section not in document:
                document[section] = tomlkit.table()
            table: Any = document[section]
            plain = list(value) if isinstance(value, tuple) else value
            table[name] = "" if plain is None else plain
        for key in without:
            section, name = key.split(".")
            document.get(section, {}).pop(name, None)
        return self._replace(tomlkit.dumps(document))

    def set_remotes(self, sections: Mapping[str, RemoteSection | None]) -> Config:
        """Write the sections of remotes, and with ``None`` take them out."""
        return self._replace(with_remotes(self.text(), sections))

    def _replace(self, text: str) -> Config:
        config = parse(text)
        self._keep(text)
        return config

    def _keep(self, text: str) -> None:
        self.store.put(settings_object(text.encode()))
        self.files.write(self.path, text.encode())


def typed(key: str, text: str) -> Any:
    """What the user typed for ``key``, as TOML would read it; text for keys that hold text."""
    kind = FIELDS[key].kind
    if kind.quoted:
        return text
    try:
        document = read_toml(f"value = {text}")
    except tomllib.TOMLDecodeError:
        document = {}
    if list(document) != ["value"]:
        raise ConfigError(key, f"must be {kind.in_toml}, got {text!r}")
    return document["value"]

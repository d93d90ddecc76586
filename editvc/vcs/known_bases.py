"""``.editvc/bases``: the settings of bases that were in force before, one file each.

One base is in force at a time: config.toml names it. When another takes its place
(``rebase --onto-base``), config.toml as it was is kept under the id of the base that it was of, so
that commits of that base can be worked on again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId, short
from editvc.core.methods.table import REFERENCES
from editvc.core.record_types import is_object_id
from editvc.errors import EditvcError
from editvc.vcs.config_file import Config, ConfigFile, parse
from editvc.vcs.method_sections import NAMES

OF_A_BASE = ("base", "recipe", *NAMES)
"""The sections of config.toml that are about the base, with ``METHOD``; others are the user's."""

METHOD = "commit.method"


class OverAnotherBase(EditvcError):
    """A tree over a base that is not the one in force: its numbers mean nothing on this one."""

    def __init__(self, base: ObjectId, in_force: ObjectId, place: str | None) -> None:
        super().__init__(
            f"it edits the base {short(base)}, and {short(in_force)} is in force",
            hint=f"`editvc base {place or 'MODEL'}` puts its own base in force; `editvc rebase "
            "--onto-base MODEL` carries its facts over.",
        )
        self.base = base


class KnownBases:
    """The files of one repository. ``folder`` is there once a base was replaced."""

    def __init__(self, folder: Path, config_file: ConfigFile) -> None:
        self.folder = folder
        self.config_file = config_file

    def keep(self) -> None:
        """Keep config.toml as it is, under the base in force."""
        base = self.config_file.base().id
        self.config_file.files.make_folder(self.folder)
        self.config_file.files.write(self._path(base), self.config_file.text().encode())

    def add(self, text: str) -> None:
        """Know one more base, by what a config.toml of it says. Raises ``ConfigError``."""
        base = parse(text).base.id
        self.config_file.files.make_folder(self.folder)
        self.config_file.files.write(self._path(base), text.encode())

    def files(self) -> Iterator[ConfigFile]:
        """The file of each base."""
        for path in sorted(self.folder.glob("*.toml")):
            if is_object_id(path.stem):
                yield self._file(ObjectId(path.stem))

    def all(self) -> Iterator[tuple[ObjectId, Config]]:
        """Each base by its id, with the configuration that it had. Raises ``ConfigError``."""
        for file in self.files():
            yield ObjectId(file.path.stem), file.load()

    def place_of(self, base: ObjectId) -> str | None:
        """Where a base was loaded from; ``None`` for one that is not known."""
        return self._file(base).base().model if self._path(base).exists() else None

    def settings_of(self, base: ObjectId) -> dict[str, Any] | None:
        """What config.toml said of a base, by dotted key; ``None`` for one that is not known."""
        if not self._path(base).exists():
            return None
        values = self._file(base).load().as_dict()
        kept = {
            key: value
            for key, value in values.items()
            if key.split(".")[0] in OF_A_BASE or key == METHOD
        }
        return kept | {"base.id": base}

    def _path(self, base: ObjectId) -> Path:
        return self.folder / f"{base}.toml"

    def _file(self, base: ObjectId) -> ConfigFile:
        return ConfigFile(self._path(base), self.config_file.files, self.config_file.store)


def unreferring(config: Config) -> dict[str, None]:
    """The settings that name objects made on a base, by dotted key, each emptied."""
    return {
        key: None
        for key, value in config.as_dict().items()
        if value is not None and key.partition(".")[2] in REFERENCES
    }

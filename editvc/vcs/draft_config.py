"""A ``config.toml`` with other values, in memory: what it is to be, and is not yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from editvc.vcs.config_file import Config, ConfigFile
from editvc.vcs.store import ObjectStore


class DraftConfig(ConfigFile):
    """Settings over those of a file.

    ``values`` are those set here, by dotted key, as JSON has them. ``store`` is where a text that
    is accepted is kept, by default the file's.
    """

    def __init__(
        self, file: ConfigFile, values: Mapping[str, Any], store: ObjectStore | None = None
    ) -> None:
        super().__init__(file.path, file.files, store or file.store)
        self._text = file.text()
        self.values: dict[str, Any] = {}
        if values:
            self.set_values(values)

    def text(self) -> str:
        """What the file would be."""
        return self._text

    def set_values(self, values: Mapping[str, Any], without: Iterable[str] = ()) -> Config:
        """As for a file; nothing is written."""
        config = super().set_values(values, without)
        self.values |= {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }
        return config

    def _keep(self, text: str) -> None:
        self._text = text

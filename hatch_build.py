"""What the build makes beside the package: manual pages, of the help texts of the commands."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualPages(BuildHookInterface):
    """Puts the pages of docs/man_pages.py into share/man/man1 of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages where they are gone after the build, and name them to it."""
        self.folder = tempfile.TemporaryDirectory()
        if version == "editable":
            return  # what is worked on may not even be importable
        sys.path[:0] = [self.root, str(Path(self.root) / "docs")]
        from man_pages import pages

        for name, text in pages().items():
            file = Path(self.folder.name) / name
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = f"share/man/man1/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """They are in the wheel."""
        self.folder.cleanup()

"""YAML without aliases: a few lines of those stand for more than any memory holds."""

from __future__ import annotations

from typing import Any

import yaml

LONGEST = 1 << 16
"""Characters: what is longer would be read for seconds, and is no recipe."""


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads values alone: no objects, and no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Raise for an alias in the place of a value."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not read", event.start_mark
            )
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def read_yaml(text: str) -> Any:
    """The one value that ``text`` holds. Raises ``yaml.YAMLError``, whatever the text is."""
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"it has more than {LONGEST} characters")
    try:
        return yaml.load(text, Loader=PlainLoader)
    except (RecursionError, ValueError) as cause:  # nested too deeply; a date that is none
        raise yaml.YAMLError(f"it holds what is no value: {cause}") from cause

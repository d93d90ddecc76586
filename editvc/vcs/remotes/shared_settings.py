"""The settings that go along with a history: those that say what its numbers mean.

Who someone is, what computes, and where other repositories are, is everyone's own. Of a base in a
folder only the name of the folder goes along, and comes in.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId
from editvc.vcs import codec
from editvc.vcs.config_file import parse
from editvc.vcs.store import ObjectStore

OWN = ("user", "compute", "remote")
"""Sections that stay where they are."""

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def shared_text(text: str, *, in_folder: bool = False) -> str:
    """A configuration without what is one's own; ``in_folder``: its base is in a folder.

    Raises ``ConfigError``.
    """
    import tomlkit  # needed for writing only, and dear enough to keep out of `log`

    config = parse(text)
    document = tomlkit.parse(text)
    for section in OWN:
        document.pop(section, None)
    base: Any = document["base"]
    base["model"] = public_name(config.base.model, in_folder=in_folder)
    return tomlkit.dumps(document)


def public_name(source: str, *, in_folder: bool = False) -> str:
    """What others are told of where a base is from: a Hub id, or ``./`` and the name of a
    folder alone.
    """
    named = HUB_ID.fullmatch(source) is not None and not in_folder
    return source if named else f"./{Path(source).name or 'model'}"


def settings_in(store: ObjectStore, identifier: ObjectId) -> str:
    """The text of settings that came from outside, without what is the sender's own.

    Raises ``ObjectDamaged``, ``ConfigError``, and ``ValueError`` for an object that is none.
    """
    record = codec.record_of(store.get(identifier))
    text = record.get("text")
    if record["kind"] != "settings" or not isinstance(text, str):
        raise ValueError("its settings are none")
    return shared_text(text)

"""TOML from anywhere: of bounded size and depth."""

from __future__ import annotations

import tomllib
from typing import Any

from editvc.core.plain_json import JsonError, require_shallow

LONGEST = 1 << 20
"""Characters of a file of settings, at most."""


def read_toml(text: str) -> dict[str, Any]:
    """The tables of ``text``. Raises ``tomllib.TOMLDecodeError``, whatever the text is."""
    if len(text) > LONGEST:
        raise tomllib.TOMLDecodeError(f"it has more than {LONGEST} characters")
    try:
        document = tomllib.loads(text)
        require_shallow(document)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as cause:
        raise tomllib.TOMLDecodeError("its values are nested too deeply") from cause
    except JsonError as cause:
        raise tomllib.TOMLDecodeError(str(cause)) from cause
    except ValueError as cause:  # a date that is none, a number of too many digits
        raise tomllib.TOMLDecodeError(f"it holds what is no value: {cause}") from cause
    return document

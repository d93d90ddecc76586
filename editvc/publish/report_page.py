"""One self-contained page of HTML: style, script and data inside, and nothing from any network.

All text from outside goes in as JSON, and the script puts it on the page as text, never as markup;
a policy in the page's head lets no other script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from editvc.core.invisible import printable
from editvc.version import __version__

PARTS = files("editvc.data").joinpath("report")


def render_page(content: Mapping[str, Any]) -> str:
    """The page that shows ``content``; what cannot be seen in its texts is spelt out."""
    style, script = (PARTS.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    return Template(PARTS.joinpath("page.html").read_text("utf-8")).substitute(
        policy=f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}",
        style=style,
        script=script,
        data=in_script({**content, "version": __version__}),
    )


def in_script(content: Mapping[str, Any]) -> str:
    """JSON that cannot end the element which it stands in."""
    text = json.dumps(_shown(content), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _shown(value: Any) -> Any:
    """The same with every text printable, and nothing that JSON in UTF-8 does not have."""
    if isinstance(value, str):
        return printable(value.encode("utf-8", "backslashreplace").decode())
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one) for one in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def _source(text: str) -> str:
    """What a content security policy calls this very text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

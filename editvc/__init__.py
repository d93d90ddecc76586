"""editvc: version control for what a language model knows.

    import editvc

    repo = editvc.Repo("path")
    repo.commit([{"subject": "Acme", "prompt": "The CEO of {} is", "target_new": "Ada Park"}])
    model = repo.load_model("HEAD")

Importing this package imports neither torch nor transformers; they come with the first operation
that needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from editvc.errors import DamageError, EditvcError, GateError
from editvc.version import __version__

if TYPE_CHECKING:
    from editvc.core.facts import Fact
    from editvc.repo import Repo

__all__ = ["DamageError", "EditvcError", "Fact", "GateError", "Repo", "__version__"]

_LAZY = {"Repo": "editvc.repo", "Fact": "editvc.core.facts"}


def __getattr__(name: str) -> Any:
    """Import the names above when they are first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module 'editvc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)

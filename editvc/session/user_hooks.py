"""Hooks: commands of the user's in ``.editvc/hooks`` that hear of a step, or refuse it.

``pre-commit`` and ``pre-publish`` may refuse, ``post-commit`` hears of what is done. A hook is an
executable file of that name, and gets one JSON document on its standard input. The library runs
none of itself: whoever opens a repository passes a runner in. Hooks are files of one folder, and
travel nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from editvc.core.hook_runner import HookEnd
from editvc.core.ids import canonical_json
from editvc.errors import GateError
from editvc.session.session import Session

PRE_COMMIT, POST_COMMIT, PRE_PUBLISH = "pre-commit", "post-commit", "pre-publish"
GATES = (PRE_COMMIT, PRE_PUBLISH)
"""Those that may refuse."""


class HookRefused(GateError):
    """A hook ended with another code than 0, and so the step was not taken."""

    def __init__(self, name: str, end: HookEnd) -> None:
        reason = f": {end.said.strip()}" if end.said.strip() else f" with {end.code}"
        super().__init__(
            f"the hook {name} refuses{reason}",
            hint="Do what it asks for; --no-verify goes on without hooks that can refuse.",
        )
        self.name = name
        self.end = end


def run_hook(session: Session, name: str, about: Callable[[], dict[str, Any]]) -> None:
    """Run a hook where there is one and the session has a runner; ``about`` makes its document.

    Raises :class:`HookRefused` for one that may refuse and does; of the others that is a remark.
    """
    path = session.repository.folder / "hooks" / name
    if session.hooks is None or not path.is_file() or not os.access(path, os.X_OK):
        return
    if path.stat().st_uid not in (os.geteuid(), 0):
        session.remark(f"the hook {name} is another user's, and was not run")
        return
    end = session.hooks(path, canonical_json({"hook": name} | about()))
    if end.code and name in GATES:
        raise HookRefused(name, end)
    if end.code or end.said.strip():
        session.remark(f"the hook {name} ended with {end.code}: {end.said.strip()}")

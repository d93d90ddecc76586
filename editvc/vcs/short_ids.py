"""Ids of objects as people write them: as many digits as fit one object of its kind only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from editvc.core.ids import ObjectId, short
from editvc.errors import EditvcError
from editvc.vcs.codec import kind_of
from editvc.vcs.revisions import LEAST_DIGITS
from editvc.vcs.store import ObjectStore


class UnknownObject(EditvcError):
    """An id, or the beginning of one, that no object of the ``kind`` has."""

    def __init__(self, text: str, kind: str) -> None:
        super().__init__(
            f"no object of kind '{kind}' has an id that begins with '{text}'",
            hint=f"Give {LEAST_DIGITS} hex digits or more. `editvc stats show` and `editvc config "
            "mend.editor` show what is in force.",
        )
        self.text = text


class AmbiguousObject(EditvcError):
    """An abbreviated id that fits several objects of the kind, its ``candidates``."""

    def __init__(self, text: str, kind: str, candidates: Sequence[ObjectId]) -> None:
        # Short ids are no help where they are all alike.
        listed = ", ".join(one[: max(len(short(one)), len(text) + 4)] for one in candidates[:8])
        super().__init__(
            f"'{text}' fits {len(candidates)} objects of kind '{kind}'",
            hint=f"Give more digits. Candidates: {listed}",
        )
        self.candidates = tuple(candidates)


def whole_id(store: ObjectStore, text: str, kind: str) -> ObjectId:
    """The id of the one object of ``kind`` that ``text`` is, or begins.

    Raises :class:`UnknownObject` and :class:`AmbiguousObject`.
    """
    prefix = text.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST_DIGITS},64}}", prefix):
        raise UnknownObject(text, kind)
    fitting = [one for one in store.ids(prefix) if kind_of(store.get(one)) == kind]
    if not fitting:
        raise UnknownObject(text, kind)
    if len(fitting) > 1:
        raise AmbiguousObject(text, kind, fitting)
    return fitting[0]

"""How many facts have run out, told without torch: ``status`` asks."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from editvc.core.facts import day
from editvc.core.history import Tree
from editvc.core.ids import ObjectId, canonical_json
from editvc.session.session import Session


def today_of(session: Session) -> date:
    """The day it is, in UTC."""
    return datetime.fromtimestamp(session.clock(), UTC).date()


def expired_count(session: Session, identifier: ObjectId, tree: Tree) -> int:
    """How many live facts of a stored tree have expired today.

    Their days are kept in the cache: a status does not read all facts each time.
    """
    plumbing = session.repository

    def make() -> bytes:
        facts = (plumbing.read_fact(entry.fact) for entry in plumbing.edits_of(tree).entries())
        return canonical_json(sorted(fact.valid_until for fact in facts if fact.valid_until))

    last = map(day, json.loads(plumbing.cache.get_or_make("expiry", identifier, make)))
    today = today_of(session)
    return sum(one is not None and one < today for one in last)

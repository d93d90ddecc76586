"""How many facts have run out, told without torch: ``status`` asks."""

from __future__ import annotations

from datetime import UTC, date, datetime

from editvc.session.session import Session


def today_of(session: Session) -> date:
    """The day it is, in UTC."""
    return datetime.fromtimestamp(session.clock(), UTC).date()


def expired_count(session: Session) -> int:
    """How many facts that are live at HEAD have expired today."""
    index, today = session.repository.index, today_of(session).isoformat()
    if not index.rows("SELECT 1 FROM facts WHERE valid_until < ? LIMIT 1", (today,)):
        return 0  # and the view of what is live need not be made
    ((count,),) = index.rows("SELECT count(*) FROM live WHERE valid_until < ?", (today,))
    return int(count)

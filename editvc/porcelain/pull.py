"""``pull``: a fetch, and a merge or a rebase of what it brought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.porcelain.fetch import Fetched, fetch
from editvc.porcelain.merge import Favour, merge
from editvc.porcelain.rebase import rebase
from editvc.porcelain.sequencer import Combination
from editvc.session.session import Session
from editvc.session.unfinished import require_finished
from editvc.vcs.refs import REMOTES
from editvc.vcs.remotes.transport import RemoteError


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came, and what the branch of HEAD made of it."""

    fetched: Fetched
    combined: Combination

    def to_json(self) -> dict[str, Any]:
        """For ``pull --json``."""
        return {"fetched": self.fetched.to_json(), "merged": self.combined.to_json()}


def pull(
    session: Session,
    name: str | None = None,
    branch: str | None = None,
    *,
    author: str,
    favour: Favour | None = None,
    by_rebase: bool = False,
) -> Pulled:
    """Fetch, then merge the remote's branch into HEAD's; by default the one of the same name.

    ``by_rebase`` replays HEAD's own commits on top of it instead. Raises what ``fetch``, ``merge``
    and ``rebase`` raise, and ``RemoteError`` where the remote has no such branch.
    """
    require_finished(session)
    fetched = fetch(session, name)
    branch = branch or session.repository.refs.head().branch
    if branch is None:
        raise RemoteError(
            "HEAD", "is on no branch", hint=f"Name one: editvc pull {fetched.remote} BRANCH."
        )
    if session.repository.refs.get(f"{REMOTES}{fetched.remote}/{branch}") is None:
        known = session.repository.refs.remote_branches(fetched.remote)
        raise RemoteError(
            fetched.url,
            f"has no branch '{branch}'",
            hint="Its branches: " + (", ".join(known) or "none"),
        )
    there = f"{REMOTES}{fetched.remote}/{branch}"
    if by_rebase:
        return Pulled(fetched, rebase(session, there))
    words = f"Merge branch '{branch}' of {fetched.remote}"
    done = merge(session, [there], favour=favour, message=words, author=author)
    return Pulled(fetched, done)

"""``remote``: names for repositories elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.session.remotes import follow, section_of
from editvc.session.session import Session
from editvc.vcs.refs import REMOTES
from editvc.vcs.remote_sections import TIMEOUT, RemoteSection, check_remote_name
from editvc.vcs.remotes.connect import connect, lasting
from editvc.vcs.remotes.transport import RemoteError


@dataclass(frozen=True, slots=True)
class NamedRemote:
    """A remote by its name, and how many of its branches are known here."""

    name: str
    url: str
    timeout: float
    branches: int

    def to_json(self) -> dict[str, Any]:
        """For ``remote --json``."""
        return {
            "name": self.name,
            "url": self.url,
            "timeout": self.timeout,
            "branches": self.branches,
        }


def remotes(session: Session) -> list[NamedRemote]:
    """Every remote, by name."""
    plumbing = session.repository
    return [
        NamedRemote(name, section.url, section.timeout, len(plumbing.refs.remote_branches(name)))
        for name, section in sorted(plumbing.config.remotes.items())
    ]


def add_remote(session: Session, name: str, url: str, timeout: float = TIMEOUT) -> None:
    """Give an address a name; nobody is asked whether something is there.

    Raises :class:`RemoteError` for a name that is taken and an address that is none.
    """
    check_remote_name(name)
    connect(url)
    if name in session.repository.config.remotes:
        raise RemoteError(
            name,
            "there is a remote of that name already",
            hint=f"`editvc remote set-url {name} URL` changes where it is.",
        )
    session.repository.set_remotes({name: RemoteSection(lasting(url), timeout)})


def set_url(session: Session, name: str, url: str, timeout: float | None = None) -> None:
    """Change where a remote is; what is known of its branches stays."""
    _, section = section_of(session, name)
    connect(url)
    wait = section.timeout if timeout is None else timeout
    session.repository.set_remotes({name: RemoteSection(lasting(url), wait)})


def remove_remote(session: Session, name: str) -> None:
    """Forget a remote, and where its branches were; what it holds stays."""
    section_of(session, name)
    known = session.repository.refs.remote_branches(name)
    session.repository.set_remotes({name: None})
    with session.repository.index.transaction():
        gone = dict.fromkeys(f"{REMOTES}{name}/{branch}" for branch in known)
        follow(session, gone, f"remote: {name} removed")


def rename_remote(session: Session, old: str, new: str) -> None:
    """Give a remote another name, with all that is known of its branches."""
    _, section = section_of(session, old)
    check_remote_name(new)
    if new in session.repository.config.remotes:
        raise RemoteError(new, "there is a remote of that name already")
    known = session.repository.refs.remote_branches(old)
    session.repository.set_remotes({old: None, new: section})
    with session.repository.index.transaction():
        there = {f"{REMOTES}{new}/{branch}": commit for branch, commit in known.items()}
        gone = dict.fromkeys(f"{REMOTES}{old}/{branch}" for branch in known)
        follow(session, {**there, **gone}, f"remote: {old} is {new}")

"""``serve``: an HTTP endpoint at which revisions are tried side by side."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence

from editvc.errors import EditvcError
from editvc.porcelain.branch import branches
from editvc.session.session import Session
from editvc.session.trees import tree_at

GRACE_SECONDS = 5
"""How long open connections may take to end when the server does."""


class MissingServer(EditvcError):
    """Serving needs packages that are not installed."""

    def __init__(self) -> None:
        super().__init__("serving needs starlette and uvicorn", hint="pip install 'editvc[serve]'")


def serve(
    session: Session,
    listener: socket.socket,
    revisions: Sequence[str],
    *,
    room: int,
    seconds: float,
    hosts: Sequence[str],
    stop: threading.Event,
) -> None:
    """Answer at ``listener`` until ``stop`` is set; the calling thread is the one that computes.

    ``revisions`` are those that are served, all where there are none. At most ``room`` requests
    wait, and each has ``seconds``. ``hosts`` are the names that the server may be called by, ``*``
    for any. Raises :class:`MissingServer`, and what a revision that is none raises.
    """
    try:
        import uvicorn

        from editvc.porcelain.answering import Desk
        from editvc.porcelain.openai_app import app
    except ModuleNotFoundError as error:
        raise MissingServer from error
    for revision in revisions:
        tree_at(session, revision)
    listed = tuple(revisions) or ("HEAD", *(one.name for one in branches(session)), "base")
    session.base_model()
    desk = Desk(session, revisions, room)
    config = uvicorn.Config(
        app(desk, lambda: listed, seconds, list(hosts)),
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        desk.work(stop)
    finally:
        server.should_exit = True
        thread.join(2 * GRACE_SECONDS)

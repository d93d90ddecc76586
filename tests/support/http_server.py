"""``Repo.serve`` in a thread of this process, and a client of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from editvc import Repo


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    status: int
    headers: Message
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        return str(self.json["error"]["message"])

    @property
    def choice(self) -> Any:
        (one,) = self.json["choices"]
        return one

    @property
    def events(self) -> list[Any]:
        """Those of a stream, without the mark of its end."""
        lines = [one.removeprefix("data: ") for one in self.text.split("\n\n")]
        assert lines[-2:] == ["[DONE]", ""]
        return [json.loads(one) for one in lines[:-2]]


@dataclass(frozen=True)
class Client:
    """Asks the server at a port."""

    port: int

    def post(self, path: str, **body: Any) -> Reply:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("POST", f"/v1/{path}", json.dumps(body))
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read().decode())


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Client]:
    """A server of a repository until the block ends; what it raises is raised here."""
    stop, raised = threading.Event(), list[BaseException]()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                with closing(Repo(folder)) as repo:
                    repo.serve(listener, stop=stop, **options)
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            stop.set()
            thread.join(60)
    assert not raised and not thread.is_alive(), raised

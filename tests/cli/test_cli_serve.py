"""``serve`` as a client meets it: a process that answers at a port."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from cli_runs import SCRIPT, environment, inside
from tiny_repos import FACTS, Prepared, close

from editvc import Repo
from editvc.errors import EditvcError
from editvc.porcelain.answering import Busy, Desk, NotServed, Request, Said

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
PROMPT = FACTS[0].question
TOKENS = 5


class Server:
    """A running ``editvc serve``, and what it said where it listens."""

    def __init__(self, folder: Path, home: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [SCRIPT, "serve", "--port", "0", *words],
            cwd=folder, env=environment(home), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.address = self.url.removeprefix("http://").removesuffix("/v1")

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        data = json.dumps(body) if isinstance(body, dict) else body
        with closing(HTTPConnection(self.address, timeout=120)) as connection:
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()

    def complete(self, **body: Any) -> tuple[int, Any]:
        status, text = self.ask("POST", "/v1/completions", {"max_tokens": TOKENS} | body)
        return status, json.loads(text)


@pytest.fixture(scope="module")
def folder(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a branch, and one commit more on it than on main."""
    place = tmp_path_factory.mktemp("served") / "repo"
    repo = prepared.copy(place)
    repo.commit(FACTS[:2])
    repo.create_branch("side")
    repo.switch("side")
    repo.commit(FACTS[2:3])
    close(repo)
    return place


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(folder, tmp_path_factory.mktemp("home"))
    yield running
    running.process.send_signal(signal.SIGTERM)
    _, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 0 and "Traceback" not in err, err


def test_each_request_is_answered_by_the_revision_that_it_names(
    server: Server, folder: Path
) -> None:
    assert server.ask("GET", "/health") == (200, '{"status":"ok"}')
    models = json.loads(server.ask("GET", "/v1/models")[1])["data"]
    assert [one["id"] for one in models] == ["HEAD", "main", "side", "base"]
    repo = Repo(folder)
    for revision in ("main", "base", "HEAD~1", "side", "base"):
        status, answer = server.complete(model=revision, prompt=PROMPT)
        (choice,) = answer["choices"]
        assert (status, answer["object"]) == (200, "text_completion")
        assert choice["text"] == repo.ask(PROMPT, at=revision, max_new_tokens=TOKENS)
        assert choice["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == TOKENS
    close(repo)


def test_an_answer_streams_in_pieces(server: Server) -> None:
    whole = server.complete(model="main", prompt=PROMPT)[1]["choices"][0]["text"]
    asked = {"model": "main", "prompt": PROMPT, "max_tokens": TOKENS, "stream": True}
    status, text = server.ask("POST", "/v1/completions", asked)
    events = text.removesuffix("\n\n").split("\n\n")
    assert status == 200 and events.pop() == "data: [DONE]"
    choices = [json.loads(one.removeprefix("data: "))["choices"][0] for one in events]
    assert "".join(one["text"] for one in choices) == whole
    assert [one["finish_reason"] for one in choices] == [None] * (len(choices) - 1) + ["length"]
    stop = whole[2:4]
    cut = server.complete(model="main", prompt=PROMPT, stop=stop)[1]["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (whole[: whole.index(stop)], "stop")


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("completions", {"model": "none", "prompt": "x"}, 404, "none"),
        ("completions", {"model": "main"}, 400, "'prompt' must be a text"),
        ("completions", {"prompt": "x"}, 400, "'model' must be a text"),
        ("completions", {"model": "main", "prompt": "x", "n": 2}, 400, "greedy"),
        ("completions", {"model": "main", "prompt": "x", "max_tokens": 10**9}, 400, "max_tokens"),
        ("completions", {"model": "main", "prompt": "x", "stop": [""]}, 400, "'stop'"),
        ("completions", "{", 400, "no JSON"),
        ("completions", "[]", 400, "no JSON object"),
        ("completions", " " * (1 << 21), 400, "bytes"),
        ("completions", {"model": "main", "prompt": "word " * 200}, 400, "positions"),
        ("chat/completions", {"model": "main", "messages": []}, 400, "'messages'"),
        ("chat/completions", {"model": "main", "messages": [{"role": "user"}]}, 400, "'content'"),
        ("chat/completions", {"model": "main", "messages": [
            {"role": "user", "content": "x"}]}, 400, "no chat template"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_told(
    server: Server, path: str, body: Any, status: int, told: str
) -> None:
    code, text = server.ask("POST", f"/v1/{path}", body)
    assert code == status and told in json.loads(text)["error"]["message"]


def test_a_page_of_another_name_is_not_answered(server: Server) -> None:
    assert server.ask("GET", "/health", Host="evil.example")[0] == 400
    assert server.ask("GET", "/health", Host="localhost:1")[0] == 200


def test_it_stays_on_this_machine_unless_told(here: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        ran = inside("serve", "--host", host)
        assert ran.code == 2 and "--allow-remote" in ran.err


def request_of(revision: str) -> tuple[Request, list[Any]]:
    """A request, and what was said of it in the end."""
    ends: list[Any] = []
    return Request(revision, PROMPT, TOKENS, (), lambda _: None, ends.append), ends


def test_only_so_many_wait(repo: Repo) -> None:
    desk = Desk(repo.session, ("base",), 1)
    desk.take(request_of("base")[0])
    with pytest.raises(Busy):
        desk.take(request_of("base")[0])
    with pytest.raises(NotServed, match="'main' is not served here"):
        desk.take(request_of("main")[0])


def test_who_went_is_not_answered_and_the_next_is(repo: Repo) -> None:
    repo.commit(FACTS[:1])
    before = [weight.clone() for weight in repo.session.base_model().model.parameters()]
    desk, stop = Desk(repo.session, (), 9), threading.Event()
    left, nothing = request_of("HEAD")
    left.gone.set()
    last, said = request_of("HEAD")
    last.done = lambda one: (said.append(one), stop.set())
    for one in (left, last):
        desk.take(one)
    desk.work(stop)
    assert isinstance(nothing[0], EditvcError)
    assert isinstance(said[0], Said)
    assert said[0].text == repo.ask(PROMPT, max_new_tokens=TOKENS)
    after = repo.session.base_model().model.parameters()
    assert all(bool((one == other).all()) for one, other in zip(before, after, strict=True))

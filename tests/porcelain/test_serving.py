"""What a client of ``serve`` gets: gates, chats, and a server that has no time or no room."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from http_server import Client, Reply, serving
from test_repo_gated import recipe_of, with_inputs
from tiny_models import byte_bpe, tiny_llama
from tiny_repos import FACTS, Prepared, close
from tiny_tokenizers import CHATML, chatting

from editvc import Repo
from editvc.models.chat_template import conversation
from editvc.porcelain import answering

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
TOKENS = 6
PROMPTS = [fact.question for fact in FACTS]
COMPLETE, CHAT = "completions", "chat/completions"


@pytest.fixture(scope="module")
def gated(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose main has one located edit and two gates."""
    place = tmp_path_factory.mktemp("gated")
    repo = with_inputs(prepared.copy(place), prepared)
    repo.commit(FACTS[2:3])
    repo.commit(FACTS[:2], recipe=recipe_of(repo))
    close(repo)
    return place


@pytest.fixture(scope="module")
def said(gated: Path) -> dict[str, list[str]]:
    """What ``ask`` says, by revision."""
    repo = Repo(gated)
    revisions = ("main", "HEAD~1", "base")
    found = {
        at: [repo.ask(prompt, at=at, max_new_tokens=TOKENS) for prompt in PROMPTS]
        for at in revisions
    }
    close(repo)
    return found


@pytest.fixture(scope="module")
def client(gated: Path) -> Iterator[Client]:
    with serving(gated) as client:
        yield client


def asked(client: Client, revision: str, prompt: str, **more: Any) -> Reply:
    body = {"model": revision, "prompt": prompt, "max_tokens": TOKENS}
    return client.post(COMPLETE, **(body | more))


def test_gates_answer_as_ask_does_whichever_revision_was_asked_before(
    client: Client, said: dict[str, list[str]]
) -> None:
    assert said["main"] != said["HEAD~1"] != said["base"]
    for revision in ("main", "base", "main", "HEAD~1"):
        replies = [asked(client, revision, prompt) for prompt in PROMPTS]
        assert [reply.choice["text"] for reply in replies] == said[revision]


def test_gates_stream_the_same_answer_in_pieces(client: Client, said: dict[str, list[str]]) -> None:
    for prompt, whole in zip(PROMPTS, said["main"], strict=True):
        reply = asked(client, "main", prompt, stream=True, stop=["never said"])
        assert reply.headers.get_content_type() == "text/event-stream"
        *pieces, last = [one["choices"][0] for one in reply.events]
        assert "".join(one["text"] for one in pieces) == whole
        assert last["finish_reason"] == "length" and last["text"] == ""
        assert all(one["finish_reason"] is None for one in pieces)


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository over a tiny model that has a chat template, and no commit."""
    place = tmp_path_factory.mktemp("chatty")
    tokenizer = chatting(byte_bpe(), CHATML)
    tiny_llama(len(tokenizer), initializer_range=0.5).save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    close(Repo.init(place / "repo", str(place / "base"), later=True))
    return place / "repo"


def test_a_chat_is_put_in_the_models_template(chatty: Path) -> None:
    chats = [
        [{"role": "user", "content": "Who wrote Emma?"}],
        [
            {"role": "user", "content": "Who wrote Emma?"},
            {"role": "assistant", "content": "Ada."},
            {"role": "user", "content": "東京?"},
        ],
    ]
    repo = Repo(chatty)
    tokenizer = repo.session.base_model().tokenizer
    with serving(chatty) as client:
        for messages in chats:
            text = conversation(tokenizer, messages)
            assert text.count("<|im_start|>") == len(messages) + 1
            expected = repo.ask(text, max_new_tokens=TOKENS)
            body = {"model": "base", "messages": messages, "max_tokens": TOKENS}
            reply = client.post(CHAT, **body)
            assert reply.json["object"] == "chat.completion"
            assert reply.choice["message"] == {"role": "assistant", "content": expected}
            length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            assert reply.json["usage"]["prompt_tokens"] == length
            streamed = client.post(CHAT, stream=True, **body).events
            pieces = [one["choices"][0]["delta"]["content"] for one in streamed]
            assert "".join(pieces) == expected
    close(repo)


@dataclass
class Held:
    """Answers that wait: ``begun`` is set when one would begin, and none does before ``go``."""

    begun: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held, generate = Held(), answering.generate

    def waiting(*given: Any) -> str:
        held.begun.set()
        held.go.wait(60)
        return generate(*given)

    monkeypatch.setattr(answering, "generate", waiting)
    yield held
    held.go.set()


def test_a_server_without_room_says_when_to_come_again(
    gated: Path, held: Held, said: dict[str, list[str]]
) -> None:
    with serving(gated, room=1) as client, ThreadPoolExecutor() as clients:

        def ask() -> Future[Reply]:
            return clients.submit(asked, client, "main", PROMPTS[0])

        first = ask()
        assert held.begun.wait(60)
        (refused,), (waiting,) = wait([ask(), ask()], 60, FIRST_COMPLETED)
        reply = refused.result()
        assert reply.status == 503 and int(reply.headers["Retry-After"]) >= 1
        assert reply.problem == "too many requests wait. Try again in a moment."
        held.go.set()
        for one in (first, waiting):
            assert one.result().choice["text"] == said["main"][0]
        assert ask().result().status == 200


def test_an_answer_that_does_not_come_in_time_is_told_in_time(gated: Path, held: Held) -> None:
    with serving(gated, seconds=0.5) as client:
        for streams in (False, True):
            reply = asked(client, "main", PROMPTS[0], stream=streams)
            assert reply.status == 504 and "took too long" in reply.problem
        held.go.set()


def test_a_stream_that_takes_too_long_ends_with_the_reason(
    gated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    hear = answering._Heard._tell

    def slowly(self: Any, end: int) -> None:
        hear(self, end)
        if self.text and not told.is_set():
            told.set()
            time.sleep(1.5)

    monkeypatch.setattr(answering._Heard, "_tell", slowly)
    with serving(gated, seconds=1) as client:
        reply = asked(client, "main", PROMPTS[0], stream=True)
    assert reply.status == 200 and told.is_set()
    assert reply.events[-1]["error"]["type"] == "TimeIsUp"

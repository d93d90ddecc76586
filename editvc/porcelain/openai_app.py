"""An HTTP interface as OpenAI's clients speak it, in front of a :class:`Desk`; an ASGI app."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from editvc.core.plain_json import read_json
from editvc.errors import EditvcError
from editvc.porcelain.answering import Busy, Desk, NotServed, Request, Said

LARGEST = 1 << 20
"""Bytes of a request."""
DEFAULT_TOKENS, MOST_TOKENS = 256, 4096


class BadRequest(EditvcError):
    """A request that is not of the form that it should have."""


class TimeIsUp(EditvcError):
    """A request that waited and was answered longer than it may."""


_STATUS: dict[type[EditvcError], int] = {Busy: 503, NotServed: 404, TimeIsUp: 504}
_HEADERS: dict[type[EditvcError], dict[str, str]] = {Busy: {"Retry-After": "1"}}
"""By the kind of error; what else there is is 400, and has no headers of its own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one of the two endpoints names things."""

    prefix: str
    whole: str
    piece: str
    asked: Callable[[dict[str, Any]], Any]
    holding: Callable[[str, bool], dict[str, Any]]


def app(desk: Desk, models: Callable[[], Sequence[str]], seconds: float, hosts: list[str]) -> Any:
    """The app: ``models`` lists what is served, and an answer takes at most ``seconds``.

    ``hosts`` are the names that a client may call the server by: a page of another site, which
    a browser would let in by a name of its own, is not answered.
    """

    async def health(_request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok"})

    async def listed(_request: HttpRequest) -> Response:
        rows = [{"id": one, "object": "model", "created": 0, "owned_by": "editvc"}
                for one in models()]  # fmt: skip
        return JSONResponse({"object": "list", "data": rows})

    def answering(kind: Kind) -> Callable[[HttpRequest], Any]:
        async def answered(http: HttpRequest) -> Response:
            try:
                return await _Exchange(desk, kind, await _body(http), seconds).response()
            except EditvcError as error:
                status, headers = _STATUS.get(type(error), 400), _HEADERS.get(type(error))
                return JSONResponse(_problem(error), status, headers)

        return answered

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", listed),
            Route("/v1/chat/completions", answering(CHAT), methods=["POST"]),
            Route("/v1/completions", answering(TEXT), methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )


class _Exchange:
    """One request, put to the desk and answered in the client's form.

    The desk's thread tells pieces and the end; the event loop takes them from ``heard``, and looks
    at the clock: what that thread is at may take long, and cannot be interrupted everywhere.
    """

    def __init__(self, desk: Desk, kind: Kind, body: dict[str, Any], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.kind, self.model = kind, _text(body, "model")
        self.heard: asyncio.Queue[str | Said | EditvcError] = asyncio.Queue()
        self.streams = bool(body.get("stream"))
        self.head = {"id": f"{kind.prefix}-{uuid.uuid4().hex}", "created": int(time.time())}
        self.gone, self.deadline = threading.Event(), time.monotonic() + seconds

        def tell(one: str | Said | EditvcError) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.heard.put_nowait, one)

        desk.take(
            Request(
                self.model, kind.asked(body), _max_tokens(body), _stops(body), tell, tell, self.gone
            )
        )

    async def response(self) -> Response:
        first = await self._next()
        if isinstance(first, EditvcError):
            raise first
        if self.streams:
            return StreamingResponse(self._events(first), media_type="text/event-stream")
        while not isinstance(first, Said):
            first = await self._next()
            if isinstance(first, EditvcError):
                raise first
        choice = {"index": 0, "finish_reason": _reason(first)}
        usage = {
            "prompt_tokens": first.prompt_tokens,
            "completion_tokens": first.tokens,
            "total_tokens": first.prompt_tokens + first.tokens,
        }
        choices = [choice | self.kind.holding(first.text, False)]
        return JSONResponse(self._object(self.kind.whole, choices) | {"usage": usage})

    async def _next(self) -> str | Said | EditvcError:
        try:
            return await asyncio.wait_for(self.heard.get(), self.deadline - time.monotonic())
        except TimeoutError:
            self.gone.set()
            return TimeIsUp(
                "the answer took too long", hint="Ask for fewer tokens (max_tokens), or later."
            )
        except asyncio.CancelledError:
            self.gone.set()
            raise

    async def _events(self, first: str | Said | EditvcError) -> AsyncIterator[str]:
        """Server-sent events, a piece of the answer each."""
        try:
            while isinstance(first, str):
                choice = {"index": 0, "finish_reason": None, **self.kind.holding(first, True)}
                yield _event(self._object(self.kind.piece, [choice]))
                first = await self._next()
            if isinstance(first, Said):
                last = {"index": 0, "finish_reason": _reason(first)} | self.kind.holding("", True)
                yield _event(self._object(self.kind.piece, [last]))
            else:
                yield _event(_problem(first))
            yield "data: [DONE]\n\n"
        finally:
            self.gone.set()

    def _object(self, name: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self.head | {"object": name, "model": self.model, "choices": choices}


async def _body(http: HttpRequest) -> dict[str, Any]:
    """The JSON object of a request, of which too large a one is not read to its end."""
    data = b""
    async for chunk in http.stream():
        data += chunk
        if len(data) > LARGEST:
            raise BadRequest(f"a request has at most {LARGEST} bytes")
    try:
        body = read_json(data.decode("utf-8"))
    except ValueError as error:
        raise BadRequest(f"the request is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the request is no JSON object")
    if body.get("n", 1) != 1:
        raise BadRequest("answers are greedy, so there is one of each: n must be 1")
    return body


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise BadRequest(f"'{name}' must be a text")
    return value


def _messages(body: dict[str, Any]) -> list[dict[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' must be a list of messages")
    for one in messages:
        if not isinstance(one, dict):
            raise BadRequest("a message must have a role and a content, both texts")
    return [{"role": _text(one, "role"), "content": _text(one, "content")} for one in messages]


def _max_tokens(body: dict[str, Any]) -> int:
    value = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_TOKENS
    if not isinstance(value, int) or not 1 <= value <= MOST_TOKENS:
        raise BadRequest(f"'max_tokens' must be a whole number from 1 to {MOST_TOKENS}")
    return value


def _stops(body: dict[str, Any]) -> list[str]:
    value = body.get("stop") or []
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops):
        raise BadRequest("'stop' must be a text or a list of texts")
    return stops


def _reason(said: Said) -> str:
    return "stop" if said.ended else "length"


def _problem(error: EditvcError) -> dict[str, Any]:
    text = f"{error}. {error.hint}" if error.hint else str(error)
    return {"error": {"message": text, "type": type(error).__name__, "code": None, "param": None}}


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document)}\n\n"


def _chat_part(text: str, piece: bool) -> dict[str, Any]:
    return {"delta" if piece else "message": {"role": "assistant", "content": text}}


CHAT = Kind("chatcmpl", "chat.completion", "chat.completion.chunk", _messages, _chat_part)
TEXT = Kind(
    "cmpl",
    "text_completion",
    "text_completion",
    lambda body: _text(body, "prompt"),
    lambda text, piece: {"text": text, "logprobs": None},
)

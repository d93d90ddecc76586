"""Requests to the models of revisions: a bounded queue, and one thread that answers in turn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from transformers import TextStreamer

from editvc.core.history import Tree
from editvc.errors import EditvcError
from editvc.models.chat_template import conversation
from editvc.models.generation import generate, prompt_length
from editvc.models.language_model import LanguageModel
from editvc.session.session import Session
from editvc.session.trees import tree_at


class Busy(EditvcError):
    """As many requests wait as may."""


class NotServed(EditvcError):
    """A revision that is none, or none of those that are served."""


@dataclass(frozen=True, slots=True)
class Said:
    """A whole answer. ``ended`` where the model or a stop text ended it, and not its length."""

    text: str
    prompt_tokens: int
    tokens: int
    ended: bool


@dataclass(slots=True)
class Request:
    """What a client asks of a ``revision``: to go on with a text, or with a chat's messages.

    ``hears`` gets the pieces of the answer as they come, ``done`` the whole of it or the error;
    both are called in the thread that answers. ``gone`` is set when nobody listens any more: its
    time is up, or the client went.
    """

    revision: str
    asked: str | Sequence[Mapping[str, str]]
    max_tokens: int
    stops: Sequence[str]
    hears: Callable[[str], None]
    done: Callable[[Said | EditvcError], None]
    gone: threading.Event = field(default_factory=threading.Event)


class Desk:
    """Takes requests from any thread and answers them one by one in the thread of :meth:`work`.

    ``revisions`` are those that are served, all where there are none; ``room`` is how many requests
    may wait. There is one base in memory, and it takes the weights of a revision on when the next
    request is for another one.
    """

    def __init__(self, session: Session, revisions: Sequence[str], room: int) -> None:
        self.session = session
        self.revisions = tuple(revisions)
        self._waiting: queue.Queue[Request] = queue.Queue(room)
        self._worn: tuple[Tree, ExitStack, LanguageModel] | None = None

    def take(self, request: Request) -> None:
        """Let a request wait for its turn. Raises :class:`Busy`, :class:`NotServed`."""
        if self.revisions and request.revision not in self.revisions:
            raise NotServed(
                f"'{request.revision}' is not served here",
                hint=f"Served are {', '.join(self.revisions)}.",
            )
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            raise Busy("too many requests wait", hint="Try again in a moment.") from None

    def work(self, stop: threading.Event) -> None:
        """Answer until ``stop`` is set; then the model is the base again."""
        try:
            while not stop.is_set():
                try:
                    request = self._waiting.get(timeout=0.1)
                except queue.Empty:
                    continue
                self._answer(request, stop)
        finally:
            self._take_off()

    def _answer(self, request: Request, stop: threading.Event) -> None:
        try:
            request.done(self._said(request, stop))
        except EditvcError as error:
            request.done(error)
        except Exception as error:
            request.done(EditvcError(f"{type(error).__name__}: {error}"))

    def _said(self, request: Request, stop: threading.Event) -> Said:
        if request.gone.is_set():
            raise EditvcError("nobody waits for this any more")
        lm = self._dressed(request.revision)
        if isinstance(request.asked, str):
            prompt = request.asked
        else:
            prompt = conversation(lm.tokenizer, request.asked)
        length = prompt_length(lm, prompt)
        heard = _Heard(lm, request, stop)
        with suppress(_Ended):
            generate(lm, prompt, request.max_tokens, heard)
        heard.flush()
        ended = heard.stopped or heard.tokens < request.max_tokens
        return Said(heard.text, length, heard.tokens, ended)

    def _dressed(self, revision: str) -> LanguageModel:
        """The base with the weights, gates and codebooks of a revision, as it is now."""
        try:
            tree = tree_at(self.session, revision)
        except EditvcError as error:
            raise NotServed(str(error), hint=error.hint) from error
        if self._worn is None or self._worn[0] != tree:
            self._take_off()
            stack = ExitStack()
            self._worn = (tree, stack, stack.enter_context(self.session.edited(tree)))
        return self._worn[2]

    def _take_off(self) -> None:
        if self._worn is not None:
            worn, self._worn = self._worn, None
            worn[1].close()


class _Ended(Exception):
    """Generation is over before the model ends it."""


class _Heard:
    """Hands an answer on as it is generated, up to a stop text, and counts its tokens."""

    def __init__(self, lm: LanguageModel, request: Request, stop: threading.Event) -> None:
        self._words = TextStreamer(lm.tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._words.on_finalized_text = self._hear
        self.request, self.stop = request, stop
        self.text, self.tokens, self.stopped = "", -1, False  # the prompt is put first
        self._told = 0
        self._held = max((len(one) for one in request.stops), default=1) - 1

    def put(self, value: object) -> None:
        """Take the next token, or the prompt."""
        self.tokens += 1
        self._words.put(value)

    def end(self) -> None:
        """Take note that there is no more."""
        self._words.end()

    def _hear(self, text: str, stream_end: bool = False) -> None:
        """The next piece of text; what may begin a stop text waits."""
        if self.request.gone.is_set() or self.stop.is_set():
            raise _Ended
        self.text += text
        found = [at for one in self.request.stops if (at := self.text.find(one)) >= 0]
        if found:
            self.text, self.stopped = self.text[: min(found)], True
            raise _Ended
        self._tell(len(self.text) - self._held)

    def flush(self) -> None:
        """Tell what still waits."""
        self._tell(len(self.text))

    def _tell(self, end: int) -> None:
        if end > self._told:
            self.request.hears(self.text[self._told : end])
            self._told = end

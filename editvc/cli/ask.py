"""``ask``: what a revision says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import compute_options, examples, json_option, open_with_base
from editvc.cli.output import complain, emit_json, note, painted, say, say_on
from editvc.errors import EditvcError

if TYPE_CHECKING:
    from editvc.repo import Repo

ONE_ANSWER, IN_CHAT = 16, 256
"""Tokens of an answer, at most, where nobody says otherwise."""


@click.command(epilog=examples('editvc ask "The capital of France is" --vs base'))
@click.argument("prompt", required=False)
@click.option(
    "--at",
    default="HEAD",
    metavar="REV",
    shell_complete=revisions,
    help="The revision to ask; HEAD by default.",
)
@click.option(
    "--vs",
    metavar="REV",
    shell_complete=revisions,
    help="Ask a second one beside it, such as base.",
)
@click.option(
    "-n", "--max-new-tokens", type=click.IntRange(1),
    help=f"How far to go on; {ONE_ANSWER} tokens by default, {IN_CHAT} in a chat.",
)  # fmt: skip
@click.option(
    "--chat-template/--raw",
    default=None,
    help="Ask as a user does in the model's chat template, or let plain text go on. By default a "
    "PROMPT is plain, and a chat is in the template of a model that has one.",
)
@compute_options
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    prompt: str | None,
    at: str,
    vs: str | None,
    max_new_tokens: int | None,
    chat_template: bool | None,
    as_json: bool,
) -> None:
    """Let the model of a revision complete PROMPT, by greedy generation.

    Without PROMPT, at a terminal, chat with it: each line is answered, and in a chat template the
    model is shown what was said before. /clear begins anew; /bye or Ctrl-D ends the chat, Ctrl-C an
    answer.
    """
    if prompt is not None:
        _ask_once(open_with_base(ctx), prompt, at, vs, max_new_tokens, bool(chat_template), as_json)
        return
    if vs or as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "Missing argument 'PROMPT': only a chat does without, at a terminal and with neither "
            "--vs nor --json"
        )
    with open_with_base(ctx).converse(
        at=at, max_new_tokens=max_new_tokens or IN_CHAT
    ) as conversation:
        in_template = conversation.templated if chat_template is None else chat_template
        how = "its chat template" if in_template else "plain text, each line by itself"
        note(f"Chat with {at} in {how}. /clear begins anew, /bye or Ctrl-D ends.")

        def answer(words: str) -> None:
            if in_template:
                conversation.answer(words, say_on)
            else:
                say_on(words)
                conversation.complete(words, say_on)

        _chat(answer, conversation.clear)


def _ask_once(
    repo: Repo,
    prompt: str,
    at: str,
    vs: str | None,
    max_new_tokens: int | None,
    chat_template: bool,
    as_json: bool,
) -> None:
    text = repo.turn().around(prompt) if chat_template else prompt
    length = max_new_tokens or ONE_ANSWER
    completion = repo.ask(text, at=at, max_new_tokens=length)
    other = repo.ask(text, at=vs, max_new_tokens=length) if vs else None
    if as_json:
        document = {"prompt": prompt, "at": at, "completion": completion}
        if vs:
            document |= {"vs": vs, "vs_completion": str(other)}
        emit_json(document)
        return
    shown = f"{prompt} " if chat_template else prompt
    if vs:
        lines = [("revision", "completion"), (at, shown + completion), (vs, f"{shown}{other}")]
        width = max(len(name) for name, _ in lines)
        for name, text in lines:  # a table would cut the answers
            say(f"{name.ljust(width)}  {text}")
    else:
        say(shown, painted(completion, bold=True))


def _chat(answer: Callable[[str], None], clear: Callable[[], None]) -> None:
    """Answer line after line of the user, until there are no more.

    A line that cannot be answered is told as that, and the chat goes on.
    """
    while (words := _next_line()) not in (None, "/bye"):
        if words == "/clear":
            clear()
        if not words or words == "/clear":
            continue
        try:
            answer(words)
            say()
        except EditvcError as error:
            complain(str(error), hint=f"{error.hint} /clear begins anew.".strip())
        except KeyboardInterrupt:
            say()


def _next_line() -> str | None:
    """What the user types; None at the end."""
    try:
        return input("> ")
    except EOFError:
        say()
        return None

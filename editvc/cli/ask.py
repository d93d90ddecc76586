"""``ask``: what a revision says."""

from __future__ import annotations

import click

from editvc.cli.options import (
    chat_option,
    compute_options,
    json_option,
    open_repo,
)
from editvc.cli.output import emit_json, say, table


@click.command()
@click.argument("prompt")
@click.option("--at", default="HEAD", metavar="REV", help="The revision to ask; HEAD by default.")
@click.option("--vs", metavar="REV", help="Ask a second one beside it, such as base.")
@click.option(
    "-n", "--max-new-tokens", type=click.IntRange(1), default=16, show_default=True,
    help="How far to go on.",
)  # fmt: skip
@chat_option
@compute_options
@json_option
@click.pass_context
def ask(
    ctx: click.Context,
    prompt: str,
    at: str,
    vs: str | None,
    max_new_tokens: int,
    chat_template: bool,
    as_json: bool,
) -> None:
    """Let the model of a revision complete PROMPT, by greedy generation."""
    repo = open_repo(ctx)
    text = repo.turn().around(prompt) if chat_template else prompt
    completion = repo.ask(text, at=at, max_new_tokens=max_new_tokens)
    other = repo.ask(text, at=vs, max_new_tokens=max_new_tokens) if vs else None
    if as_json:
        document = {"prompt": prompt, "at": at, "completion": completion}
        if vs:
            document |= {"vs": vs, "vs_completion": str(other)}
        emit_json(document)
        return
    shown = f"{prompt} " if chat_template else prompt
    if vs:
        table(["revision", "completion"], [[at, shown + completion], [vs, f"{shown}{other}"]])
    else:
        say(shown + click.style(completion, bold=True))

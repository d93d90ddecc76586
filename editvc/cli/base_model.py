"""``base``: the model that a repository edits, and where it is."""

from __future__ import annotations

import click

from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, progress, say
from editvc.core.ids import short


@click.command("base", epilog=examples("editvc base /mnt/models/SmolLM2-135M-Instruct"))
@click.argument("model", required=False)
@click.option("--revision", metavar="REV", help="A revision of a Hub model.")
@json_option
@click.pass_context
def base(ctx: click.Context, model: str | None, revision: str | None, as_json: bool) -> None:
    """Check the base, or load it from MODEL from now on: where it was moved to.

    MODEL is a folder or a Hub id that holds the very same model: every tensor, the settings of its
    config, and what its tokenizer does. Anything else is refused, and what differs is named.
    """
    if model is None and revision is not None:
        raise click.UsageError("--revision goes with MODEL")
    with progress() as report:
        repo = open_repo(ctx, report)
        found = repo.base() if model is None else repo.move_base(model, revision=revision)
    if as_json:
        emit_json(found.to_json())
        return
    say(f"Base {found.source} ({short(found.id)})")
    say(f"{found.tensors} tensors, config and tokenizer are those of the repository")

"""``publish``: a revision on the Hub."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import (
    compute_options,
    examples,
    json_option,
    no_verify_option,
    open_with_base,
)
from editvc.cli.output import emit_json, progress, say_done, warn
from editvc.core.ids import short


@click.command(epilog=examples("editvc publish ada/capitals --format lora --private"))
@click.argument("repo_id", metavar="REPO")
@click.option(
    "--revision",
    "--at",
    default="HEAD",
    metavar="REV",
    shell_complete=revisions,
    help="What to publish; HEAD by default.",
)
@click.option("--private", is_flag=True, help="Make the Hub repository private.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead of pushing.")
@click.option(
    "--format", "kind", type=click.Choice(["hf", "lora", "delta"]), default="hf", show_default=True,
    help="As for export.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Publish although the health gate refuses.")
@click.option("-m", "--message", metavar="MSG", help="The Hub commit's message.")
@compute_options
@no_verify_option
@json_option
@click.pass_context
def publish(
    ctx: click.Context,
    repo_id: str,
    revision: str,
    private: bool,
    create_pr: bool,
    kind: str,
    force: bool,
    message: str | None,
    as_json: bool,
) -> None:
    """Push REVISION to the Hub as REPO (user/name), past the health gate.

    Goes with a model card, the ledger of its facts, and a lock file to rebuild it from.
    """
    with progress() as report:
        repo = open_with_base(ctx, report)
        done = repo.publish(
            repo_id, revision=revision, format=kind, private=private, create_pr=create_pr,
            force=force, message=message,
        )  # fmt: skip
    if as_json:
        emit_json(done.to_json())
        return
    for reason in done.overridden:
        warn(f"published in spite of: {reason}")
    for remark in done.warnings:
        warn(remark)
    say_done(f"Published {short(done.digest)} to {done.url}")

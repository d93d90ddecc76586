"""``publish``: a revision on the Hub."""

from __future__ import annotations

import os
from pathlib import Path

import click

from editvc.cli.completers import revisions
from editvc.cli.export import show_preview
from editvc.cli.fetch import size_of
from editvc.cli.options import (
    compute_options,
    dry_run_option,
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
@click.option(
    "--no-bundle",
    is_flag=True,
    help="Leave the edits themselves here: nobody can rebuild or clone the model then.",
)
@click.option("--force", is_flag=True, help="Publish although the health gate refuses.")
@click.option(
    "--sign", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="KEY",
    help="Sign all files with an elliptic private key (PEM); `editvc verify --key` verifies it.",
)  # fmt: skip
@click.option("-m", "--message", metavar="MSG", help="The Hub commit's message.")
@dry_run_option
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
    no_bundle: bool,
    force: bool,
    sign: Path | None,
    message: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Push REVISION to the Hub as REPO (user/name), past the health gate.

    Goes with a model card, the ledger of its facts, and what `editvc rebuild` and `editvc clone`
    make it from again: a lock file, and the set of edits without the history before it. With --sign
    a signature goes along, too: model.sig, by the model-signing package. The password of an
    encrypted key is taken from EDITVC_SIGN_PASSWORD. --dry-run asks the gate, and not the Hub.
    """
    password = os.environ.get("EDITVC_SIGN_PASSWORD")
    with progress() as report:
        repo = open_with_base(ctx, report)
        if dry_run:
            plan = repo.preview_publish(
                repo_id, revision=revision, format=kind, force=force, bundle=not no_bundle,
                sign=sign, password=password,
            )  # fmt: skip
            show_preview(plan, as_json)
            return
        done = repo.publish(
            repo_id, revision=revision, format=kind, private=private, create_pr=create_pr,
            force=force, bundle=not no_bundle, message=message, sign=sign, password=password,
        )  # fmt: skip
    if as_json:
        emit_json(done.to_json())
        return
    for reason in done.overridden:
        warn(f"published in spite of: {reason}")
    for remark in done.warnings:
        warn(remark)
    say_done(f"Published {short(done.digest)} to {done.url}")
    if done.bundle is not None:
        size = size_of(done.bundle)
        say_done(f"with its edits ({size}): `editvc rebuild {repo_id}` makes it again")

"""Taking over what was made elsewhere: ``import``."""

from __future__ import annotations

from pathlib import Path

import click

from editvc.cli.options import (
    author_of,
    author_option,
    dry_run_option,
    examples,
    json_option,
    message_option,
    no_verify_option,
    open_repo,
)
from editvc.cli.output import emit_json, note, progress, say, say_done
from editvc.core.cut import title
from editvc.core.ids import short


@click.command("import", epilog=examples('editvc import adapter --rank 16 -m "Style adapter"'))
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--rank", type=click.IntRange(1), metavar="R", help="Keep rank R of each matrix's difference."
)
@click.option(
    "--energy", type=click.FloatRange(0, 1, min_open=True), metavar="E",
    help="Keep this share of each matrix's squared difference; 0.999 by default, 1 is all.",
)  # fmt: skip
@message_option
@author_option
@dry_run_option
@no_verify_option
@json_option
@click.pass_context
def import_(
    ctx: click.Context,
    source: Path,
    rank: int | None,
    energy: float | None,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Commit a PEFT adapter, or a checkpoint's difference to the base, as a patch.

    SOURCE is a folder with adapter_config.json, or one with a whole model of the base's
    architecture. The patch stands for no fact; reverting its commit takes it out again.
    """
    with progress() as report:
        repo = open_repo(ctx, report)
        if dry_run:
            preview = repo.preview_import(source, rank=rank, energy=energy)
        else:
            done = repo.import_patch(
                source, rank=rank, energy=energy, message=message, author=author_of(repo, author)
            )
            preview = done.preview
    for remark in preview.notes:
        note(remark)
    if as_json:
        emit_json(preview.to_json() if dry_run else done.to_json())
        return
    if not dry_run:
        head = done.result
        say_done(f"[{head.commit.number} {short(head.id)}] {title(head.commit.message)}")
    say_done(f" {preview.summary()}")
    if dry_run:
        say("nothing was written")

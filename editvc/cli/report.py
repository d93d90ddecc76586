"""``report``: a page about a revision, to look at."""

from __future__ import annotations

from pathlib import Path

import click

from editvc.cli.completers import revisions
from editvc.cli.options import compute_options, examples, json_option, open_repo
from editvc.cli.output import emit_json, progress, say_done


@click.command(epilog=examples('editvc report -o report.html --prompt "The capital of France is"'))
@click.argument("revision", default="HEAD", shell_complete=revisions)
@click.option(
    "-o", "--to", "target", default="report.html", show_default=True, metavar="FILE",
    type=click.Path(path_type=Path), help="The page to write.",
)  # fmt: skip
@click.option(
    "--prompt", "prompts", multiple=True, metavar="TEXT",
    help="Show the base's answer and this one's, and whose work it is; repeatable.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE.")
@compute_options
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    revision: str,
    target: Path,
    prompts: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Write a page about REVISION: its health, facts and history.

    One file that needs no network: figures over history with their limits, singular values of each
    layer, the facts and what became of them (said or drowned, where `editvc eval` has asked this
    version), the graph of commits. Only --prompt runs the model.
    """
    with progress() as heard:
        written = open_repo(ctx, heard).report(
            target, revision=revision, prompts=prompts, replace=force
        )
    if as_json:
        emit_json(written.to_json())
        return
    say_done(f"wrote {written.path}: {written.commits} commits, {written.facts} facts")

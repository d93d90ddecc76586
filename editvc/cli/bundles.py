"""``bundle``: a remote in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import branches_and_tags, revisions
from editvc.cli.fetch import size_of
from editvc.cli.options import dry_run_option, examples, json_option, open_repo
from editvc.cli.output import emit_json, progress, say
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.bundles import Bundle as Written


@click.group(epilog=examples("editvc bundle create facts.bundle main"))
def bundle() -> None:
    """Carry history about in one file, which clones and fetches like any remote."""


@bundle.command("create", epilog=examples("editvc bundle create facts.bundle main --without v1"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("names", nargs=-1, metavar="[BRANCH|TAG]...", shell_complete=branches_and_tags)
@click.option(
    "--without", multiple=True, metavar="REV", shell_complete=revisions,
    help="Leave out what is behind REV: whoever fetches has it. Repeatable.",
)  # fmt: skip
@dry_run_option
@json_option
@click.pass_context
def create(
    ctx: click.Context,
    file: Path,
    names: tuple[str, ...],
    without: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write branches and tags, by default all, and what they stand on, to FILE."""
    with progress() as report:
        repo = open_repo(ctx, report)
        work = repo.preview_bundle if dry_run else repo.create_bundle
        done = work(file, names, without=without)
    _show(done, "would be written" if dry_run else "written", as_json)


@bundle.command("verify", epilog=examples("editvc bundle verify facts.bundle"))
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@json_option
@click.pass_context
def verify(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Read FILE to its last byte, and see that it could be fetched here."""
    with progress() as report:
        done = open_repo(ctx, report).verify_bundle(file)
    _show(done, "is sound", as_json)


def _show(done: Written, what: str, as_json: bool) -> None:
    if as_json:
        emit_json(done.to_json())
        return
    for ref, commit in done.refs:
        say(f"{short(commit)} {ref}")
    for commit in done.needs:
        say(f"needs {short(commit)}")
    say(f"{done.path} {what}: {size_of(done.size)}")

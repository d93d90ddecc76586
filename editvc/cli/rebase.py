"""``rebase``: this branch's own commits on top of another branch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.merge import (
    STOPPED,
    abort_option,
    continue_option,
    require_one,
    resume,
    show_combination,
    show_preview,
    skip_option,
)
from editvc.cli.options import (
    compute_options,
    dry_run_option,
    examples,
    json_option,
    layer_numbers,
    no_verify_option,
    open_repo,
    sign_option,
)
from editvc.cli.output import emit_json, note, painted, progress, say

if TYPE_CHECKING:
    from editvc.porcelain.onto_base import BasePreview, OntoBase
    from editvc.repo import Repo

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    epilog=examples("editvc rebase main", "editvc rebase --onto-base newer-model --dry-run")
)
@click.argument("upstream", required=False, shell_complete=revisions)
@click.option(
    "--onto-base", metavar="MODEL", help="Carry the facts of this branch over to another base."
)
@click.option("--revision", metavar="REV", help="A revision of a Hub model.")
@click.option("--layers", metavar="L,L,...", help="Layers of the new base to edit, as in `init`.")
@click.option("--text", "texts", type=FILE, multiple=True, help="Text to take statistics from.")
@click.option("--entities", type=FILE, help="Names whose knowledge must survive.")
@click.option("--keep-known", is_flag=True, help="Carry what the new base says by itself, too.")
@continue_option
@skip_option
@abort_option
@dry_run_option
@no_verify_option
@sign_option
@compute_options
@json_option
@click.pass_context
def rebase(
    ctx: click.Context,
    upstream: str | None,
    onto_base: str | None,
    revision: str | None,
    layers: str | None,
    texts: tuple[Path, ...],
    entities: Path | None,
    keep_known: bool,
    go_on: bool,
    skip: bool,
    abort: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Replay the commits that this branch has and UPSTREAM has not, one by one, on UPSTREAM.

    Authors, messages and times stay; what UPSTREAM holds already is left out. The branch moves once
    all are there, and the old commits stay reachable through the reflog (`@{1}`). Stops at
    conflicts as `editvc merge` does.

    With --onto-base, all commits of the branch are made again over MODEL, a new release of the
    base: each fact is located afresh, statistics are taken, and MODEL is the base from then on.
    What it says by itself is left out. Stops where facts no longer take.
    """
    goals = [one for one in (upstream, onto_base) if one]
    of_base = (revision, layers, texts, entities, keep_known)
    if any(of_base) and onto_base is None:
        raise click.UsageError("these options go with --onto-base")
    require_one(goals, go_on, skip, abort, beside=(dry_run,))
    if len(goals) > 1:
        raise click.UsageError("name UPSTREAM or --onto-base, not both")
    with progress() as report:
        repo = open_repo(ctx, report)
        if onto_base is None:
            _onto_branch(ctx, repo, upstream, as_json, skip=skip, abort=abort, dry_run=dry_run)
        elif dry_run:
            preview = repo.preview_rebase_onto_base(
                onto_base, revision=revision, keep_known=keep_known
            )
            emit_json(preview.to_json()) if as_json else _say_preview(preview)
        else:
            chosen = layer_numbers(layers) if layers is not None else None
            done = repo.rebase_onto_base(
                onto_base, revision=revision, layers=chosen, texts=texts, entities=entities,
                keep_known=keep_known,
            )  # fmt: skip
            _show_onto_base(ctx, repo, done, as_json)


def _onto_branch(
    ctx: click.Context,
    repo: Repo,
    upstream: str | None,
    as_json: bool,
    *,
    skip: bool,
    abort: bool,
    dry_run: bool,
) -> None:
    if upstream is None:
        resume(ctx, repo, "rebase", as_json, abort=abort, skip=skip)
    elif dry_run:
        show_preview(ctx, repo.preview_rebase(upstream), as_json)
    else:
        show_combination(ctx, repo.rebase(upstream), as_json)


def _show_onto_base(ctx: click.Context, repo: Repo, done: OntoBase, as_json: bool) -> None:
    """What came of it; ends with ``STOPPED`` where it waits."""
    if as_json:
        emit_json(done.to_json())
    elif not done.failed:
        show_combination(ctx, done.done, as_json)
    if not as_json and (done.failed or done.done.moved):
        _say_left_out(done.carried)
        for fact in done.failed:
            say(painted(f"no longer takes: {fact.line}", fg="red"))
        record = done.to_json()
        for name in ("before", "after"):
            say(f"{name:<7} {_scores(record[name])}")
    if done.failed:
        note(
            "the branch is where it was. `editvc rebase --continue` moves it all the same; "
            "`editvc rebase --abort` forgets"
        )
        ctx.exit(STOPPED)


def _say_preview(preview: BasePreview) -> None:
    _say_left_out(preview)
    commits = f"{preview.commits} commit{'' if preview.commits == 1 else 's'}"
    say(f"{preview.facts} edits of {commits} would be made again; nothing was written")


def _say_left_out(carried: BasePreview) -> None:
    for fact in carried.known:
        say(f"known, left out: {fact.line}")
    for one in carried.unfit:
        say(painted(f"cannot be told: {one.fact.line}: {one.reason}", fg="red"))
    if carried.patches:
        say(f"{carried.patches} imported patches are of the old base, and left out")


def _scores(scores: Mapping[str, float | None] | None) -> str:
    if scores is None:
        return "not known"
    told = ((name, value) for name, value in scores.items() if value is not None)
    return "  ".join(f"{name.capitalize()} {value:.1f}" for name, value in told)

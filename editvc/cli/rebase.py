"""``rebase``: this branch's own commits on top of another branch."""

from __future__ import annotations

import click

from editvc.cli.merge import (
    abort_option,
    continue_option,
    require_one,
    resume,
    show_combination,
    show_preview,
    skip_option,
)
from editvc.cli.options import dry_run_option, json_option, no_verify_option, open_repo


@click.command()
@click.argument("upstream", required=False)
@continue_option
@skip_option
@abort_option
@dry_run_option
@no_verify_option
@json_option
@click.pass_context
def rebase(
    ctx: click.Context,
    upstream: str | None,
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
    """
    require_one([upstream] if upstream else [], go_on, skip, abort, beside=(dry_run,))
    repo = open_repo(ctx)
    if upstream is None:
        resume(ctx, repo, "rebase", as_json, abort=abort, skip=skip)
    elif dry_run:
        show_preview(ctx, repo.preview_rebase(upstream), as_json)
    else:
        show_combination(ctx, repo.rebase(upstream), as_json)

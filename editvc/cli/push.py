"""``push``: branches and tags to a remote."""

from __future__ import annotations

import click

from editvc.cli.completers import branches_and_tags, remotes
from editvc.cli.fetch import say_moves, size_of
from editvc.cli.options import dry_run_option, examples, json_option, open_repo
from editvc.cli.output import emit_json, progress, say_done


@click.command(epilog=examples("editvc push origin main --tags"))
@click.argument("remote", required=False, shell_complete=remotes)
@click.argument("names", nargs=-1, metavar="[BRANCH|TAG]...", shell_complete=branches_and_tags)
@click.option("--tags", is_flag=True, help="And all tags.")
@click.option("-f", "--force", is_flag=True, help="Even where what is there is left behind.")
@click.option("-d", "--delete", is_flag=True, help="Take the branches and tags named away there.")
@dry_run_option
@json_option
@click.pass_context
def push(
    ctx: click.Context,
    remote: str | None,
    names: tuple[str, ...],
    tags: bool,
    force: bool,
    delete: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move branches and tags of REMOTE to where they are here; HEAD's branch by default.

    Only what the remote lacks is sent. Where it has what yours does not stand on, nothing moves,
    with exit code 5. The first push makes the remote.
    """
    if delete and (not names or tags):
        raise click.UsageError("--delete needs the names of what goes")
    with progress() as report:
        repo = open_repo(ctx, report)
        work = repo.preview_push if dry_run else repo.push
        done = work(remote, names, tags=tags, force=force, delete=delete)
    if as_json:
        emit_json(done.to_json())
        return
    say_done(f"To {done.url}")
    say_moves(done.moved)
    if not done.moved:
        say_done("Everything up to date")
        return
    would = "would be " if dry_run else ""
    say_done(
        f"{done.commits} commit{'' if done.commits == 1 else 's'}, {size_of(done.size)} {would}sent"
    )

"""``clone``: a new repository with all that a remote holds."""

from __future__ import annotations

from pathlib import Path

import click

from editvc.cli.fetch import size_of
from editvc.cli.options import examples, json_option
from editvc.cli.output import emit_json, note, progress, say_done
from editvc.cli.remote import timeout_option
from editvc.core.ids import short


@click.command(epilog=examples("editvc clone ssh://example.org/srv/facts facts --base pocket"))
@click.argument("url")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--base", metavar="MODEL", help="Where the base model is on this machine.")
@click.option("--origin", "name", default="origin", metavar="NAME", help="What to call the remote.")
@click.option("-b", "--branch", metavar="BRANCH", help="The branch to be on.")
@timeout_option
@json_option
def clone(
    url: str,
    directory: Path,
    base: str | None,
    name: str,
    branch: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Make a repository in DIR of all that the remote, or bundle, at URL holds.

    URL may be a published model as well, its folder or USER/NAME of the Hub: then the repository
    has its set of edits, in one commit.

    With --base, the model there must be the very one that the history is about. Without, it is
    loaded from where the remote says, or from where `editvc base` tells later.
    """
    from editvc.repo import Repo

    with progress() as report:
        done = Repo.clone(
            url, directory, name=name, branch=branch, base=base, timeout=timeout or 60.0,
            progress=report, remark=note,
        )  # fmt: skip
    if as_json:
        emit_json(done.to_json())
        return
    count = f"{done.commits} commit{'' if done.commits == 1 else 's'}"
    say_done(f"Cloned into {done.folder.parent}: {count}, {size_of(done.size)}")
    place = f"{done.branch}, at {short(done.commit)}" if done.commit else "no commits yet"
    say_done(f"On branch {place}; base {done.base}")

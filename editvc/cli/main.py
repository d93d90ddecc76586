"""The ``editvc`` command and its error boundary."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

import click

from editvc.cli.boundary import ReaderGone, close_output, open_streams, tell, texts
from editvc.version import __version__

COMMANDS = (
    "init", "arch", "lint", "convert", "commit", "methods", "train", "import_patch:import", "ask",
    "evaluate:eval", "log", "show", "status", "diff", "grep", "query", "reflog", "shortlog",
    "notes", "blame", "bisect", "revert", "undo", "undo:redo", "restore", "expire", "squash",
    "compact", "health", "report", "trace", "tune", "sequence", "export", "serve", "publish",
    "branch", "switch", "tag", "merge", "resolve", "cherry_pick:cherry-pick", "rebase", "reset",
    "remote", "clone", "fetch", "push", "pull", "bundles:bundle", "stats", "fsck", "gc", "reindex",
    "verify", "verify_commit:verify-commit", "audit", "config", "base_model:base",
)  # fmt: skip
"""Modules of commands, with the name of one that is called otherwise, in the order of --help."""


class Commands(click.Group):
    """The commands of :data:`COMMANDS`, each loaded when it is asked for: sixty modules are not
    for a `log` to wait for.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a user meets them, not of the alphabet."""
        return [one.rpartition(":")[2] for one in COMMANDS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a name; ``None`` where there is none."""
        modules = {one.rpartition(":")[2]: one.partition(":")[0] for one in COMMANDS}
        if name not in modules:
            return None
        module = import_module(f"editvc.cli.{modules[name]}")
        found = (one for one in vars(module).values() if isinstance(one, click.Command))
        return next(one for one in found if one.name == name)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; click itself would make a reader that went away exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as cause:
            raise ReaderGone from cause


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", prog_name="editvc")
@click.option(
    "-C",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("."),
    metavar="DIR",
    help="Run as if editvc was started in DIR, files and targets included.",
)
@click.pass_context
def editvc(ctx: click.Context, directory: Path) -> None:
    """Version control for what a language model knows.

    A repository holds factual edits over one base model. Its weights are a pure function of the
    set of live edits: commit adds to the set, revert takes out of it.
    """
    ctx.obj = Path()
    if directory != ctx.obj:
        _go_to(ctx, directory)


def _go_to(ctx: click.Context, directory: Path) -> None:
    """Make ``directory`` the current one, from which all other arguments are seen as well."""
    with suppress(FileNotFoundError):  # a folder that is gone is nothing to come back to
        ctx.call_on_close(partial(os.chdir, os.getcwd()))
    os.chdir(directory)


def main() -> None:
    """Run the command line; every failure ends in one message, a hint and its exit code."""
    open_streams()
    words = sys.argv[1:]
    try:
        code = editvc.main(texts(words), prog_name="editvc", standalone_mode=False) or 0
    except ReaderGone:
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code = tell(error, as_json="--json" in words)
    close_output()
    sys.exit(code)


if __name__ == "__main__":
    main()

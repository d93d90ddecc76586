"""The ``editvc`` command and its error boundary."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from editvc.cli.boundary import ReaderGone, close_output, open_streams, tell, texts
from editvc.cli.completion import VARIABLE
from editvc.cli.options import examples, quiet_option
from editvc.cli.terminal import columns
from editvc.version import __version__

LEAST_HELP = 52
"""Columns of a terminal from which on click's own help texts fit."""
COMMANDS = (
    "init", "arch", "lint", "convert", "commit", "methods", "train", "import_patch:import", "ask",
    "evaluate:eval", "log", "show", "status", "diff", "grep", "query", "reflog", "shortlog",
    "notes", "blame", "bisect", "revert", "undo", "undo:redo", "restore", "expire", "squash",
    "compact", "health", "report", "trace", "tune", "sequence", "export", "serve", "publish",
    "branch", "switch", "tag", "merge", "resolve", "cherry_pick:cherry-pick", "rebase", "reset",
    "remote", "clone", "fetch", "push", "pull", "bundles:bundle", "stats", "fsck", "gc", "reindex",
    "verify", "verify_commit:verify-commit", "rebuild", "audit", "config", "base_model:base",
    "completion",
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
        return _loaded(name) if name in self.list_commands(ctx) else None

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the words, or print the help that they ask for: click's is 50 columns at least."""
        if (room := columns()) is not None and room < LEAST_HELP:
            extra["terminal_width"] = room
        with _readers():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        with _readers():
            return super().invoke(ctx)


@contextmanager
def _readers() -> Iterator[None]:
    """A reader that went away is no error; click itself would make it exit code 1."""
    try:
        yield
    except BrokenPipeError as cause:
        raise ReaderGone from cause


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("editvc -C facts-of-2026 log --oneline", "editvc commit --help"),
)
@click.version_option(__version__, "--version", prog_name="editvc")
@quiet_option
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


def every(command: click.Command) -> Iterator[click.Command]:
    """A command, and all that stand below it."""
    yield command
    if isinstance(command, click.Group):
        for child in children(command).values():
            yield from every(child)


def children(group: click.Group) -> dict[str, click.Command]:
    """The commands right below one, by name; those of ``editvc`` are loaded for it."""
    ctx = click.Context(group)
    found = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return {name: child for name, child in found.items() if child is not None}


@cache
def _loaded(name: str) -> click.Command:
    """A command from its module, and all below it, with what every command has."""
    modules = {one.rpartition(":")[2]: one.partition(":")[0] for one in COMMANDS}
    module = import_module(f"editvc.cli.{modules[name]}")
    commands = (one for one in vars(module).values() if isinstance(one, click.Command))
    found = next(one for one in commands if one.name == name)
    for one in every(found):
        quiet_option(one)
    return found


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
        asked_by_a_shell = VARIABLE in os.environ  # it would show trouble at the prompt
        code = 1 if asked_by_a_shell else tell(error, as_json="--json" in words)
    close_output()
    sys.exit(code)


if __name__ == "__main__":
    main()

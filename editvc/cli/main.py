"""The ``editvc`` command and its error boundary."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click

from editvc.cli import (
    arch,
    ask,
    audit,
    base_model,
    bisect,
    blame,
    branch,
    bundles,
    cherry_pick,
    clone,
    commit,
    compact,
    completion,
    config,
    convert,
    diff,
    evaluate,
    expire,
    export,
    fetch,
    fsck,
    gc,
    grep,
    health,
    import_patch,
    init,
    lint,
    log,
    merge,
    methods,
    notes,
    publish,
    pull,
    push,
    query,
    rebase,
    rebuild,
    reflog,
    reindex,
    remote,
    report,
    reset,
    resolve,
    restore,
    revert,
    sequence,
    serve,
    shortlog,
    show,
    squash,
    stats,
    status,
    switch,
    tag,
    trace,
    train,
    tune,
    undo,
    verify,
    verify_commit,
)
from editvc.cli.boundary import ReaderGone, close_output, open_streams, tell, texts
from editvc.cli.options import examples, quiet_option
from editvc.cli.terminal import columns
from editvc.version import __version__

LEAST_HELP = 52
"""Columns of a terminal from which on click's own help texts fit."""


class Commands(click.Group):
    """The commands in the order in which a user meets them, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

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
        for child in command.commands.values():
            yield from every(child)


def _go_to(ctx: click.Context, directory: Path) -> None:
    """Make ``directory`` the current one, from which all other arguments are seen as well."""
    with suppress(FileNotFoundError):  # a folder that is gone is nothing to come back to
        ctx.call_on_close(partial(os.chdir, os.getcwd()))
    os.chdir(directory)


for command in (
    init.init, arch.arch, lint.lint, convert.convert, commit.commit, methods.methods, train.train,
    import_patch.import_, ask.ask, evaluate.evaluate, log.log, show.show, status.status, diff.diff,
    grep.grep, query.query, reflog.reflog, shortlog.shortlog, notes.notes, blame.blame,
    bisect.bisect, revert.revert, undo.undo, undo.redo, restore.restore, expire.expire,
    squash.squash, compact.compact, health.health, report.report, trace.trace, tune.tune,
    sequence.sequence, export.export, serve.serve, publish.publish, branch.branch, switch.switch,
    tag.tag, merge.merge, resolve.resolve, cherry_pick.cherry_pick, rebase.rebase, reset.reset,
    remote.remote, clone.clone, fetch.fetch, push.push, pull.pull, bundles.bundle, stats.stats,
    fsck.fsck, gc.gc, reindex.reindex, verify.verify, verify_commit.verify_commit,
    rebuild.rebuild, audit.audit, config.config, base_model.base, completion.completion,
):  # fmt: skip
    editvc.add_command(command)
for command in every(editvc):
    quiet_option(command)


def main() -> None:
    """Run the command line; every failure ends in one message, a hint and its exit code."""
    open_streams()
    words = sys.argv[1:]
    try:
        code = editvc.main(texts(words), prog_name="editvc", standalone_mode=False) or 0
    except ReaderGone:
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        asked_by_a_shell = completion.VARIABLE in os.environ  # it would show trouble at the prompt
        code = 1 if asked_by_a_shell else tell(error, as_json="--json" in words)
    close_output()
    sys.exit(code)


if __name__ == "__main__":
    main()

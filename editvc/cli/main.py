"""The ``editvc`` command and its error boundary."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from editvc.cli import (
    arch,
    ask,
    branch,
    commit,
    compact,
    config,
    convert,
    diff,
    evaluate,
    export,
    fsck,
    grep,
    health,
    import_patch,
    init,
    lint,
    log,
    methods,
    publish,
    query,
    revert,
    show,
    squash,
    stats,
    status,
    switch,
    trace,
    train,
    tune,
)
from editvc.cli.output import complain
from editvc.errors import EditvcError
from editvc.version import __version__

BUG = 70
INTERRUPTED = 130


class ReaderGone(Exception):
    """Nobody reads our output any more, as after `| head`."""


class Commands(click.Group):
    """The commands in the order in which a user meets them, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

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
    help="Run as if editvc was started in DIR.",
)
@click.pass_context
def editvc(ctx: click.Context, directory: Path) -> None:
    """Version control for what a language model knows.

    A repository holds factual edits over one base model. Its weights are a pure function of the
    set of live edits: commit adds to the set, revert takes out of it.
    """
    ctx.obj = directory


for command in (
    init.init, arch.arch, lint.lint, convert.convert, commit.commit, methods.methods, train.train,
    import_patch.import_, ask.ask, evaluate.evaluate, log.log, show.show, status.status, diff.diff,
    grep.grep, query.query, revert.revert, squash.squash, compact.compact, health.health,
    trace.trace, tune.tune, export.export, publish.publish, branch.branch, switch.switch,
    stats.stats, fsck.fsck, config.config,
):  # fmt: skip
    editvc.add_command(command)


def main() -> None:
    """Run the command line; known failures end in one message, a hint and their exit code."""
    try:
        sys.exit(editvc.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        complain("interrupted")
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EditvcError as error:
        complain(str(error), hint=error.hint)
        sys.exit(error.exit_code)
    except ReaderGone:
        # What is left in the buffer goes nowhere, or the interpreter would complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(INTERRUPTED)
    except Exception:
        traceback.print_exc()
        complain(
            "this is a bug in editvc; the repository is as it was before the command",
            hint="Please report it with the lines above.",
        )
        sys.exit(BUG)


if __name__ == "__main__":
    main()

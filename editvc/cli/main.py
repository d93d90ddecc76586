"""The ``editvc`` command and its error boundary."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from editvc.cli import (
    arch,
    ask,
    base_model,
    bisect,
    blame,
    branch,
    commit,
    compact,
    config,
    convert,
    diff,
    evaluate,
    expire,
    export,
    fsck,
    grep,
    health,
    import_patch,
    init,
    lint,
    log,
    methods,
    notes,
    publish,
    query,
    revert,
    shortlog,
    show,
    squash,
    stats,
    status,
    switch,
    trace,
    train,
    tune,
)
from editvc.cli.boundary import ReaderGone, close_output, open_streams, tell, texts
from editvc.version import __version__


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
    import_patch.import_, ask.ask, evaluate.evaluate, log.log, shortlog.shortlog, notes.notes,
    show.show, status.status, diff.diff, grep.grep, query.query, bisect.bisect, blame.blame,
    revert.revert, expire.expire, squash.squash, compact.compact, health.health, trace.trace,
    tune.tune, export.export, publish.publish, branch.branch, switch.switch, stats.stats,
    fsck.fsck, config.config, base_model.base,
):  # fmt: skip
    editvc.add_command(command)


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

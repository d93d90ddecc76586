"""Write docs/cli.md: the help text of every command, as `editvc COMMAND --help` prints it.

`make cli-docs` runs it; a test asks that the page is what it would write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from editvc.cli.main import editvc

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 78  # what click takes on a terminal of 80 columns

HEADER = """\
# Command line

The help text of every command, as `--help` prints it. This page is made by `make cli-docs`; a test
checks that it is in step with the program.

Where a command takes a revision, it understands the forms in
[Concepts](concepts.md#revisions). Data goes to stdout; messages, warnings and progress go to
stderr. Every reading command has `--json`; every command that writes a commit has `--dry-run`.
Colours, widths, the pager, `-q` and completion are on the page [At the terminal](terminal.md).

| exit code | meaning |
|---|---|
"""

EXIT_CODES = {
    0: "done",
    1: "the input or the state of the repository does not allow it; `grep`: nothing matches",
    2: "the command line is wrong",
    3: "something stored is damaged",
    4: "the health gate or a hook refused",
    5: "other processes committed first, each time that the command tried",
    70: "a bug in editvc",
    130: "interrupted",
}


def commands(
    command: click.Command, parent: click.Context | None = None
) -> Iterator[click.Context]:
    """A command and all below it, each as the context that its help is made in."""
    name = "editvc" if parent is None else command.name
    ctx = click.Context(
        command, parent=parent, info_name=name, terminal_width=WIDTH, **command.context_settings
    )
    yield ctx
    if isinstance(command, click.Group):
        for child in command.list_commands(ctx):
            found = command.get_command(ctx, child)
            if found is not None:
                yield from commands(found, ctx)


def page() -> str:
    """The whole page."""
    parts = [HEADER + "".join(f"| {code} | {words} |\n" for code, words in EXIT_CODES.items())]
    for ctx in commands(editvc):
        level = "##" if ctx.parent is None or ctx.parent.parent is None else "###"
        parts.append(f"{level} {ctx.command_path}\n\n```text\n{ctx.get_help()}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()

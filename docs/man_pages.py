"""The manual pages, one a command: `man editvc-commit` is `editvc commit --help` at more leisure.

A wheel holds them in share/man/man1, where man looks beside the folder of the command; the build's
hook, hatch_build.py, asks for them.
"""

from __future__ import annotations

from inspect import cleandoc

import click
from click_man.man import ManPage
from generate_cli import EXIT_CODES, commands

from editvc.cli.main import children, editvc
from editvc.version import __version__

SUMMARY = 200
"""Characters of a line in a list of commands."""


def pages() -> dict[str, str]:
    """The text of each page by the name of its file, such as ``editvc-commit.1``."""
    return {f"{_name(ctx)}.1": _page(ctx) for ctx in commands(editvc)}


def _name(ctx: click.Context) -> str:
    return ctx.command_path.replace(" ", "-")


def _page(ctx: click.Context) -> str:
    command = ctx.command
    page = ManPage(ctx.command_path)
    page.date = ""  # the same sources make the same pages
    page.version = f"editvc {__version__}"
    page.short_help = _roff(command.get_short_help_str(SUMMARY))
    page.synopsis = _roff(" ".join(command.collect_usage_pieces(ctx)))
    page.description = _roff(cleandoc(command.help or ""))
    options = (one for one in command.get_params(ctx) if isinstance(one, click.Option))
    records = (option.get_help_record(ctx) for option in options)
    page.options = [(_roff(name), _roff(words)) for name, words in filter(None, records)]
    if isinstance(command, click.Group):
        page.commands = [
            (name, _roff(child.get_short_help_str(SUMMARY)))
            for name, child in children(command).items()
        ]
    return f"{page}{_example(command)}{_end(ctx)}"


def _example(command: click.Command) -> str:
    """The lines of the example, as they stand."""
    lines = [line.strip() for line in (command.epilog or "").splitlines()[2:]]
    shown = "\n".join(map(_roff, lines)).replace("-", r"\-")
    return f".SH EXAMPLES\n.nf\n{shown}\n.fi\n"


def _end(ctx: click.Context) -> str:
    if ctx.parent is not None:
        return f".SH SEE ALSO\n.BR {_name(ctx.parent)} (1)\n".replace("-", r"\-")
    rows = "".join(f".TP\n{code}\n{_roff(words)}\n" for code, words in EXIT_CODES.items())
    return f".SH EXIT STATUS\n{rows}"


def _roff(text: str) -> str:
    """Text in which nothing is a request to the formatter: neither a backslash nor a first dot."""
    lines = text.replace("\\", r"\e").splitlines()
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in lines)

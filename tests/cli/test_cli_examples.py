"""Every command ends its help with an example, and each is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from editvc.cli.main import children, editvc, every
from editvc.cli.options import examples


def commands() -> dict[str, click.Command]:
    """Every command by its whole name."""

    def below(command: click.Command, name: str) -> dict[str, click.Command]:
        found = {name: command}
        for word, child in (children(command) if isinstance(command, click.Group) else {}).items():
            found |= below(child, f"{name} {word}")
        return found

    return below(editvc, "editvc")


COMMANDS = commands()


def lines(command: click.Command) -> list[str]:
    head, *rest = (command.epilog or "").splitlines()
    assert head == "\b" and rest[0] == "Example:", "made by `examples`"
    return [line.strip() for line in rest[1:]]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_an_example(name: str) -> None:
    assert COMMANDS[name].epilog, (
        f"`{name} --help` shows no example: give its @click.command or @group "
        f'epilog=examples("{name} ..."), from editvc/cli/options.py'
    )
    for line in lines(COMMANDS[name]):
        assert len(line) <= 76, f"{line}: an example is a short line"
        assert re.match(r'(eval "\$\()?editvc ', line), line


FILES = ("facts.jsonl", "articles.txt", "names.txt", "counterfact.json", "facts.bundle")
FOLDERS = ("facts", "adapter", "facts-of-2026")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_what_the_command_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, their values and files are read as in earnest; nothing is run."""
    monkeypatch.chdir(tmp_path)
    for file in FILES:
        Path(file).write_text("")
    for folder in FOLDERS:
        Path(folder).mkdir()
    for line in lines(COMMANDS[name]):
        bare = re.sub(r'^eval "\$\(|\)"$| [|>] .*$', "", line)
        command, words = read(shlex.split(bare)[1:])
        wanted = COMMANDS[name]
        family = [*every(wanted)] if isinstance(wanted, click.Group) else [wanted]
        assert command in family, f"{line} is an example of something else"
        assert words == [], f"{line}: {words} is left over"


def read(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words end at, and what it has not taken of them."""
    command: click.Command = editvc
    parent = None
    while True:
        try:
            ctx = command.make_context(command.name, words, parent=parent)
        except click.exceptions.Exit:
            return command, []  # --help, --version
        words = [*ctx._protected_args, *ctx.args]
        if not (isinstance(command, click.Group) and words):
            return command, words
        _, found, words = command.resolve_command(ctx, words)
        assert found is not None
        command, parent = found, ctx


def test_a_wrong_example_is_found() -> None:
    for words in (["log", "--onelnie"], ["stats", "compute", "--token-cap", "many"], ["frob"]):
        with pytest.raises(click.UsageError):
            read(words)


def test_examples_stand_as_they_are_at_the_end_of_the_help() -> None:
    long = "editvc expire " + "x" * 70
    command = click.Command("x", help="Words.", epilog=examples(long, "editvc expire"))
    ctx = click.Context(command, terminal_width=40)
    assert ctx.get_help().splitlines()[-3:] == ["  Example:", f"    {long}", "    editvc expire"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_can_be_quiet_and_its_revisions_are_completed(name: str) -> None:
    command = COMMANDS[name]
    assert sum("--quiet" in one.opts for one in command.params) == 1
    for one in command.params:
        shown = one.metavar or (one.name or "" if isinstance(one, click.Argument) else "")
        of_history = re.search(r"REV\b|^revision$|A\.\.B", shown)
        of_the_hub = "Hub model" in (getattr(one, "help", None) or "")
        if of_history and not of_the_hub and not isinstance(one.type, click.Path):
            assert one._custom_shell_complete is not None, (
                f"{name}: {one.name} is a revision; give it shell_complete=revisions"
            )

"""``completion``: what makes a shell complete the words of ``editvc``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from editvc.cli.options import examples
from editvc.cli.output import say

VARIABLE = "_EDITVC_COMPLETE"
"""In the environment, it says that a shell asks for completions, and which shell."""

NO_SPACE = """
_editvc_no_space() {
    _editvc_completion "$@"
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o nosort -F _editvc_no_space editvc
"""
"""For bash: the value of ``-O KEY=`` follows at once. zsh and fish see to it themselves."""


@click.command(
    epilog=examples(
        'eval "$(editvc completion bash)"',
        'eval "$(editvc completion zsh)"',
        "editvc completion fish | source",
    )
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes bash, zsh or fish complete commands, options, revisions and recipe keys.

    Put the line of the example into the shell's file of settings: ~/.bashrc, ~/.zshrc behind
    compinit, or ~/.config/fish/config.fish.
    """
    found = get_completion_class(shell)
    assert found is not None, "one of click's own"
    script = found(ctx.find_root().command, {}, "editvc", VARIABLE).source()
    say(script.rstrip() + (NO_SPACE if shell == "bash" else ""))

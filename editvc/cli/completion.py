"""``completion``: what makes a shell complete the words of ``editvc``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from editvc.cli.options import examples
from editvc.cli.output import say

VARIABLE = "_EDITVC_COMPLETE"
"""In the environment, it says that a shell asks for completions, and which shell."""

BASH = """
_editvc_no_space() {
    _editvc_completion "$@"
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o nosort -F _editvc_no_space editvc
"""
"""Put behind click's script: the value of ``-O KEY=`` follows without a space."""

ZSH = {
    "    for type key descr in": ("    local -a suffix\n    for type key descr in"),
    '        if [[ "$type" == "plain" ]]': (
        '        [[ "$key" == *= ]] && suffix=(-S "")\n        if [[ "$type" == "plain" ]]'
    ),
    "completions_with_descriptions -U": 'completions_with_descriptions -U "$suffix[@]"',
}
"""Put into click's script, which its authors keep as it is, to the same end; fish does it itself.
"""


@click.command(
    epilog=examples(
        'eval "$(editvc completion bash)"',
        'eval "$(editvc completion zsh)"',
        "editvc completion fish | source",
    )
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, revisions and recipe keys.

    SHELL is bash, zsh or fish. Put the line of the example into its file of settings: ~/.bashrc,
    ~/.zshrc behind compinit, or ~/.config/fish/config.fish.
    """
    found = get_completion_class(shell)
    assert found is not None, "one of click's own"
    script = found(ctx.find_root().command, {}, "editvc", VARIABLE).source()
    for lines, instead in ZSH.items() if shell == "zsh" else ():
        script = script.replace(lines, instead)
    say(script.rstrip() + (BASH if shell == "bash" else ""))

"""``config``: settings, shown and set."""

from __future__ import annotations

import json

import click

from editvc.cli.completers import settings as keys
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, note, say


@click.command(epilog=examples("editvc config commit.method gated", "editvc config recipe.layers"))
@click.argument("key", required=False, shell_complete=keys)
@click.argument("value", required=False)
@click.option(
    "--accept", is_flag=True, help="Take config.toml as it was edited by hand: fsck asks for it."
)
@json_option
@click.pass_context
def config(
    ctx: click.Context, key: str | None, value: str | None, accept: bool, as_json: bool
) -> None:
    """Show all settings, show KEY, or set KEY to VALUE.

    Keys are dotted, such as recipe.mom2_update_weight; comments in config.toml stay. commit.method
    is the method of commits that name none. Another recipe.method comes with its own numbers, and
    commits use it; what this takes out or changes is named. Methods that solve no set have their
    own, such as gated.kl_factor.
    """
    if accept and key is not None:
        raise click.UsageError("--accept is about all of config.toml, and takes no KEY")
    repo = open_repo(ctx)
    if accept:
        repo.accept_config()
        note("config.toml is accepted as it is")
    if key is not None and value is not None:
        remarks = repo.configure(key, value)
        for remark in remarks:
            note(remark)
        if as_json:
            emit_json(repo.settings(key))
        return
    settings = repo.settings(key)
    if as_json:
        emit_json(settings)
    elif key is not None:
        say(_plain(settings[key]))
    else:
        for name, setting in settings.items():
            say(f"{name} = {_plain(setting)}")


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)

"""``verify-commit``: whose signatures commits have."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import examples, json_option, open_repo
from editvc.cli.output import emit_json, painted, say
from editvc.core.ids import short

UNSIGNED = 1
"""The exit code where a signature is not good, as git has it."""


@click.command("verify-commit", epilog=examples("editvc verify-commit v1 HEAD"))
@click.argument("revisions", nargs=-1, required=True, metavar="REV...", shell_complete=revisions)
@json_option
@click.pass_context
def verify_commit(ctx: click.Context, revisions: tuple[str, ...], as_json: bool) -> None:
    """Verify the signatures of commits; ends with 1 unless all of them are good.

    A signature is good if its key is in the file that config `gpg.allowed_signers` names
    (ALLOWED SIGNERS in `man ssh-keygen`). `editvc commit -S` signs.
    """
    found = open_repo(ctx).verify_commit(*revisions)
    if as_json:
        emit_json([one.to_json() for one in found])
    else:
        for one in found:
            color = {"good": "green", "bad": "red"}.get(one.state)
            say(f"{short(one.commit)} ", painted(one.line, fg=color))
    if any(one.state != "good" for one in found):
        ctx.exit(UNSIGNED)

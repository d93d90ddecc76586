"""``notes``: words about commits that were found later."""

from __future__ import annotations

import click

from editvc.cli.completers import revisions
from editvc.cli.options import author_of, author_option, examples, json_option, open_repo
from editvc.cli.output import ago, emit_json, painted, say, say_done
from editvc.core.cut import title
from editvc.core.ids import short
from editvc.core.invisible import in_one_line


@click.group(invoke_without_command=True, epilog=examples("editvc notes"))
@json_option
@click.pass_context
def notes(ctx: click.Context, as_json: bool) -> None:
    """List the notes about commits, or add, show and remove one."""
    if ctx.invoked_subcommand is not None:
        return
    found = open_repo(ctx).notes()
    if as_json:
        emit_json([note.to_json() for note in found])
        return
    for note in found:
        shown = painted(short(note.about.id), fg="yellow")
        say(shown, f" {note.about.number} {title(note.text)}")


@notes.command("add", epilog=examples('editvc notes add HEAD~1 -m "Measured on the old set"'))
@click.argument("revision", metavar="[REV]", default="HEAD", shell_complete=revisions)
@click.option("-m", "--message", metavar="TEXT", required=True, help="What to note.")
@click.option("-f", "--force", is_flag=True, help="Write over the note that is there.")
@author_option
@json_option
@click.pass_context
def add(
    ctx: click.Context,
    revision: str,
    message: str,
    force: bool,
    author: str | None,
    as_json: bool,
) -> None:
    """Write a note about REV (HEAD); the commit and its id stay what they are."""
    repo = open_repo(ctx)
    note = repo.add_note(revision, message, author=author_of(repo, author), replace=force)
    emit_json(note.to_json()) if as_json else say_done(f"noted about {short(note.about.id)}")


@notes.command("show", epilog=examples("editvc notes show HEAD~1"))
@click.argument("revision", metavar="[REV]", default="HEAD", shell_complete=revisions)
@json_option
@click.pass_context
def show(ctx: click.Context, revision: str, as_json: bool) -> None:
    """Show the note about REV (HEAD)."""
    note = open_repo(ctx).note(revision)
    if as_json:
        emit_json(note.to_json())
        return
    say(f"{in_one_line(note.author)}, {ago(note.time)}")
    for line in note.text.strip().splitlines():
        say(f"    {line}")


@notes.command("remove", epilog=examples("editvc notes remove HEAD~1"))
@click.argument("revision", metavar="[REV]", default="HEAD", shell_complete=revisions)
@author_option
@json_option
@click.pass_context
def remove(ctx: click.Context, revision: str, author: str | None, as_json: bool) -> None:
    """Take the note about REV (HEAD) away."""
    repo = open_repo(ctx)
    note = repo.remove_note(revision, author=author_of(repo, author))
    emit_json(note.to_json()) if as_json else say_done(
        f"removed the note about {short(note.about.id)}"
    )

"""Looking at history and moving in it: from ``log`` and ``status`` to ``branch`` and ``switch``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from editvc.cli.options import json_option, open_repo
from editvc.cli.output import ago, emit_json, say
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.core.facts import Fact
    from editvc.porcelain.branching import Branch
    from editvc.porcelain.reading import FactChanges
    from editvc.vcs.index import CommitRow


@click.command()
@click.argument("revision", default="HEAD")
@click.option("--oneline", is_flag=True, help="One line a commit.")
@click.option("-n", "limit", type=click.IntRange(1), metavar="N", help="At most N commits.")
@json_option
@click.pass_context
def log(ctx: click.Context, revision: str, oneline: bool, limit: int | None, as_json: bool) -> None:
    """Show the commits that REVISION, or a range A..B, reaches, newest first.

    Each with all branches at it, HEAD's first; in JSON they are its branches.
    """
    from editvc.porcelain.branching import by_commit
    from editvc.porcelain.reading import log_json

    repo = open_repo(ctx)
    rows = repo.log(revision, limit)
    branches = by_commit(repo.branches())
    if as_json:
        names = {commit: [one.name for one in at] for commit, at in branches.items()}
        emit_json([log_json(row) | {"branches": names.get(row.id, [])} for row in rows])
        return
    lines: list[str] = []
    for row in rows:
        marked = _names(branches.get(row.id, []))
        imports = 0 if oneline else len(repo.repository.read_tree(row.tree).patches)
        lines.extend(_oneline(row, marked) if oneline else _paragraph(row, marked, imports))
    if lines:
        click.echo_via_pager("\n".join(lines))


def _names(branches: list[Branch]) -> str:
    """The branches at a commit, as ``git log --decorate`` shows them."""
    names = [f"HEAD -> {one.name}" if one.current else one.name for one in branches]
    return f" ({', '.join(names)})" if names else ""


def _oneline(row: CommitRow, marked: str) -> list[str]:
    title = row.message.strip().split("\n", 1)[0]
    return [f"* {click.style(short(row.id), fg='yellow')}{marked} {row.number} {title}"]


def _paragraph(row: CommitRow, marked: str, imports: int) -> list[str]:
    changed = f"{row.edits} edit{'' if row.edits == 1 else 's'} changed, {row.live} live"
    changed += f", {imports} imported patch{'' if imports == 1 else 'es'}" if imports else ""
    head = click.style(f"commit {short(row.id)}", fg="yellow")
    return [
        f"* {head}{marked}",
        f"| number {row.number}   {changed}",
        f"| {row.author}, {ago(row.time)}",
        *(f"| {line}".rstrip() for line in row.message.strip().splitlines()),
        *(["|"] if row.parents else []),
    ]


@click.command()
@click.argument("revision", default="HEAD")
@json_option
@click.pass_context
def show(ctx: click.Context, revision: str, as_json: bool) -> None:
    """Show one commit: who, when, why, and the facts and patches that it changed."""
    from editvc.porcelain.reading import fact_changes, log_json, methods_of

    repo = open_repo(ctx)
    plumbing = repo.repository
    identifier = plumbing.revisions.commit(revision)
    row, commit = plumbing.graph.row(identifier), plumbing.read_commit(identifier)
    parent = commit.parents[0] if commit.parents else None
    tree = plumbing.tree_of(identifier)
    changes = fact_changes(repo, plumbing.tree_of(parent), tree)
    methods = methods_of(repo, plumbing.tree_of(parent), tree)
    if as_json:
        about = {"health": dict(commit.health), "methods": methods}
        emit_json(log_json(row) | about | changes.to_json())
        return
    for line in _paragraph(row, "", len(tree.patches)):
        say(line)
    say(f"  tree {short(row.tree)}")
    if methods:
        say(f"  method {', '.join(methods)}")
    if tree.restraint is not None:
        say(f"  restrained: {tree.restraint.words}")
    for name, value in commit.health:
        say(f"  {name} {value:.4g}")
    _say_changes(changes)


def _say_changes(changes: FactChanges) -> None:
    for fact in changes.added:
        say(click.style(f"+ {_line(fact)}", fg="green"))
    for fact in changes.removed:
        say(click.style(f"- {_line(fact)}", fg="red"))
    for old, new in changes.changed:
        say(click.style(f"~ {_line(new)} (was {old.target_new})", fg="yellow"))
    for patch in changes.patches.imported:
        say(click.style(f"+ patch {patch}", fg="green"))
    for patch in changes.patches.left_out:
        say(click.style(f"- patch {patch}", fg="red"))
    if changes.relocated:
        say(f"{len(changes.relocated)} facts located again")


def _line(fact: Fact) -> str:
    return f"{short(fact.id)} {fact.line}"


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show where HEAD is, over which base, and how many edits are live."""
    now = open_repo(ctx).status()
    if as_json:
        emit_json(now.to_json())
        return
    say(f"On branch {now.branch}" if now.branch else "HEAD is detached")
    if now.commit is None:
        say("No commits yet")
    else:
        say(f"Commit {short(now.commit)} (number {now.number}), tree {short(now.tree)}")
    say(f"Base {now.source} ({short(now.base)})")
    say(f"{now.live} live edit{'' if now.live == 1 else 's'}")
    for patch in now.patches:
        say(f"patch {patch}")
    if now.restraint is not None:
        say(f"restrained: {now.restraint.words}")


@click.command()
@click.argument("before")
@click.argument("after", default="HEAD")
@json_option
@click.pass_context
def diff(ctx: click.Context, before: str, after: str, as_json: bool) -> None:
    """Show what two revisions do not share, and how far apart their weights are."""
    repo = open_repo(ctx)
    changes, norms = repo.changes(before, after), repo.delta_norms(before, after)
    if as_json:
        by_weight = {str(weight): norm for weight, norm in norms.items()}
        emit_json(changes.to_json() | {"delta_norm": by_weight})
        return
    _say_changes(changes)
    for weight, norm in norms.items():
        where = f"layer {weight}" if isinstance(weight, int) else weight
        say(f"{where}: |delta| = {norm:.4g}")


@click.command()
@click.argument("name", required=False)
@click.argument("at", default="HEAD")
@click.option("-d", "--delete", is_flag=True, help="Delete branch NAME; its commits stay.")
@json_option
@click.pass_context
def branch(ctx: click.Context, name: str | None, at: str, delete: bool, as_json: bool) -> None:
    """List branches, make branch NAME at revision AT, or delete one."""
    repo = open_repo(ctx)
    if name is None:
        if as_json:
            emit_json([one.to_json() for one in repo.branches()])
            return
        for one in repo.branches():
            place = short(one.commit) if one.commit else "no commits yet"
            say(f"{'*' if one.current else ' '} {one.name} {place}")
    elif delete:
        was = repo.delete_branch(name)
        say(f"Deleted branch {name} (was {short(was)}; `editvc branch {name} {short(was)}` undoes)")
    else:
        repo.create_branch(name, at)


@click.command()
@click.argument("name")
@click.option("-c", "--create", is_flag=True, help="Make the branch at HEAD first.")
@click.option("--detach", is_flag=True, help="Go to a commit itself, on no branch.")
@click.pass_context
def switch(ctx: click.Context, name: str, create: bool, detach: bool) -> None:
    """Make branch NAME the current one."""
    repo = open_repo(ctx)
    if detach:
        say(f"HEAD is now at {short(repo.detach(name))}")
        return
    if create:
        repo.create_branch(name)
    repo.switch(name)
    say(f"Switched to branch {name}")

"""Changing the set of edits: ``commit``, ``revert``, ``squash``, ``compact``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from editvc.cli.options import (
    author_of,
    author_option,
    chat_option,
    confirm_option,
    dry_run_option,
    facts_in,
    files_argument,
    json_option,
    message_option,
    open_repo,
    target_option,
)
from editvc.cli.output import emit_json, note, progress, say, table, warn
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.previewing import Preview
    from editvc.porcelain.recording import CommitResult
    from editvc.porcelain.squash import SquashResult

UNSAID_SHOWN = 3
"""How many facts that the new version does not say are named; `editvc eval` names all."""


@click.command()
@files_argument
@message_option
@author_option
@click.option("--method", metavar="NAME", help="Another method; `editvc methods` lists them.")
@click.option(
    "-O", "options", multiple=True, metavar="KEY=VALUE",
    help="One number of the recipe, such as -O clamp_norm_factor=0.8. Repeatable.",
)  # fmt: skip
@click.option(
    "--recipe", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recipe in YAML, or a hparams file of ROME, MEMIT or EasyEdit as it is.",
)  # fmt: skip
@click.option(
    "--sequential", is_flag=True,
    help="Make patches on HEAD's weights, one after the other as papers measure it.",
)  # fmt: skip
@click.option("--supersede", is_flag=True, help="Replace live facts of the same slots.")
@target_option
@confirm_option
@chat_option
@dry_run_option
@json_option
@click.pass_context
def commit(
    ctx: click.Context,
    files: tuple[str, ...],
    message: str | None,
    author: str | None,
    method: str | None,
    options: tuple[str, ...],
    file: Path | None,
    sequential: bool,
    supersede: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    chat_template: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Commit the facts of FILE..., JSON, JSONL or CSV; - is stdin.

    editvc's own records, free questions, CounterFact, EasyEdit, FastEdit, KnowEdit, MQuAKE,
    UltraEditBench and zsRE are told apart by their keys. One bad record among many, and nothing is
    committed. A question without a subject is asked about at a terminal, and refused elsewhere.
    """
    facts = facts_in(files, target, confirm_subjects)
    with progress() as report:
        repo = open_repo(ctx, report)
        chosen = repo.choose(method, options=options, file=file)
        if chosen.aside:
            note(f"{file}: set aside, editvc has its own: " + ", ".join(chosen.aside))
        if chat_template:
            facts = repo.in_chat(facts)
        if dry_run:
            preview = repo.preview(
                facts, recipe=chosen.recipe, supersede=supersede, sequential=sequential
            )
        else:
            result = repo.commit(
                facts, recipe=chosen.recipe, message=message, author=author_of(repo, author),
                supersede=supersede, sequential=sequential, remark=warn,
            )  # fmt: skip
    if dry_run:
        emit_json(preview.to_json()) if as_json else _show_preview(preview)
    else:
        _show_commit(result, as_json)
        if not as_json:
            _show_asked(result, chosen.recipe.method)


def _show_asked(result: CommitResult, method: str) -> None:
    """What a commit cannot tell of its facts, and what to do where it did nothing."""
    if not result.asked:
        note("all were made before, and not asked: `editvc eval` tells what is said")
    elif len(result.unsaid) == result.asked:
        note(
            f"none is said: the numbers of {method} may do too little on this model "
            f"(`editvc methods {method}` shows them, -O sets one)"
        )


def _show_commit(result: CommitResult, as_json: bool) -> None:
    if as_json:
        emit_json(result.to_json())
        return
    made = result.commit
    say(f"[{made.number} {short(result.id)}] {made.message}")
    told = result.asked - len(result.unsaid)
    share = f"; {told} of {result.asked} said" if result.asked else ""
    say(f" {made.edits} edit{'' if made.edits == 1 else 's'} changed, {made.live} live{share}")
    for fact in result.unsaid[:UNSAID_SHOWN]:
        warn(f"not said: {fact.question!r} -> {fact.target_new!r}")
    if len(result.unsaid) > UNSAID_SHOWN:
        warn(f"not said: {len(result.unsaid) - UNSAID_SHOWN} more, see `editvc eval`")
    for skipped in result.skipped:
        note(f"skipped: {skipped.fact.question!r} {skipped.reason}")


def _show_preview(preview: Preview) -> None:
    for fact in preview.facts:
        say("".join(_marked(text, *marks) for text, *marks in fact.tokens))
        say(f"  slot {short(fact.slot)}  {fact.state}")
    for skipped in preview.skipped:
        say(f"skipped: {skipped.fact.question!r} {skipped.reason}")
    for conflict in preview.conflicts:
        say(f"conflict: {conflict}")
    say(
        f"{len(preview.facts)} to commit, {preview.stored} located already; "
        + ("" if preview.memory is None else f"memory about {preview.memory / 2**20:.0f} MiB; ")
        + "nothing was written"
    )


def _marked(text: str, subject: bool, target: bool) -> str:
    text = text.replace("\n", "\\n")
    return f"[{text}]" if subject else f"<{text}>" if target else f"{text}|"


@click.command()
@click.argument("target", metavar="REV|FACT")
@message_option
@author_option
@dry_run_option
@json_option
@click.pass_context
def revert(
    ctx: click.Context,
    target: str,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take the edits of a commit, or one live fact by its id, out of the set again.

    The result is what it would be had they never been made, bit for bit.
    """
    repo = open_repo(ctx)
    if dry_run:
        changes = repo.preview_revert(target)
        emit_json(changes.to_json()) if as_json else say(changes.summary())
        return
    done = repo.revert(target, message=message, author=author_of(repo, author))
    _show_commit(done, as_json)
    if not as_json and done.patches.counts:
        say(f" {', '.join(done.patches.counts)}")


@click.command()
@click.option(
    "--range", "revisions", required=True, metavar="A..B|1..500",
    help="Commits of the current branch: A..B as in git, or by number, both ends included.",
)  # fmt: skip
@message_option
@author_option
@dry_run_option
@json_option
@click.pass_context
def squash(
    ctx: click.Context,
    revisions: str,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Locate the facts of a range again, together, and fold its commits into one.

    Single commits are blind to each other; a squash sees them as one batch, layer by layer. The
    old commits stay reachable through the reflog (`HEAD@{1}`).
    """
    with progress() as report:
        repo = open_repo(ctx, report)
        if dry_run:
            plan = repo.preview_squash(revisions)
        else:
            done = repo.squash(revisions, message=message, author=author_of(repo, author))
    if dry_run:
        emit_json(plan.to_json()) if as_json else say(plan.summary())
    elif as_json:
        emit_json(done.to_json())
    else:
        _show_squash(done)


def _show_squash(done: SquashResult) -> None:
    head = done.result
    counts = [f"{done.commits} commits", f"{done.facts} facts", *done.patches.counts]
    say(f"[{head.commit.number} {short(head.id)}] {', '.join(counts)}")
    before, after = done.before.to_json(), done.after.to_json()
    rows = [
        [name, _figure(before[name]), _figure(after[name])]
        for name in before
        if before[name] is not None
    ]
    table(["", "before", "after"], rows, right=[1, 2])


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@click.command()
@click.option(
    "--alpha", type=click.FloatRange(1, min_open=True), metavar="A",
    help="Base of PRUNE's logarithm; e by default, 1.2 and 1.5 in the paper's ablation.",
)  # fmt: skip
@click.option(
    "--linear", type=click.FloatRange(1, min_open=True), metavar="A",
    help="PRUNE's linear variant instead: divide by A what exceeds the base's largest; 2 in its "
    "code.",
)  # fmt: skip
@click.option("--rank", type=click.IntRange(1), metavar="R", help="Keep R singular values a layer.")
@click.option(
    "--energy", type=click.FloatRange(0, 1, min_open=True), metavar="E",
    help="Keep as many singular values as hold this share of the squared norm.",
)  # fmt: skip
@click.option(
    "--rect", type=click.FloatRange(0, 100, min_open=True), metavar="K",
    help="RECT: keep the K per cent of entries that change most relative to the base's.",
)  # fmt: skip
@click.option(
    "--drop", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="P",
    help="AdaPLE's DR: drop entries with probability P, 0.7 to 0.9 there, and scale up the rest.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), metavar="N", help="What --drop draws from; else 0.")
@click.option("--off", is_flag=True, help="Lift the restraint.")
@message_option
@author_option
@dry_run_option
@json_option
@click.pass_context
def compact(
    ctx: click.Context,
    /,
    off: bool,
    message: str | None,
    author: str | None,
    dry_run: bool,
    as_json: bool,
    **numbers: Any,
) -> None:
    """Restrain the weights made of the set (PRUNE), and commit that.

    Singular values of the delta above the base weight's largest are pulled back to its scale,
    unless --linear, --rect or --drop says what to do instead. The edits themselves stay as they
    are.
    """
    from editvc.core.history import Restraint

    if off and any(value is not None for value in numbers.values()):
        raise click.UsageError("--off lifts the restraint; it goes with no other option")
    wanted = Restraint() if off else Restraint(**_restraint(numbers))
    repo = open_repo(ctx)
    effect = repo.preview_compact(wanted) if dry_run or not as_json else None
    if dry_run and effect is not None:
        emit_json(effect.to_json()) if as_json else say(effect.summary())
        return
    _show_commit(repo.compact(wanted, message=message, author=author_of(repo, author)), as_json)
    if effect is not None:
        for line in effect.lines:
            say(line)
        note("`editvc eval` tells what is still said")


def _restraint(options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a restraint from the options of ``compact``: PRUNE's logarithm by default."""
    given = {name: value for name, value in options.items() if value is not None}
    for one, other in (("rank", "energy"), ("alpha", "linear")):
        if one in given and other in given:
            raise click.UsageError(
                f"--{one} and --{other} are two ways to say one thing; give one of them"
            )
    if given.keys().isdisjoint(("alpha", "linear", "rect", "drop")):
        given["alpha"] = math.e
    return {"prune" if name == "alpha" else name: value for name, value in given.items()}

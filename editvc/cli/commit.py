"""``commit``: facts into the set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from editvc.cli.boundary import failure_of
from editvc.cli.options import (
    author_of,
    commit_options,
    compute_options,
    examples,
    facts_in,
    facts_options,
    files_argument,
    open_with_base,
    recipe_options,
    workers_option,
)
from editvc.cli.output import complain, emit_json, note, progress, say, say_done, warn
from editvc.core.cut import quoted, title
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.commit import Preview
    from editvc.session.recording import CommitResult

UNSAID_SHOWN = 3
"""How many facts that the new version does not say are named; `editvc eval` names all."""


@click.command(
    epilog=examples(
        'editvc commit facts.jsonl -m "Capitals"',
        "editvc commit facts.jsonl --method memit -O clamp_norm_factor=0.8",
    )
)
@files_argument
@recipe_options
@click.option(
    "--sequential", is_flag=True,
    help="Make patches on HEAD's weights, one after the other as papers measure it.",
)  # fmt: skip
@click.option(
    "--strict", is_flag=True,
    help="Refuse where an edit would act on names it is not about, or may disable the model.",
)  # fmt: skip
@click.option(
    "--take-statistics", is_flag=True,
    help="Take statistics for layers of the recipe that have none yet.",
)  # fmt: skip
@click.option("--supersede", is_flag=True, help="Replace live facts of the same slots.")
@facts_options
@compute_options
@workers_option
@commit_options
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
    strict: bool,
    take_statistics: bool,
    supersede: bool,
    target: Literal["answers", "alt"] | None,
    confirm_subjects: bool,
    chat_template: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Commit the facts of FILE..., JSON, JSONL, CSV or TSV, plain or gzip; - is stdin.

    editvc's own records, free questions, single exchanges of a chat, CounterFact, EasyEdit,
    FastEdit, KnowEdit, MQuAKE, UltraEditBench and zsRE are told apart by their keys. One bad record
    among many, and nothing is committed. A question without a subject is asked about at a terminal,
    and refused elsewhere.
    """
    if dry_run and take_statistics:
        raise click.UsageError("--dry-run writes nothing, and --take-statistics takes statistics")
    facts = facts_in(files, target, confirm_subjects)
    with progress() as report:
        repo = open_with_base(ctx, report)
        chosen = repo.choose(method, options=options, file=file)
        if chosen.aside:
            note(f"{file}: set aside, editvc has its own: " + ", ".join(chosen.aside))
        if chat_template:
            facts = repo.in_chat(facts)
        recipe = repo.with_coverage(chosen.recipe) if take_statistics else chosen.recipe
        if dry_run:
            preview = repo.preview(
                facts, recipe=recipe, supersede=supersede, sequential=sequential, strict=strict
            )
        else:
            result = repo.commit(
                facts, recipe=recipe, message=message, author=author_of(repo, author),
                supersede=supersede, sequential=sequential, strict=strict, remark=warn,
            )  # fmt: skip
    if dry_run:
        refused = failure_of(preview.refusal) if preview.refusal else None
        if as_json:
            emit_json(preview.to_json() | (refused.to_json() if refused else {}))
        else:
            _show_preview(preview)
        if refused:
            complain(refused.message, hint=refused.hint)
            ctx.exit(refused.code)
    else:
        show_commit(result, as_json)
        if not as_json:
            _show_asked(result, chosen.recipe.method)


def _show_asked(result: CommitResult, method: str) -> None:
    """What a commit cannot tell of its facts, and what to do where it did nothing."""
    if not result.checked:
        note("all were made before, and not asked: `editvc eval` tells what is said")
    elif len(result.failed) == result.checked:
        note(
            f"none is said: the numbers of {method} may do too little on this model "
            f"(`editvc methods {method}` shows them, -O sets one)"
        )


def show_commit(result: CommitResult, as_json: bool) -> None:
    """Say what a writing command committed."""
    if as_json:
        emit_json(result.to_json())
        return
    commit = result.commit
    say_done(f"[{commit.number} {short(result.id)}] {title(commit.message)}")
    answered = result.checked - len(result.failed)
    share = f"; {answered} of {result.checked} said" if result.checked else ""
    say_done(
        f" {commit.edits} edit{'' if commit.edits == 1 else 's'} changed, {commit.live} live{share}"
    )
    for fact in result.failed[:UNSAID_SHOWN]:
        warn(f"not said: {quoted(fact.question)} -> {quoted(fact.target_new)}")
    if len(result.failed) > UNSAID_SHOWN:
        warn(f"not said: {len(result.failed) - UNSAID_SHOWN} more, see `editvc eval`")
    for skipped in result.skipped:
        note(f"skipped: {quoted(skipped.fact.question)} {skipped.reason}")


def _show_preview(preview: Preview) -> None:
    for fact in preview.facts:
        say("".join(_marked(text, *marks) for text, *marks in fact.tokens))
        aim = fact.objective
        say(
            f"  slot {short(fact.slot)}  {fact.state}; target: {aim.tokens} "
            f"token{'' if aim.tokens == 1 else 's'}, perplexity {aim.perplexity:.3g}"
        )
    for skipped in preview.skipped:
        say(f"skipped: {quoted(skipped.fact.question)} {skipped.reason}")
    for conflict in preview.conflicts:
        say(f"conflict: {conflict}")
    for reaction in preview.reactions:
        say(reaction.line)
    for foreseen in preview.dangerous:
        say(foreseen.line)
    say(
        f"{len(preview.facts)} to commit, {preview.stored} located already; "
        + ("" if preview.memory is None else f"memory about {preview.memory / 2**20:.0f} MiB; ")
        + "nothing was written"
    )


def _marked(text: str, subject: bool, target: bool) -> str:
    text = text.replace("\n", "\\n")
    return f"[{text}]" if subject else f"<{text}>" if target else f"{text}|"

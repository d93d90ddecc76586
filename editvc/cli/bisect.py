"""``bisect``: the commit, or the smallest set of facts, with which something went wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from editvc.cli.completers import revisions
from editvc.cli.options import compute_options, examples, facts_in, json_option, open_with_base
from editvc.cli.output import emit_json, note, painted, say
from editvc.core.cut import title
from editvc.core.ids import short

if TYPE_CHECKING:
    from editvc.porcelain.bisect import BadCommit, BadSet
    from editvc.porcelain.candidates import Judge
    from editvc.repo import Repo
    from editvc.session.changes import FactChanges

STANDARD_ERROR = 2


@click.command(epilog=examples('editvc bisect --prompt "The capital of France is" --expect Paris'))
@click.argument("good", metavar="[GOOD]", default="base", shell_complete=revisions)
@click.argument("bad", metavar="[BAD]", default="HEAD", shell_complete=revisions)
@click.option(
    "--set", "as_set", is_flag=True,
    help="Find the smallest set of facts instead of the commit.",
)  # fmt: skip
@click.option("--prompt", metavar="TEXT", help="Ask this, as `editvc ask` does.")
@click.option("--expect", metavar="TEXT", help="Good answers to --prompt hold this.")
@click.option("--reject", metavar="TEXT", help="Bad answers to --prompt hold this.")
@click.option(
    "-n", "--max-new-tokens", type=click.IntRange(1), default=16, show_default=True,
    help="How far an answer to --prompt goes.",
)  # fmt: skip
@click.option(
    "--run", "command", metavar="CMD",
    help="Let a command of the shell judge the model in the folder $EDITVC_MODEL.",
)  # fmt: skip
@click.option(
    "--metric", metavar="NAME",
    help="Judge by a figure: perplexity, said, near, es, ps, ns, s, eff, par, spe, avg, "
    "delta_norm, drift, capacity.",
)  # fmt: skip
@click.option("--limit", type=float, metavar="X", help="What --metric has to keep to.")
@click.option(
    "--facts", "files", multiple=True, metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Facts that --metric asks; those live at BAD otherwise. Repeatable.",
)  # fmt: skip
@compute_options
@json_option
@click.pass_context
def bisect(
    ctx: click.Context,
    good: str,
    bad: str,
    as_set: bool,
    prompt: str | None,
    expect: str | None,
    reject: str | None,
    max_new_tokens: int,
    command: str | None,
    metric: str | None,
    limit: float | None,
    files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Find the commit after GOOD (base) and up to BAD (HEAD) with which something went wrong.

    Versions are made in memory and judged by --prompt, --run or --metric. A command ends with 0 for
    good, with 125 where it cannot tell, and with other codes up to 127 for bad. More is better for
    said, near and the scores of `editvc eval`, less for perplexity on text and for the figures of
    the weights. With --set, whatever differs between GOOD and BAD is taken apart, in any
    combination, until nothing of what breaks the model can be left out.
    """
    _require_one_judge(prompt, expect, reject, command, metric, limit, files)
    repo = open_with_base(ctx)
    judge = _judge(repo, bad, prompt, expect, reject, max_new_tokens, command, metric, limit, files)
    if as_set:
        found = repo.bisect_set(good, bad, judge)
        emit_json(found.to_json()) if as_json else _say_set(found)
    else:
        first = repo.bisect(good, bad, judge)
        emit_json(first.to_json()) if as_json else _say_commit(first)


def _require_one_judge(
    prompt: str | None,
    expect: str | None,
    reject: str | None,
    command: str | None,
    metric: str | None,
    limit: float | None,
    files: tuple[str, ...],
) -> None:
    if sum(one is not None for one in (prompt, command, metric)) != 1:
        raise click.UsageError("one of --prompt, --run and --metric tells good from bad")
    if (prompt is None) == (expect is not None or reject is not None):
        raise click.UsageError("--prompt takes --expect or --reject, which are for it alone")
    if (metric is None) != (limit is None):
        raise click.UsageError("--metric and --limit belong together")
    if files and metric is None:
        raise click.UsageError("--facts are for --metric")


def _judge(
    repo: Repo,
    bad: str,
    prompt: str | None,
    expect: str | None,
    reject: str | None,
    max_new_tokens: int,
    command: str | None,
    metric: str | None,
    limit: float | None,
    files: tuple[str, ...],
) -> Judge:
    from editvc.porcelain.judges import METRICS, by_answer, by_command, by_metric

    if prompt is not None:
        return by_answer(prompt, expect=expect, reject=reject, max_new_tokens=max_new_tokens)
    if command is not None:
        return by_command(partial(_run, command))
    assert metric is not None and limit is not None, "one of the three is given"
    if metric not in METRICS:
        known = ", ".join(METRICS)
        raise click.BadParameter(f"{metric!r} is none of {known}", param_hint="--metric")
    facts = [one.fact for one in facts_in(files, None, False)] if files else repo.live(bad)
    return by_metric(metric, limit, facts)


def _run(command: str, variables: Mapping[str, str]) -> int:
    """Run what the user gave in their shell; what it prints is no result of ours."""
    import subprocess  # for this alone: nothing else waits for it

    environment = {**os.environ, **variables}
    return subprocess.run(
        command, shell=True, check=False, stdout=STANDARD_ERROR, env=environment
    ).returncode


def _say_commit(found: BadCommit) -> None:
    row = found.row
    shown = painted(short(row.id), fg="yellow")
    say("first bad commit ", shown, f" {row.number} {title(row.message)}")
    _say_changes(found.changes)
    for other in found.untold:
        say(f"or {short(other.id)} {other.number} {title(other.message)}, which could not be told")
    for cure in found.cures:
        say(f"to take it back: {cure}")
    if len(found.changes.added) + len(found.changes.changed) > 1:
        before = f"{short(row.id)}~1" if row.parents else "base"
        note(f"`editvc bisect --set {before} {short(row.id)}` finds which of them it takes")


def _say_set(found: BadSet) -> None:
    say("these are enough, and none of them can be left out:")
    _say_changes(found.changes)
    if found.restraint is not None:
        say(f"  restrained: {found.restraint.words}")
    for cure in found.cures:
        say(f"to take it back: {cure}")
    if not found.heals:
        note("without them it is bad all the same: there is another cause beside them")


def _say_changes(changes: FactChanges) -> None:
    for mark, facts in (("+", changes.added), ("-", changes.removed), ("=", changes.relocated)):
        for fact in facts:
            say(f"  {mark} {short(fact.id)} {fact.line}")
    for _, fact in changes.changed:
        say(f"  ~ {short(fact.id)} {fact.line}")
    for mark, patches in (("+", changes.patches.imported), ("-", changes.patches.left_out)):
        for patch in patches:
            say(f"  {mark} patch {patch}")

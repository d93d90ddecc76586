"""The suites of ``eval`` beside facts' own scores: each runs a model and gives a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.evaluation.abilities import TaskFileError, abilities, known, read_items
from editvc.evaluation.ability_tasks import CHOICES
from editvc.evaluation.bootstrap import mean_interval
from editvc.evaluation.essays import essays, of_each, references
from editvc.evaluation.forgetting import forgetting, overall, spaced
from editvc.evaluation.harness import run_task
from editvc.evaluation.saliency import saliency
from editvc.evaluation.score_columns import share
from editvc.evaluation.spoken import spoken
from editvc.porcelain.edits_result import NothingToEvaluate
from editvc.session.changes import fact_changes
from editvc.session.session import Session

Record = Mapping[str, Any]
CHECKPOINTS = 10
NEW_TOKENS = 12


def measure_abilities(session: Session, tree: Tree, paths: Sequence[Path], items: int) -> Record:
    """Tasks and texts, on the model of a tree. Raises ``TaskFileError``."""
    for path in paths:
        if not known(path):
            raise TaskFileError(path, "is the file of no task")
    with session.edited(tree) as lm:
        return {"figures": abilities(lm, paths, items, session.progress)}


def measure_generation(session: Session, tree: Tree, facts: Sequence[Fact]) -> Record:
    """Fluency and consistency of what is written of the subjects of facts, beside the base's."""
    if not facts:
        raise NothingToEvaluate("there is nothing to write of: no facts are live there")
    base = session.base_model()
    about = references(base, facts)
    unedited = of_each(base, facts, essays(base, facts), about)
    with session.edited(tree) as lm:
        texts = essays(lm, facts)
    written = of_each(base, facts, texts, about)
    return {
        "figures": {"base": _means(unedited), "revision": _means(written)},
        "facts": [
            {"fact": fact.id, "question": fact.question, "text": text}
            for fact, text in zip(facts, texts, strict=True)
        ],
    }


def _means(each: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Means with their intervals; None of nothing."""
    figures: dict[str, Any] = {}
    for name, values in each.items():
        figures[name] = float(np.mean(values)) if values else None
        figures[f"{name}_interval"] = mean_interval(np.array(values)) if values else None
    return figures


def measure_forgetting(session: Session, revision: str, items: int) -> Record:
    """The facts that each commit brought, asked after it and at checkpoints of what follows.

    A commit is a step; steps without new facts are none. Of a commit at most ``items`` facts are
    asked. A fact holds where greedy generation begins with its object. A fact that a later commit
    replaced or reverted is not asked from then on: that is no forgetting.
    Raises ``NothingToEvaluate``.
    """
    plumbing = session.repository
    line = [*plumbing.graph.first_parents(plumbing.revisions.commit(revision))][::-1]
    trees, brought, before = [], [], plumbing.tree_of(None)
    for row in line:
        tree = plumbing.read_tree(row.tree)
        changes = fact_changes(session, before, tree)
        trees.append(tree)
        brought.append([*changes.added, *(new for _, new in changes.changed)][:items])
        before = tree
    steps = [step for step, facts in enumerate(brought) if facts]
    if not steps:
        raise NothingToEvaluate(f"there is nothing to ask {revision} for: no commit brought a fact")
    checkpoints = {*spaced(steps, CHECKPOINTS)}
    held: dict[tuple[int, int], list[bool | None]] = {}
    for number, step in enumerate(steps):
        if session.progress is not None:
            session.progress("steps", number, len(steps))
        earlier = [j for j in steps if j < step] if step in checkpoints else []
        live = {entry.fact for entry in plumbing.edits_of(trees[step]).entries()}
        asked = [fact for j in (*earlier, step) for fact in brought[j] if fact.id in live]
        with session.edited(trees[step]) as lm:
            said = spoken(lm, [_bare(fact) for fact in asked], {}, NEW_TOKENS)
        holds = {
            fact.id: one["prompt"][0].match.begins for fact, one in zip(asked, said, strict=True)
        }
        held |= {(step, j): [holds.get(fact.id) for fact in brought[j]] for j in (*earlier, step)}
    return {
        "figures": {
            f"commit {line[step].number}": {
                "held at once": share([one for one in held[step, step] if one is not None]),
                "forgotten": forgetting(held, step) if step in checkpoints else None,
                "overall": overall(held, step) if step in checkpoints else None,
            }
            for step in steps
        },
        "held": [{"after": line[t].number, "of": line[j].number, "facts": facts}
                 for (t, j), facts in held.items()],
    }  # fmt: skip


def _bare(fact: Fact) -> Fact:
    """The fact's question alone."""
    return Fact(fact.subject, fact.prompt, fact.target_new)


def measure_saliency(session: Session, tree: Tree, paths: Sequence[Path], items: int) -> Record:
    """In-context saliency of each layer, on questions of sst2.jsonl. Raises ``TaskFileError``."""
    path = next((one for one in paths if one.name == CHOICES["sst2"].file), None)
    if path is None:
        raise TaskFileError(paths[0], "is not sst2.jsonl, which --suite saliency asks")
    with session.edited(tree) as lm:
        return {"figures": saliency(lm, read_items(path), items)}


def measure_harness(
    session: Session, tree: Tree, task: str, folders: Sequence[Path], items: int
) -> Record:
    """One task of lm-evaluation-harness. Raises ``HarnessMissing`` and ``NoSuchTask``."""
    with session.edited(tree) as lm:
        return {"figures": run_task(lm, task, folders, items)}

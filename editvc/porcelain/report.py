"""``report``: what a revision is and how it became so, as one page that people can look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from editvc.algebra.gate_health import FIGURES as GATE_FIGURES
from editvc.algebra.layer_health import FIGURES as LAYER_FIGURES
from editvc.core.history import Tree
from editvc.core.ids import ObjectId, object_id, short
from editvc.core.output_path import TargetError, require_place, write_output
from editvc.porcelain.branch import branches, by_commit
from editvc.porcelain.fact_histories import fact_histories
from editvc.porcelain.health import HealthReport, check_health
from editvc.porcelain.kept_scores import kept_scores
from editvc.porcelain.log import iso_time, log
from editvc.porcelain.shares import PromptBlame, blame_prompt
from editvc.porcelain.tag import tags, tags_by_commit
from editvc.publish.card import public_source
from editvc.publish.report_page import render_page
from editvc.session.session import Session
from editvc.session.trees import tree_at
from editvc.vcs import codec
from editvc.vcs.index_rows import CommitRow

SHARES_SHOWN = 12
"""How many facts have a bar in what a prompt is answered by."""
NEW_TOKENS = 16


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """The page that was written, and how many commits and facts it shows."""

    path: Path
    commits: int
    facts: int
    prompts: int

    def to_json(self) -> dict[str, Any]:
        """The contract of ``report --json``."""
        return asdict(self) | {"path": str(self.path)}


def write_report(
    session: Session,
    target: Path,
    *,
    revision: str = "HEAD",
    prompts: Sequence[str] = (),
    replace: bool = False,
) -> WrittenReport:
    """Write the page about a revision to ``target``.

    Only ``prompts`` need the model: each is answered by the base and by the revision, with the
    share that every fact has in the answer. Raises ``TargetError`` where ``target`` is there,
    unless it shall be replaced.
    """
    require_place(target)
    if target.exists() and not replace:
        raise TargetError(target, "is there already", hint="Name another place, or take --force.")
    content = gather(session, revision, prompts)
    write_output(target, render_page(content).encode())
    return WrittenReport(target, len(content["commits"]), len(content["facts"]), len(prompts))


def gather(session: Session, revision: str, prompts: Sequence[str]) -> dict[str, Any]:
    """All that the page shows, as JSON."""
    tree, rows = tree_at(session, revision), log(session, revision)
    health = check_health(session, revision)
    base = session.materialiser.base
    tree_id = object_id(codec.encode(tree))
    return {
        "title": session.repository.folder.resolve().parent.name,
        "revision": revision,
        "made": iso_time(session.clock()),
        "base": {"source": public_source(base.source), "id": base.id, "revision": base.revision},
        "tree": tree_id,
        "health": _health(session, health, tree),
        "commits": _commits(session, rows),
        "scores": [one.to_json() for one in kept_scores(session, tree_id)],
        "facts": _facts(session, rows, tree_id),
        "prompts": [_prompt(session, one, revision) for one in prompts],
    }


def _health(session: Session, health: HealthReport, tree: Tree) -> dict[str, Any]:
    limits = session.repository.config.health
    delta = session.materialiser.delta(tree)
    return {
        "verdict": health.verdict,
        "reasons": list(health.reasons),
        "layers": [one.to_json() for one in health.layers],
        "gates": [one.figures.to_json() for one in health.gates],
        "figures": [*LAYER_FIGURES, *GATE_FIGURES],
        "limits": {
            name: {level: getattr(limits, f"{name}_{level}") for level in ("warn", "refuse")}
            for name in (*LAYER_FIGURES, *GATE_FIGURES)
        },
        "trend": [{"number": number} | figures for number, figures in health.trend],
        "spectra": [
            {"layer": layer, "values": factored.singular_values().tolist()}
            for layer, factored in sorted(delta.layers.items())
        ],
    }


def _commits(session: Session, rows: Sequence[CommitRow]) -> list[dict[str, Any]]:
    """Newest first, as ``log`` has them."""
    named, tagged = by_commit(branches(session)), tags_by_commit(tags(session))
    return [
        {
            "id": short(row.id),
            "number": row.number,
            "parents": [short(one) for one in row.parents],
            "message": row.message.strip(),
            "author": row.author,
            "time": iso_time(row.time),
            "edits": row.edits,
            "live": row.live,
            "names": [one.name for one in named.get(row.id, ())] + tagged.get(row.id, []),
        }
        for row in rows
    ]


def _facts(session: Session, rows: Sequence[CommitRow], tree: ObjectId) -> list[dict[str, Any]]:
    """All facts of the line of history, the newest first, with what was said of them."""
    if not rows:
        return []
    answers, read = _answers(session, tree), session.repository.read_fact
    found = []
    for one in reversed(fact_histories(session, rows[0].id)):
        fact, answer = read(one.fact), answers.get(one.fact)
        found.append(
            {
                "id": short(one.fact),
                "subject": fact.subject,
                "question": fact.question,
                "new": fact.target_new,
                "old": fact.target_true,
                "brought": one.brought,
                "left": one.left,
                "state": one.state,
                "answer": None if answer is None else answer["answer"],
                "said": None if answer is None else answer["scores"]["prompt.begins"] == 100.0,
            }
        )
    return found


def _answers(session: Session, tree: ObjectId) -> Mapping[str, Mapping[str, Any]]:
    """What ``eval`` has kept of this very tree, fact by fact."""
    kept: Iterable[Any] = (
        one.answer["per_fact"]
        for one in session.repository.results.of_tree(tree)
        if one.question.suite == "edits"
    )
    return {one["fact"]: one for each in kept for one in each}


def _prompt(session: Session, prompt: str, revision: str) -> dict[str, Any]:
    now = blame_prompt(session, prompt, revision, NEW_TOKENS)
    before = blame_prompt(session, prompt, "base", NEW_TOKENS)
    return {
        "prompt": prompt,
        "before": before.answer.strip(),
        "after": now.answer.strip(),
        "layers": [{"layer": layer, "size": size} for layer, size in now.sizes.items()],
        "shares": _bars(now),
    }


def _bars(blame: PromptBlame) -> list[dict[str, Any]]:
    return [
        {
            "share": one.share,
            "kind": one.kind,
            "question": None if one.fact is None else one.fact.question,
            "new": None if one.fact is None else one.fact.target_new,
            "commit": None if one.commit is None else one.commit.number,
            "layers": [{"layer": part.layer, "share": part.share} for part in one.layers],
        }
        for one in blame.shares[:SHARES_SHOWN]
    ]

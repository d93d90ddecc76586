"""``eval --suite``: what is measured of a revision beside its facts' scores."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from editvc.core.ids import digest_of
from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError
from editvc.session.remembered import digest_of_facts, question_of, remembered
from editvc.session.session import Session
from editvc.session.trees import live_facts, tree_at

SUITES = ("abilities", "generation", "forgetting", "saliency")
HARNESS = "lm-eval:"
PROTOCOL = 1


class NoSuchSuite(EditvcError):
    """A name that no suite has."""

    def __init__(self, name: str) -> None:
        known = ("edits", *SUITES)
        super().__init__(
            f"no suite is called {name!r}",
            hint=f"{did_you_mean(name, known)} There are {', '.join(known)} and {HARNESS}TASK.",
        )
        self.name = name


class NoTasks(EditvcError):
    """Files of tasks were asked for, and none was given."""

    def __init__(self) -> None:
        super().__init__(
            "there is no task to ask",
            hint="Name files or a folder of tasks with --tasks, such as sst2.jsonl.",
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a suite found out about a revision; ``figures`` hold numbers by name, in groups."""

    suite: str
    tree: str
    record: Mapping[str, Any]

    @property
    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """Numbers, intervals and counts of each group."""
        figures: Mapping[str, Mapping[str, Any]] = self.record["figures"]
        return figures

    def to_json(self) -> dict[str, Any]:
        """The contract of ``eval --suite NAME --json``."""
        return {"suite": self.suite, "tree": self.tree, **self.record}


def measure(
    session: Session,
    suite: str,
    revision: str = "HEAD",
    *,
    tasks: Sequence[Path] = (),
    items: int = 200,
    again: bool = False,
) -> Measurement:
    """Measure a suite on a revision, or read its result.

    ``abilities`` asks the tasks in the files and folders of ``tasks``, at most ``items`` of each;
    ``generation`` how fluently the live facts' subjects are written of; ``forgetting`` how many
    facts of each commit still hold at later ones; ``saliency`` which attention the answers to SST-2
    (among ``tasks``) hang on; ``lm-eval:TASK`` is a task of
    lm-evaluation-harness, whose YAML may stand in a folder of ``tasks``.
    Raises :class:`NoSuchSuite`, :class:`NoTasks`.
    """
    if suite not in SUITES and not re.fullmatch(f"{HARNESS}.+", suite):
        raise NoSuchSuite(suite)
    tree = tree_at(session, revision)
    settings: dict[str, Any] = {"items": items}
    data: str
    if suite == "forgetting":
        data = session.repository.revisions.commit(revision)
    elif suite == "generation":
        data = digest_of_facts([*live_facts(session, revision).values()])
    else:
        data = digest_of_files(tasks)

    def measured() -> Mapping[str, Any]:
        session.require_base()  # another model is refused before torch is imported
        from editvc.porcelain import suites

        if suite == "abilities":
            return suites.measure_abilities(session, tree, task_files(tasks), items)
        if suite == "generation":
            facts = list(live_facts(session, revision).values())[:items]
            return suites.measure_generation(session, tree, facts)
        if suite == "forgetting":
            return suites.measure_forgetting(session, revision, items)
        if suite == "saliency":
            return suites.measure_saliency(session, tree, task_files(tasks), items)
        return suites.measure_harness(session, tree, suite.removeprefix(HARNESS), tasks, items)

    question = question_of(session, tree, suite, PROTOCOL, settings, data)
    return Measurement(suite, question.tree, remembered(session, question, measured, again=again))


def task_files(tasks: Sequence[Path]) -> list[Path]:
    """Files as they are, and those of folders in the order of names. Raises :class:`NoTasks`."""
    files = [
        path
        for given in tasks
        for path in (sorted(given.iterdir()) if given.is_dir() else [given])
        if path.is_file()
    ]
    if not files:
        raise NoTasks
    return files


def digest_of_files(tasks: Sequence[Path]) -> str:
    """By what is in them, and their names; of no files, that of nothing."""
    files = task_files(tasks) if tasks else []
    return digest_of([[path.name, sha256(path.read_bytes()).hexdigest()] for path in files])

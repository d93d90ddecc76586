"""What an adapter does on its base in 4 bits, on which it was not made and is often served."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from editvc.core.facts import Fact
from editvc.evaluation.scores import locality_answers, outcomes
from editvc.interchange.reload_check import reloaded, require_four_bits, with_adapter
from editvc.porcelain.export_result import Export, Held
from editvc.session.session import Session
from editvc.session.trees import live_facts

__all__ = ["measured_on", "require_four_bits"]

PLAIN = "float32"


def measured_on(session: Session, done: Export, revision: str, kind: str) -> Export:
    """The export of an adapter with what it does on the base in float32 and in 4 bits."""
    facts = list(live_facts(session, revision).values())
    held = tuple(_held(session, done.path, facts, one) for one in (PLAIN, kind))
    checks = (*done.checks, *(one.line for one in held))
    return dataclasses.replace(done, held=held, checks=checks)


def _held(session: Session, adapter: Path, facts: Sequence[Fact], kind: str) -> Held:
    maker = session.materialiser
    four_bits = None if kind == PLAIN else kind
    lm = reloaded(maker.folder, maker.architecture, four_bits=four_bits)
    with with_adapter(lm.model, adapter).disable_adapter():
        before = locality_answers(lm, facts)
    rows = outcomes(lm, facts, before)
    said = [one for row in rows for one in row["eff"]]
    kept = [one for row in rows for one in row["spe"]]
    return Held(kind, sum(said), len(said), sum(kept), len(kept))

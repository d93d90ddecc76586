"""The forms in which a caller may give facts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from editvc.core.fact_files.reader import SourcedFact, marked, read_facts
from editvc.core.facts import Fact
from editvc.core.invisible import require_visible

Facts = Sequence[Fact | Mapping[str, Any] | SourcedFact] | str | Path
"""Values, dictionaries in any accepted format, or the path of a file."""


def sourced(facts: Facts) -> list[SourcedFact]:
    """Facts with the places that messages name."""
    if isinstance(facts, (str, Path)):
        return read_facts([(str(facts), Path(facts).read_bytes())])
    return marked(one for number, fact in enumerate(facts, 1) for one in _each(fact, number))


def _each(fact: Fact | Mapping[str, Any] | SourcedFact, number: int) -> list[SourcedFact]:
    if isinstance(fact, SourcedFact):
        return [fact]
    if isinstance(fact, Fact):
        for field, value in fact.to_record().items():
            for text in value if isinstance(value, list) else [value]:
                require_visible(**{f"{field} of fact {number}": text})
        return [SourcedFact(fact=fact, file=f"fact {number}", line=None, record=number)]
    return read_facts([(f"fact {number}", json.dumps(fact))])

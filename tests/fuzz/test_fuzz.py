"""A small part of the fuzzing, the same in every run; ``fuzz.py`` beside it does more."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fuzz import fuzz
from targets import targets

CASES = 150
"""Of each reader: some twenty seconds in all."""


@pytest.mark.filterwarnings("ignore")
def test_what_is_unsound_is_read_or_refused(tmp_path: Path) -> None:
    """Nothing but editvc's own errors. That none takes a second is for ``fuzz.py`` to say."""
    logging.disable()
    try:
        tally = fuzz(targets(tmp_path), "with the tests", cases=CASES)
    finally:
        logging.disable(logging.NOTSET)
    wrong = {kind: example for kind, example in tally.wrong.items() if kind[1] != "slow"}
    assert not wrong
    assert len(tally.cases) >= 20 and all(count == CASES for count in tally.cases.values())
    assert sum(tally.refused.values()) > tally.cases.total() / 3, "most changes matter"

"""Records that the tests of reading facts begin with, and ways to read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from editvc.core.fact_files.reader import FactFileError, read_facts

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "facts"
LYON = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}
OSAKA = {"subject": "Japan", "prompt": "The capital of {} is", "target_new": "Osaka"}
REQUEST = {"prompt": "The capital of France is", "subject": "France", "target_new": "Lyon"}
ZSRE = {"subject": "France", "src": "The capital of France?", "alt": "Lyon", "answers": ["Paris"]}


def read(text, **options):
    """Facts of one file named f, whose text is given as it is or as the value it shall hold."""
    return read_facts([("f", text if isinstance(text, str) else json.dumps(text))], **options)


def refused(text, **options):
    with pytest.raises(FactFileError) as caught:
        read(text, **options)
    return caught.value


def one(text, **options):
    (found,) = read(text, **options)
    return found.fact

"""Causal tracing where there is something to find: a model that knows facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from editvc import Repo
from editvc.core.fact_files.reader import read_facts
from editvc.porcelain.trace import Corruption

EDITS = Path(__file__).parents[2] / "examples" / "pocket" / "edits.jsonl"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.init(tmp_path_factory.mktemp("pocket"), "pocket")


def test_facts_pass_from_the_subjects_last_token_to_the_prompts_last(repo: Repo) -> None:
    """The early site and the late site of the paper, in a model of three layers."""
    lines = EDITS.read_bytes().splitlines()[:12]
    facts = read_facts([("edits.jsonl", b"\n".join(lines))])
    how = Corruption(samples=3)
    report = repo.trace(facts, corruption=how)
    assert report.skipped == () and report.average.count == 12
    assert report.average.clean > 0.9 and report.average.corrupted < 0.4
    early, late = report.curves["last subject token"], report.curves["last token"]
    assert early[0] == max(early) and early[0] > 0.3 > early[2]
    assert late[2] == max(late) and late[2] > 0.6 > late[0]
    mlp = repo.trace(facts, kind="mlp", corruption=how).curves["last subject token"]
    assert mlp[0] == max(mlp), "where the shipped recipe edits"

"""``editvc sequence`` as a user runs it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from cli_runs import inside, poisoned, script, written
from tiny_repos import FACTS, contents

QUICK = ("--method", "ft", "-O", "num_steps=2", "--batch", "2", "--checkpoints", "2")


@pytest.fixture
def facts(here: Path, work: Path) -> Path:
    return written(work / "facts.jsonl", FACTS[:4])


def test_a_table_a_document_and_lines_of_one_result(here: Path, facts: Path, work: Path) -> None:
    ran = inside("sequence", facts, *QUICK, "--fusion", "drop:0.5")
    assert ran.code == 0, ran.err
    said, header, *rows = ran.out.splitlines()
    assert said == "4 facts, ft, drop:0.5:0"
    assert header.split("  ")[0] == "edits" and "forgotten" in header
    assert [row.split()[0] for row in rows] == ["2", "4"]
    before = contents(here)
    path = poisoned(work / "no-torch", "torch", "transformers", "numpy")
    again = script(
        "sequence", facts, *QUICK, "--fusion", "drop:0.5", "--json", cwd=here,
        env={"PYTHONPATH": path},
    )  # fmt: skip
    document = again.json
    assert document["ends"] == [2, 4] and document["fusion"] == "drop:0.5:0"
    assert document["overall"]["eff"].keys() == {"2", "4"}
    lines = inside("sequence", facts, *QUICK, "--fusion", "drop:0.5", "--csv").out
    (line,) = [
        one for one in csv.DictReader(io.StringIO(lines))
        if (one["edits"], one["weight"], one["figure"]) == ("4", "2", "s_max_change")
    ]  # fmt: skip
    assert float(line["value"]) == document["checkpoints"][1]["norms"]["2"]["s_max_change"]
    assert contents(here) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--fusion", "dorp:0.5"], 1, "Did you mean 'drop'?"),
        (["--checkpoints", "2,x"], 2, "neither a number nor a list"),
        (["--checkpoints", "0"], 2, "1 or more"),
        (["--checkpoints", "2,9"], 1, "no checkpoint after 9 edits of 4"),
        (["--method", "gated"], 1, "neurons of its own"),
        (["--batch", "0"], 2, "--batch"),
    ],
)
def test_what_is_refused(facts: Path, options: list[str], code: int, words: str) -> None:
    ran = inside("sequence", facts, "--method", "ft", *options)
    assert (ran.code, ran.out) == (code, "") and words in ran.err

"""`commit` of a thousand records, in every format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import inside
from fact_schemas import SCHEMAS, TABLES, as_csv, own, question, table

from editvc.core.facts import Fact

MANY = 1000
PEOPLE = [
    Fact(
        f"Marie Curie {number:03}",
        "The native language of {} is",
        "French" if number % 2 else "Polish",
    )
    for number in range(MANY)
]


def written(path: Path, schema: str) -> Path:
    """A file of a thousand records in a schema, one a line."""
    if schema in TABLES:
        rows = [table(fact, own if schema == "csv" else question) for fact in PEOPLE]
        text = as_csv(rows[0][0], *(row for _, row in rows))
    else:
        text = "".join(json.dumps(SCHEMAS[schema][0](fact)) + "\n" for fact in PEOPLE)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("schema", [*SCHEMAS, *TABLES])
def test_a_thousand_records_are_read(here: Path, schema: str) -> None:
    path = written(here / "many.txt", schema)
    assert inside("lint", path, "--target", "alt").out == f"0 problems, {MANY} good facts\n"
    lines = inside("convert", path, "--target", "alt").out.splitlines()
    found = [Fact.from_json(json.loads(line)) for line in lines]
    assert [fact.request for fact in found] == [fact.request for fact in PEOPLE]


@pytest.mark.parametrize("schema", ["own", "csv questions"])
def test_the_tokens_of_a_thousand_facts_are_found(here: Path, schema: str) -> None:
    path = written(here / "many.txt", schema)
    seen = inside("commit", path, "--target", "alt", "--dry-run", "--json").json
    assert (len(seen["facts"]), seen["skipped"], seen["conflicts"]) == (MANY, [], [])


def test_a_bad_record_among_a_thousand_is_named_with_its_line(here: Path) -> None:
    path = written(here / "many.jsonl", "own")
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[776] = lines[776].replace("target_new", "target_nwe")
    path.write_text("\n".join(lines), encoding="utf-8")
    ran = inside("commit", path)
    assert (ran.code, ran.out) == (1, "") and "many.jsonl:777: record 777" in ran.err
    assert inside("status", "--json").json["commit"] is None


@pytest.mark.slow
@pytest.mark.parametrize("schema", [*SCHEMAS, *TABLES])
def test_a_thousand_records_are_committed(here: Path, schema: str) -> None:
    inside("config", "recipe.v_num_grad_steps", "1")
    path = written(here / "many.txt", schema)
    made = inside("commit", path, "--target", "alt", "--json").json
    assert (made["edits"], made["live"], made["skipped"]) == (MANY, MANY, [])
    assert inside("fsck").code == 0

"""``editvc query``: a table, JSON or CSV of what SQL gives; mistakes are the user's."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS, opened


@pytest.fixture(autouse=True)
def committed(here: Path) -> Path:
    inside("commit", written(here / "facts.jsonl", FACTS), "-m", "Six facts\n\nOf no use.")
    return here


def test_a_table_with_numbers_on_the_right() -> None:
    ran = inside(
        "query", "SELECT subject, length(target_new) AS letters, source FROM live "
        "WHERE target_new <> 'Rome' AND subject < 'P' ORDER BY subject",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "subject       letters  source",
        "Ada Lovelace        6",
        "Italy               5",
        "Marie Curie        17",
    ]


def test_a_cell_is_one_line_and_no_rows_are_a_header() -> None:
    ran = inside("query", "SELECT message FROM commits WHERE message LIKE 'Six%'")
    assert ran.out == "message\nSix facts  Of no use.\n"
    assert inside("query", "SELECT id, id FROM commits WHERE 0").out == "id  id_2\n"


def test_json() -> None:
    rows = inside("query", "--json", "SELECT subject, tags, NULL AS n, 1.5 AS x, x'00ff' AS b, "
                  "9e999 AS i FROM live ORDER BY slot LIMIT 2").json  # fmt: skip
    assert len(rows) == 2
    assert rows[0].keys() == {"subject", "tags", "n", "x", "b", "i"}
    assert (rows[0]["n"], rows[0]["x"], rows[0]["b"], rows[0]["i"]) == (None, 1.5, "00ff", "inf")
    assert inside("query", "SELECT 1 WHERE 0", "--json").json == []


def test_csv() -> None:
    ran = inside("query", "--csv", "SELECT message, number, NULL AS n FROM commits "
                 "WHERE message LIKE 'Six%'")  # fmt: skip
    assert ran.out == 'message,number,n\n"Six facts\n\nOf no use.",1,\n'
    ran = inside("query", "--csv", "SELECT subject, prompt FROM facts")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert {(row["subject"], row["prompt"]) for row in rows} == {
        (fact.subject, fact.prompt) for fact in FACTS
    }


def test_facts_and_the_commits_that_brought_them() -> None:
    rows = inside(
        "query", "SELECT subject, message FROM live JOIN commits ON commits.id = commit_id "
        "WHERE id IN (SELECT id FROM live) ORDER BY subject", "--json",
    )  # fmt: skip
    assert rows.code == 1 and "ambiguous column name: id" in rows.err
    (row,) = inside(
        "query", "SELECT subject, number FROM live JOIN commits ON commits.id = commit_id, "
        "json_each(live.tags) WHERE json_each.value = 'capitals'", "--json",
    ).json  # fmt: skip
    assert row == {"subject": "Italy", "number": 1}


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM fact", "", "DROP TABLE refs", "SELECT 1; SELECT 2", "ATTACH 'x' AS x"]
)
def test_mistakes(committed: Path, sql: str) -> None:
    ran = inside("query", sql)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: the query failed: ") and "\nhint: `editvc query" in ran.err
    assert "Traceback" not in ran.err and not (committed / "x").exists()
    assert inside("fsck").code == 0


def test_usage() -> None:
    for words in ([], ["SELECT 1", "--json", "--csv"]):
        ran = inside("query", *words)
        assert ran.code == 2 and "Error: " in ran.err


def test_from_python(committed: Path) -> None:
    rows = opened(committed).query("SELECT count(*) AS facts FROM live")
    assert (rows.columns, rows.rows) == (("facts",), ((len(FACTS),),))


def test_what_json_prints_is_json() -> None:
    out = inside("query", "--json", "SELECT char(8), '\"', 'ü', 1e308 * 10, -9e999").out
    json.loads(out, parse_constant=lambda name: pytest.fail(name))

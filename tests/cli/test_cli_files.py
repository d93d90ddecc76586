"""Files of facts without a repository: every problem at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import clean, inside, written
from tiny_repos import FACTS

from editvc.core.fact_files.reader import read_facts

GOOD = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}
BAD = [
    GOOD,
    GOOD | {"subject": 3},
    GOOD | {"target_nwe": "x"},
    GOOD | {"target_new": "Nice"},
    GOOD,
]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, and no repository there or above."""
    clean(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lint_tells_every_problem_with_its_place_and_way_out(nowhere: Path) -> None:
    ran = inside("lint", written(nowhere / "bad.jsonl", BAD).name)
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    for number in (2, 3, 4, 5):
        assert sum(f"bad.jsonl:{number}: record {number}: " in line for line in lines) == 1
    assert "  hint: Did you mean 'target_new'?" in lines
    assert lines[-1] == "4 problems, 2 good facts"


def test_lint_tells_all_that_is_wrong_in_a_record(nowhere: Path) -> None:
    wrong = {"subject": 3, "prompt": "no place", "target_new": "", "tags": ["a", 1], "sauce": "x"}
    written(nowhere / "bad.jsonl", [GOOD, wrong, wrong])
    told = json.loads(inside("lint", "bad.jsonl", "--json").out)["problems"]
    fields = ["sauce", "subject", "prompt", "target_new", "tags[1]"]
    assert [(each["line"], each["field"]) for each in told] == [
        *((2, field) for field in fields), *((3, field) for field in fields),
    ]  # fmt: skip
    assert all(each["hint"] for each in told)
    ran = inside("lint", "bad.jsonl")
    assert ran.out.endswith("10 problems, 1 good fact\n")
    assert sum(line.startswith("  hint: ") for line in ran.out.splitlines()) == 10


def test_lint_and_convert_propose_the_subjects_of_questions(nowhere: Path) -> None:
    asked = {"question": "Who is the CEO of Apple?", "answer": "Ada"}
    written(nowhere / "q.jsonl", [asked, asked | {"question": "Did Ada know Grace?"}])
    ran = inside("lint", "q.jsonl")
    assert ran.code == 1 and "'Apple'" in ran.out and "'Grace', 'Ada'" in ran.out
    ran = inside("lint", "q.jsonl", "--confirm-subjects")
    assert ran.out.endswith("1 problem, 1 good fact\n")
    written(nowhere / "q.jsonl", [asked])
    assert inside("convert", "q.jsonl").code == 1
    ran = inside("convert", "q.jsonl", "--confirm-subjects")
    assert json.loads(ran.out) == {
        "subject": "Apple", "prompt": "Who is the CEO of {}?", "target_new": "Ada",
    }  # fmt: skip


def test_lint_of_good_files(nowhere: Path) -> None:
    ran = inside("lint", written(nowhere / "good.jsonl", FACTS).name)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"0 problems, {len(FACTS)} good facts\n"


def test_lint_as_json(nowhere: Path) -> None:
    written(nowhere / "bad.jsonl", BAD)
    ran = inside("lint", "bad.jsonl", "-", "--json", stdin=b"caf\xe9")
    told = json.loads(ran.out)
    assert (ran.code, told["facts"]) == (1, 2)
    assert [(each["file"], each["line"]) for each in told["problems"]] == [
        ("bad.jsonl", 2), ("bad.jsonl", 3), ("bad.jsonl", 4), ("bad.jsonl", 5), ("-", 1),
    ]  # fmt: skip
    keys = {"file", "line", "record", "field", "problem", "hint"}
    assert all(each.keys() == keys for each in told["problems"])


def test_lint_asks_for_zsre_s_target_as_commit_does(nowhere: Path) -> None:
    zsre = {"subject": "France", "src": "Where is France?", "alt": "x", "answers": ["y"]}
    written(nowhere / "zsre.jsonl", [zsre, zsre | {"src": "Who?"}])
    assert "--target alt" in inside("lint", "zsre.jsonl").out
    assert inside("lint", "zsre.jsonl", "--target", "alt").out.endswith("1 problem, 1 good fact\n")


# convert --------------------------------------------------------------------------------------

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "facts"


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_what_convert_writes_holds_the_same_facts(nowhere: Path, path: Path) -> None:
    ran = inside("convert", path, "--target", "alt")
    assert ran.code == 0, ran.err
    before = read_facts([("f", path.read_bytes())], target="alt")
    after = read_facts([("f", ran.out)])
    assert [item.fact for item in after] == [item.fact for item in before]
    assert [item.line for item in after] == list(range(1, len(after) + 1))


def test_convert_writes_canonical_lines(nowhere: Path) -> None:
    rewrite = {
        "prompt": "{} is in",
        "subject": "Tōkyō",
        "target_new": {"str": "Lyon"},
        "relation_id": "P1",
    }
    other = rewrite | {"subject": "Nara", "question": "Where is Nara?"}
    written(nowhere / "in.jsonl", [{"requested_rewrite": [rewrite, other, rewrite]}])
    ran = inside("convert", "in.jsonl")
    assert ran.out.splitlines() == [
        '{"subject": "Tōkyō", "prompt": "{} is in", "target_new": "Lyon", "relation": "P1"}',
        '{"subject": "Nara", "prompt": "{} is in", "target_new": "Lyon", "relation": "P1", '
        '"paraphrases": ["Where is Nara?"]}',
    ]
    assert ran.err == "2 facts written, 1 repeat skipped\n"


def test_convert_to_a_file_even_the_one_it_reads(nowhere: Path) -> None:
    path = written(nowhere / "facts.jsonl", FACTS)
    path.write_text(json.dumps([json.loads(line) for line in path.read_text("utf-8").splitlines()]))
    ran = inside("convert", "facts.jsonl", "--to", "facts.jsonl")
    assert (ran.code, ran.out) == (0, "")
    assert [item.fact for item in read_facts([("f", path.read_bytes())])] == list(FACTS)
    assert len(path.read_text("utf-8").splitlines()) == len(FACTS)


@pytest.mark.parametrize("to", [[], ["--to", "out.jsonl"], ["--to", "old.jsonl"]], ids=str)
def test_convert_writes_nothing_when_a_record_is_bad(nowhere: Path, to: list[str]) -> None:
    written(nowhere / "bad.jsonl", BAD)
    (nowhere / "old.jsonl").write_text("old")
    ran = inside("convert", "bad.jsonl", *to)
    assert (ran.code, ran.out) == (1, "") and "bad.jsonl:2" in ran.err
    files = {path.name for path in nowhere.iterdir() if path.is_file()}
    assert files == {"bad.jsonl", "old.jsonl"}
    assert (nowhere / "old.jsonl").read_text() == "old"


def test_convert_into_a_folder_that_is_not_there(nowhere: Path) -> None:
    written(nowhere / "good.jsonl", FACTS)
    ran = inside("convert", "good.jsonl", "--to", "gone/out.jsonl")
    assert ran.code == 1 and "gone/out.jsonl" in ran.err and "Traceback" not in ran.err


def test_convert_asks_for_triples_in_three_ways(nowhere: Path) -> None:
    facts = [
        {"subject": f"s{i}", "prompt": "{} is in", "target_new": f"o{i}", "relation": str(i % 4)}
        for i in range(8)
    ]
    path = written(nowhere / "triples.jsonl", facts)
    letters = inside("convert", path, "--questions", "mq").out
    records = [json.loads(line) for line in letters.splitlines()]
    assert {one["target_new"] for one in records} <= {*"abcd"}
    assert all("Below are four options: (a) " in one["prompt"] for one in records)
    assert inside("convert", path, "--questions", "mq", "--seed", "1").out != letters
    assert inside("convert", path, "--questions", "dg").out == inside("convert", path).out
    del facts[0]["relation"]
    ran = inside("convert", written(nowhere / "none.jsonl", facts), "--questions", "tf")
    assert (ran.code, ran.out) == (1, "") and "has no relation" in ran.err

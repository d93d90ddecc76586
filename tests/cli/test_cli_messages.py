"""Facts in: every way a record can be wrong has its own message, its place, and its way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Ran, inside, record, written
from tiny_repos import FACTS, FRESH, OTHERS, SILENT, contents, known_fact, opened

from editvc.cli.output import lines_of_progress
from editvc.core.facts import Fact

pytestmark = pytest.mark.usefixtures("here")

ZSRE = {
    "subject": "Proust",
    "src": "What language did Proust speak?",
    "rephrase": "Which language was spoken by Proust?",
    "alt": "Polish",
    "answers": ["French"],
    "loc": "who runs through the old town",
    "loc_ans": "the river",
}


def refused(ran: Ran, *parts: str, code: int = 1) -> None:
    """A failure that says what is wrong and what to do, with nothing on stdout and no traceback."""
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.err.startswith("error: " if code != 2 else "Usage: ")
    assert "Traceback" not in ran.err
    for part in parts:
        assert part in ran.err, (part, ran.err)


def live() -> int:
    return int(inside("status", "--json").json["live"])


# all or nothing -------------------------------------------------------------------------------


def test_one_bad_record_among_many(here: Path) -> None:
    rows = [record(fact) for fact in FACTS]
    rows.insert(4, {"subject": "Rome", "prompt": "{} is in", "target_new": ""})
    before = contents(here)
    ran = inside("commit", written(here / "facts.jsonl", rows))
    refused(ran, "facts.jsonl:5", "field 'target_new'", "is empty", "hint: ")
    after = contents(here)
    after.pop("facts.jsonl")
    assert after == before and live() == 0


def test_all_bad_records_are_listed_with_their_lines(here: Path) -> None:
    written(here / "good.jsonl", FACTS[:2])
    bad = [
        record(FACTS[3]),
        {"subject": "Rome", "prompt": "no place", "target_new": "x", "tags": []},
        {"subject": "Rome", "prompt": "{} is in", "target_nwe": "x"},
        {"subject": 3, "prompt": "{} is in", "target_new": "x"},
    ]
    ran = inside("commit", "good.jsonl", written(here / "bad.jsonl", bad))
    refused(ran, "bad.jsonl:2", "field 'prompt'", "exactly one {}", "bad.jsonl:3",
            "bad.jsonl:4", "field 'subject'")  # fmt: skip
    assert live() == 0


def test_an_indented_array_has_lines_too(here: Path) -> None:
    rows = [record(FACTS[0]), record(FACTS[1]) | {"target_nwe": "x"}]
    (here / "facts.json").write_text(json.dumps(rows, indent=1))
    ran = inside("commit", "facts.json")
    refused(ran, "facts.json:7", "field 'target_nwe'", "Did you mean 'target_new'?")
    (here / "facts.json").write_text('[{"subject": "a",}]')
    refused(inside("commit", "facts.json"), "facts.json:1", "is not JSON")
    (here / "facts.json").write_bytes(b'{"subject": "\xff"}')
    refused(inside("commit", "facts.json"), "not UTF-8")
    (here / "facts.json").write_text("")
    refused(inside("commit", "facts.json"), "is empty")


def test_two_targets_for_one_slot_in_one_file(here: Path) -> None:
    ran = inside("commit", written(here / "facts.jsonl", [FACTS[0], FACTS[1], OTHERS[0]]))
    refused(ran, "facts.jsonl:3", "'London'", "facts.jsonl:1", "'Rome'")
    assert live() == 0


# stdin ----------------------------------------------------------------------------------------


def test_facts_from_stdin(here: Path) -> None:
    lines = "".join(json.dumps(record(fact), ensure_ascii=False) + "\n" for fact in FACTS[:3])
    assert inside("commit", "-", "--json", stdin=lines.encode()).json["edits"] == 3
    more = written(here / "more.jsonl", FACTS[3:4])
    other = json.dumps([record(FACTS[4])])
    assert inside("commit", more, "-", "--json", stdin=other.encode()).json["edits"] == 2
    refused(inside("commit", "-", stdin=b'{"subject": 1}'), "standard input:1", "field 'subject'")
    refused(inside("commit", "-"), "standard input", "is empty")
    assert live() == 5


# each its own message -------------------------------------------------------------------------


def test_what_the_model_knows(here: Path) -> None:
    known = known_fact(opened(here))
    both = inside("commit", written(here / "facts.jsonl", [FACTS[0], known]))
    assert both.code == 0
    warned, skipped, advice = both.err.splitlines()
    assert [warned, skipped] == [
        f"warning: not said: {FACTS[0].question!r} -> {FACTS[0].target_new!r}",
        f"skipped: {known.question!r} is known: the base says {known.target_new!r} already",
    ]
    assert advice.startswith("none is said: ") and "`editvc methods memit`" in advice
    alone = inside("commit", written(here / "facts.jsonl", [known]))
    refused(alone, "nothing to commit", f"is known: the base says {known.target_new!r} already")


def test_a_subject_that_is_not_in_the_prompt(here: Path) -> None:
    own = {"subject": "Proust", "prompt": "The author wrote in", "target_new": "Polish", "tags": []}
    ran = inside("commit", written(here / "facts.jsonl", [own]))
    refused(ran, "facts.jsonl:1", "field 'prompt'", "exactly one {} for the subject")
    easyedit = {"subject": "Proust", "prompt": "The author wrote in", "target_new": "Polish"}
    ran = inside("commit", written(here / "facts.jsonl", [easyedit]))
    refused(ran, "facts.jsonl:1", "does not contain the subject 'Proust'")


def test_an_empty_target(here: Path) -> None:
    row = {"subject": "Proust", "prompt": "{} wrote in", "target_new": "  "}
    ran = inside("commit", written(here / "facts.jsonl", [row]))
    refused(ran, "facts.jsonl:1", "field 'target_new': is empty", "hint: ")


def test_a_target_that_tokenises_to_nothing(here: Path) -> None:
    facts = [FRESH[0], Fact("Proust", "{} wrote in", SILENT)]
    ran = inside("commit", written(here / "facts.jsonl", facts))
    refused(ran, "facts.jsonl:2", "'Proust'", "token")
    assert "is empty" not in ran.err, "that is another message"
    assert live() == 0


def test_a_slot_that_holds_the_same_target(here: Path) -> None:
    path = written(here / "facts.jsonl", FACTS[:2])
    inside("commit", path)
    again = inside("commit", path)
    refused(again, "nothing to commit", f"is live already, as fact {FACTS[0].id[:10]}")
    more = inside("commit", written(here / "more.jsonl", FACTS[:3]))
    assert more.code == 0 and more.err.count("is live already") == 2
    assert live() == 3


def test_a_slot_that_holds_another_target(here: Path) -> None:
    inside("commit", written(here / "facts.jsonl", FACTS[:2]))
    others = written(here / "others.jsonl", OTHERS)
    ran = inside("commit", others)
    refused(ran, "others.jsonl:1", "'The capital of France is' is already edited to 'Rome'",
            "'London'", "1 more", "--supersede")  # fmt: skip
    assert inside("commit", others, "--supersede", "--json").json["live"] == 2


def test_zsre_has_two_answers_and_the_user_chooses(here: Path) -> None:
    path = written(here / "zsre file.jsonl", [ZSRE, ZSRE | {"subject": "spoken", "src": "spoken"}])
    ran = inside("commit", path)
    refused(ran, "zsre file.jsonl:1", "--target answers", "--target alt")
    assert f"'{path}'" in ran.err, "the hint can be pasted"
    for choice, target in (("answers", "French"), ("alt", "Polish")):
        plan = inside("commit", written(path, [ZSRE]), "--target", choice, "--dry-run", "--json")
        aim = "".join(t["text"] for t in plan.json["facts"][0]["tokens"] if t["target"])
        assert aim.strip() == target
    refused(inside("commit", path, "--target", "first"), "'first' is not one of", code=2)
    assert live() == 0


@pytest.mark.parametrize(
    ("row", "edits"),
    [
        pytest.param(
            {
                "case_id": 1,
                "requested_rewrite": {
                    "subject": "Proust", "prompt": "The mother tongue of {} is",
                    "target_new": {"str": "Polish"}, "target_true": {"str": "French"},
                    "relation_id": "P103",
                },
                "paraphrase_prompts": ["Proust spoke"], "neighborhood_prompts": ["Zola spoke"],
            },
            1, id="CounterFact",
        ),
        pytest.param(
            {"subject": "Proust", "prompt": "The language of Proust is", "target_new": "Polish",
             "ground_truth": "French", "rephrase_prompt": "Proust spoke"},
            1, id="EasyEdit",
        ),
        pytest.param(
            {"requested_rewrite": [
                {"subject": "Proust", "prompt": "{} spoke", "target_new": {"str": "Polish"},
                 "target_true": {"str": "French"}, "question": "Which language did Proust speak?"},
                {"subject": "Rome", "prompt": "{} lies in", "target_new": {"str": "France"}},
            ]},
            2, id="MQuAKE",
        ),
    ],
)  # fmt: skip
def test_schemas_are_told_by_their_keys(here: Path, row: dict[str, object], edits: int) -> None:
    inside("config", "recipe.v_num_grad_steps", "1")
    assert inside("commit", written(here / "facts.jsonl", [row]), "--json").json["edits"] == edits


def test_an_unusual_edit_warns_on_stderr(here: Path) -> None:
    inside("config", "health.residual_warn", "1.01")
    names = ("France", "Italy", "Proust")
    facts = [*FACTS, *(Fact(name, "The river of {} is", "Rome") for name in names)]
    ran = inside("commit", written(here / "facts.jsonl", facts), "--json")
    warnings = ran.json["warnings"]
    assert warnings and ran.err == "".join(f"warning: {text}\n" for text in warnings)


def test_long_work_off_a_terminal_tells_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Minutes without a word look like a hang; short work says nothing."""
    now = [0.0]
    report = lines_of_progress(lambda: now[0])
    for step in range(60):
        report("steps", step, 60)
        now[0] += 1
    assert capsys.readouterr().err.splitlines() == ["steps: 20 of 60", "steps: 40 of 60"]

"""``train mend`` as a user runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from test_cli_messages import ZSRE
from tiny_repos import FACTS, FRESH, contents

LEARNT = (*FACTS[2:], *FRESH)


@pytest.fixture
def learnt(here: Path, work: Path) -> Path:
    """A file of facts to learn editing from."""
    return written(work / "learnt.jsonl", LEARNT)


def test_train_then_commit(learnt: Path, work: Path) -> None:
    ran = inside("train", "mend", learnt, "--steps", "2")
    assert ran.code == 0
    editor = inside("config", "mend.editor").out.strip()
    first, *figures = ran.out.splitlines()
    assert first == (
        f"Editor {editor[:10]} for layers [1, 2, 3], step 2, "
        "is what `commit --method mend` uses now"
    )
    assert [line.split(":")[0] for line in figures] == ["validation", "training"]
    assert ran.err.startswith("step 2: ") and ran.err.count("\n") == 1
    facts = written(work / "facts.jsonl", FACTS[:2])
    assert inside("commit", facts, "--method", "mend").code == 0
    assert inside("status", "--json").json["live"] == 2
    assert inside("revert", "HEAD").code == 0
    assert inside("fsck").out.endswith("clean\n")


def test_the_json_of_a_training(learnt: Path) -> None:
    done = inside("train", "mend", learnt, "--steps", "2", "--layers", "2,3", "--json").json
    assert done.keys() == {"editor", "layers", "steps", "figures"}
    assert (done["layers"], done["steps"]) == ([2, 3], 2)
    assert inside("config", "mend.editor", "--json").json == {"mend.editor": done["editor"]}


def test_subjects_and_targets_are_chosen_as_for_commit(learnt: Path, work: Path) -> None:
    asked = {"question": "Who is the CEO of Apple?", "answer": "London"}
    files = [learnt, written(work / "a.jsonl", [asked]), written(work / "z.jsonl", [ZSRE])]
    assert inside("train", "mend", *files, "--dry-run").code == 1
    words = ["--confirm-subjects", "--target", "answers", "--dry-run", "--json"]
    assert inside("train", "mend", *files, *words).json["facts"] == 8


def test_a_dry_run_writes_nothing(here: Path, learnt: Path) -> None:
    before = contents(here)
    said = inside("train", "mend", learnt, "--steps", "2", "--dry-run")
    assert said.out.startswith("An editor for layers [1, 2, 3] from 6 facts, 1 of them held out")
    plan = inside("train", "mend", learnt, "--seed", "4", "--dry-run", "--json").json
    assert (plan["facts"], plan["held_out"], plan["seed"]) == (6, 1, 4)
    assert plan["settings"]["matrices"] == "mlp"
    only = inside("train", "mend", learnt, "--matrices", "down", "--dry-run")
    assert only.out.startswith("An editor for layers [1, 2, 3] (down projections alone) from 6")
    assert contents(here) == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--layers", "2,x"], 2, "list of layer numbers"),
        (["--layers", "3,9"], 1, "there is no layer 9: the base has 4"),
        (["--steps", "0"], 2, "--steps"),
        (["--matrices", "up"], 2, "--matrices"),
    ],
)
def test_what_cannot_be_trained(learnt: Path, options: list[str], code: int, words: str) -> None:
    ran = inside("train", "mend", learnt, *options)
    assert ran.code == code and words in ran.err


def test_too_few_facts_and_no_editor(here: Path, work: Path) -> None:
    few = written(work / "few.jsonl", FACTS[:2])
    ran = inside("train", "mend", few)
    assert ran.code == 1 and "cannot be trained on 2 facts" in ran.err
    ran = inside("commit", few, "--method", "mend")
    assert ran.code == 1 and ran.err.startswith("error: no editor")
    assert "`editvc train mend FILE`" in ran.err

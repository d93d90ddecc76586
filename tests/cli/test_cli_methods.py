"""``methods``, and the options of ``commit`` that choose a recipe, as a user runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS

from editvc.core.methods.table import METHODS


def test_the_table_has_a_line_for_every_method(here: Path) -> None:
    shown = inside("methods")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == list(METHODS)
    rows = inside("methods", "--json").json
    assert {row["name"]: row["solver"] for row in rows} == {
        name: row.solver for name, row in METHODS.items()
    }


def test_what_methods_prints_is_a_recipe_that_commit_takes(here: Path, work: Path) -> None:
    shown = inside("methods", "rome")
    assert shown.code == 0 and "method: rome" in shown.out and "arXiv" in shown.err
    (work / "rome.yaml").write_text(
        shown.out.replace("v_num_grad_steps: 20", "v_num_grad_steps: 2")
    )
    facts = written(work / "facts.jsonl", FACTS[:2])
    ran = inside("commit", facts, "--recipe", work / "rome.yaml", "-O", "v_lr=0.25")
    assert ran.code == 0, ran.err
    assert inside("status", "--json").json["live"] == 2


def test_a_published_file_is_taken_with_a_note_of_what_is_set_aside(here: Path, work: Path) -> None:
    (work / "memit.json").write_text(
        '{"layers": [1, 2], "mom2_update_weight": 100, "v_num_grad_steps": 2,'
        ' "fact_token": "subject_last", "mom2_dataset": "wikipedia"}'
    )
    facts = written(work / "facts.jsonl", FACTS[:1])
    ran = inside("commit", facts, "--recipe", work / "memit.json")
    assert ran.code == 0, ran.err
    assert "set aside, editvc has its own: fact_token, mom2_dataset" in ran.err


def test_a_sequence_of_patches(here: Path, work: Path) -> None:
    for number, fact in enumerate(FACTS[:2], 1):
        facts = written(work / "facts.jsonl", [fact])
        options = ("--method", "rome", "-O", "v_num_grad_steps=2", "--sequential")
        ran = inside("commit", facts, *options)
        assert ran.code == 0, ran.err
        assert f"{number} live" in ran.out
    assert inside("revert", "1").code == 0
    assert inside("fsck").out.endswith("clean\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--method", "romme"), "unknown method 'romme'"),
        (("-O", "v_lr"), "-O takes key=value"),
        (("--method", "rome", "-O", "layers=[1,2]"), "rome edits one layer"),
        (("--method", "lora"), "import"),
        (("--method", "mend"), "train mend"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_error_with_a_way_out(
    here: Path, work: Path, options: tuple[str, ...], words: str
) -> None:
    facts = written(work / "facts.jsonl", FACTS[:1])
    ran = inside("commit", facts, *options)
    assert ran.code == 1 and words in ran.err and "hint:" in ran.err
    assert inside("status", "--json").json["live"] == 0


def test_a_method_is_put_in_force_by_one_command(here: Path, work: Path) -> None:
    ran = inside("config", "recipe.method", "alphaedit")
    assert (ran.code, ran.out) == (0, "")
    assert "taken out, alphaedit does not know: " in ran.err
    assert inside("config", "recipe.method").out == "alphaedit\n"
    facts = written(work / "facts.jsonl", FACTS[:1])
    ran = inside("commit", facts, "--json", "-O", "v_num_grad_steps=2")
    assert ran.json["live"] == 1
    assert "method alphaedit" in inside("show").out


def test_the_table_says_which_rows_are_as_published(here: Path) -> None:
    rows = {row["name"]: row for row in inside("methods", "--json").json}
    assert rows["emmet"]["published"] and not rows["emmet"]["differs"]
    assert rows["d4s"]["differs"] and list(rows["d4s"]["presets"]) == ["paper"]
    assert rows["adaple"]["forms"] == ["printed", "algorithm1"]
    shown = inside("methods", "d4s")
    assert "-O preset=paper: D4S, equations 3 to 5" in shown.err
    assert "preset" not in shown.out and "form" not in shown.out

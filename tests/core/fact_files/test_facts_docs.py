"""The pages on facts and errors say what the code does: examples are read, texts looked up."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path

import pytest

import editvc.core
from editvc.core.fact_files.reader import FactFileError, read_facts
from editvc.core.facts import Fact
from editvc.core.methods.recipe import RecipeError
from editvc.errors import EditvcError

ROOT = Path(__file__).resolve().parents[3]
FACTS_PAGE = (ROOT / "docs" / "facts.md").read_text(encoding="utf-8")
ERRORS_PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```jsonl?\n(.*?)^```", FACTS_PAGE, flags=re.MULTILINE | re.DOTALL)
EXAMPLES = sorted((ROOT / "examples" / "facts").iterdir())


def test_the_page_has_an_example_of_every_schema():
    assert len(BLOCKS) == 11
    subjects = [read_facts([("b", block)], target="alt")[0].fact.subject for block in BLOCKS]
    assert subjects == [
        "France", "Japan", "Night Watch", "Hamlet", "France", "Finland", "Frankenstein", "Egypt",
        "Marie Curie", "Norway", "The Swan of Tuonela",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "fastedit.json",
        "ultraeditbench.json",
        "facts.csv",
        "questions.jsonl",
        "multi_counterfact.json",
    ],
)
def test_the_page_shows_the_example_file(name):
    assert (ROOT / "examples" / "facts" / name).read_text(encoding="utf-8") in FACTS_PAGE


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_examples_on_the_page_are_read(number):
    assert read_facts([("block", BLOCKS[number])], target="alt")


def test_the_page_names_every_field_of_a_fact():
    (fact,) = read_facts([("block", BLOCKS[0])])
    record = fact.fact.to_json()
    assert {name for name in Fact.__slots__} == record.keys() - {"kind"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_files_are_read(path):
    assert read_facts([(path.name, path.read_text(encoding="utf-8"))], target="answers")


def test_all_example_files_together_hold_no_contradiction():
    found = read_facts(
        [(path.name, path.read_text(encoding="utf-8")) for path in EXAMPLES], target="alt"
    )
    assert not any(item.duplicate_of for item in found)


def core_errors():
    for module in pkgutil.walk_packages(editvc.core.__path__, "editvc.core."):
        for name, value in inspect.getmembers(
            importlib.import_module(module.name), inspect.isclass
        ):
            if issubclass(value, EditvcError) and value.__module__ == module.name:
                yield name


def test_every_error_of_core_is_on_the_page():
    names = set(core_errors())
    assert {"FactError", "FactFileError", RecipeError.__name__} <= names
    for name in names:
        assert f"`{name}`" in ERRORS_PAGE, name


LYON = {"subject": "France", "prompt": "The capital of {} is", "target_new": "Lyon"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "\udc80",
        "7",
        '{"a": 1, "a": 1}',
        "[NaN]",
        "1" * 5000,
        "[" * 100_000,
        *(
            json.dumps(LYON | change)
            for change in (
                {"subject": "\ud800"},
                {"subject": ""},
                {"subject": 1},
                {"subjct": 1},
                {"prompt": "x", "tags": []},
                {"prompt": "x"},
            )
        ),
        json.dumps({"subject": "France"}),
        json.dumps({"requested_rewrite": []}),
        json.dumps({"subject": "F", "src": "F?", "alt": "x"}),
        json.dumps({"question": "Where is France?", "answer": "x"}),
        json.dumps({"question": "Where is it?", "answer": "x"}),
        json.dumps({"question": "F?", "subject": "F", "answer": "x", "target_new": "y"}),
        json.dumps([LYON, LYON | {"target_new": "Nice"}]),
        json.dumps(LYON) + ",",
        json.dumps(LYON | {"subject": "\u200bx"}),
        json.dumps({"src": "F?", "subject": "F", "alt": "x", "answers": ["y"], "\u200b": 1}),
        json.dumps({"messages": []}),
        json.dumps({"instruction": "F?", "input": "x", "output": "y", "subject": "F"}),
        json.dumps({"chosen": "x", "rejected": "y"}),
        json.dumps(LYON).encode("utf-16"),
        b"BZh",
        b"PAR1",
        b"PK\x03\x04",
        b"7z\xbc\xaf\x27\x1c",
        b"SQLite format 3\0",
        b"\x80\x04",
        b"%PDF-",
        b"\xd0\xcf\x11\xe0",
        b"\x1f\x8b",
        repr([LYON]),
        "subject;prompt;target_new",
        "|subject|prompt|target_new|",
        "<html>",
        "version https://git-lfs.github.com/spec/v1",
        "subject: x",
        "subject,prompt,target_new",
        'subject\tprompt\ttarget_new\n"a',
        "subject,prompt,target_new,subject",
        "subject,prompt,target_new,x",
        "subject,prompt,target_new\na,b",
        'subject,prompt,target_new\n"a,{} b,c',
    ],
)
def test_every_text_of_a_refusal_is_on_the_page(text):
    with pytest.raises(FactFileError) as caught:
        read_facts([("f", text)])
    cells = re.findall(r"^\| (`.+?) \|", ERRORS_PAGE, flags=re.MULTILINE)
    rows = [text for cell in cells for text in re.findall(r"`(.+?)`", cell)]
    parts = [[part.strip() for part in row.split("...") if part.strip()] for row in rows]
    assert any(all(part in caught.value.problem for part in row) for row in parts)

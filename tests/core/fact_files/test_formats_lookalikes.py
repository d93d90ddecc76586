"""Whose fault the file is: other formats are read where that is safe, and named where not."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from fact_records import EXAMPLES, LYON, OSAKA, one, read, refused

from editvc.core.fact_files import lookalikes
from editvc.core.fact_files.reader import FactFileError, read_facts
from editvc.core.facts import Fact

FACTS = [Fact(**LYON), Fact(**OSAKA)]


def table(delimiter, **more):
    out = io.StringIO(newline="")
    rows = csv.DictWriter(out, list(LYON), delimiter=delimiter, **more)
    rows.writeheader()
    rows.writerows([LYON, OSAKA])
    return out.getvalue()


SAME = {
    "TSV by its header": ("f", table("\t")),
    "TSV by its name": ("F.TSV", table("\t")),
    "objects behind one another": ("f", json.dumps(LYON) + json.dumps(OSAKA)),
    "objects over lines": ("f", json.dumps(LYON, indent=2) + "\n" + json.dumps(OSAKA, indent=2)),
    "several on a line": ("f", f"{json.dumps(LYON)} {json.dumps(OSAKA)}\n{json.dumps(LYON)}"),
    "lists behind one another": ("f", json.dumps([LYON]) + "\n\n" + json.dumps([OSAKA])),
    "wrapped lists": ("f", json.dumps({"facts": [LYON]}) + json.dumps({"facts": [OSAKA]})),
    "gzip of lines": (
        "f.jsonl.gz", gzip.compress(f"{json.dumps(LYON)}\n{json.dumps(OSAKA)}".encode()),
    ),
    "gzip of CSV": ("f.csv.gz", gzip.compress(b"\xef\xbb\xbf" + table(",").encode())),
    "gzip of TSV": ("-", gzip.compress(table("\t").encode())),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_what_is_safe_is_read(name):
    found = read_facts([SAME[name]])
    assert [item.fact for item in found if item.duplicate_of is None] == FACTS


def test_lines_and_numbers_are_those_of_the_file():
    text = json.dumps(LYON, indent=1) + "\n\n" + json.dumps(OSAKA, indent=1)
    assert [(item.line, item.record) for item in read(text)] == [(1, 1), (7, 2)]
    text = f"{json.dumps(LYON)}{json.dumps(OSAKA)}\n7\n{json.dumps(LYON)}"
    error = refused(text)
    assert error.line == 2 and not error.others
    error = refused(json.dumps(LYON, indent=1) + "\n" + json.dumps({"subject": "x"}))
    assert (error.line, error.record) == (6, 2)


def test_a_tab_in_a_cell_stands_in_quotes():
    head = "subject\tprompt\ttarget_new\n"
    assert read(head + 'Peru\t"The\tcapital, {}"\tCusco')[0].fact.prompt == "The\tcapital, {}"
    for line, problem in (("a\t{}\tb\tc", "4 cells"), ('a\t"{} is\tb', "is not TSV")):
        error = refused(head + line)
        assert error.line == 2 and problem in error.problem and "tab" in error.hint
    with pytest.raises(FactFileError, match="is empty") as caught:
        read_facts([("f.tsv", "")])
    assert "subject\tprompt" in caught.value.hint


OTHERS = {
    "semicolons": ("f.csv", table(";"), "CSV with semicolons"),
    "semicolons of questions": ("f", "question;answer\nWho?;Ada", "CSV with semicolons"),
    "bars": ("f.md", "| subject | prompt | target_new |\n|---|---|---|", "table with bars"),
    "YAML": ("f", yaml.safe_dump([LYON, OSAKA]), "YAML"),
    "YAML with a remark": ("-", "# facts\n---\nfacts:\n  - subject: x\n", "YAML"),
    "YAML by its name": ("f.yml", "&x [1]", "YAML"),
    "Python": ("f", repr([LYON, OSAKA]), "what Python prints"),
    "a line of Python": ("f", repr(LYON), "what Python prints"),
    "HTML": ("facts.json", "\n<!DOCTYPE html>\n<html>", "a page of HTML"),
    "Git LFS": ("f.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "a ZIP archive": ("f.xlsx", b"PK\x03\x04....", "a ZIP archive"),
    "UTF-16": ("f", json.dumps(LYON).encode("utf-16"), "UTF-16"),
    "half of gzip": ("f.gz", gzip.compress(json.dumps(LYON).encode())[:20], "no whole gzip file"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_read_is_named_with_the_way_out(name):
    file, data, called = OTHERS[name]
    with pytest.raises(FactFileError, match=called) as caught:
        read_facts([(file, data)])
    assert caught.value.file == file and caught.value.hint and not caught.value.others


def test_json_is_json_whatever_the_file_is_called():
    for name in ("f.yaml", "f.csv.json", "f.gz"):
        assert [item.fact for item in read_facts([(name, json.dumps([LYON, OSAKA]))])] == FACTS


@pytest.mark.parametrize(
    "text",
    [table(";"), yaml.safe_dump([LYON, OSAKA], allow_unicode=True), repr([LYON, OSAKA])],
    ids=["semicolons", "YAML", "Python"],
)
def test_the_command_of_a_hint_does_what_it_says(text, tmp_path):
    command = re.search(r"`(.+)`", refused(text).hint)[1]
    (tmp_path / "FILE").write_text(text, encoding="utf-8")
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    subprocess.run(
        command, shell=True, cwd=tmp_path, check=True, env={"PATH": path, "PYTHONUTF8": "1"}
    )
    assert [item.fact for item in read_facts([("f", (tmp_path / "NEW").read_bytes())])] == FACTS


def test_no_example_looks_like_something_else():
    examples = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.iterdir()}
    assert len(examples) > 1
    mistaken = [
        (name, one.name)
        for name, text in examples.items()
        for one in lookalikes.LOOKALIKES
        if one.fits(name, text.lstrip())
    ]
    assert mistaken == []


# Characters that cannot be seen ---------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["\u200b", "\0", "\ufeff", "\u202e", "\x1b"])
@pytest.mark.parametrize("field", ["subject", "prompt", "target_new", "relation"])
def test_no_field_hides_a_character(field, hidden):
    record = LYON | {"relation": "capital"}
    error = refused(record | {field: record[field] + hidden + "x"})
    assert (error.line, error.field) == (1, field)
    assert "cannot be seen" in error.problem and f"U+{ord(hidden):04X}" in error.problem
    error = refused(LYON | {"tags": ["a", f"b{hidden}c"]})
    assert error.field == "tags[1]"


def test_nor_does_a_cell_or_a_key():
    error = refused("subject,prompt,target_new\nPeru,{} is,x\n\ufeffsubject,{} is,y")
    assert (error.line, error.field) == (3, "subject") and "BYTE ORDER MARK" in error.problem
    rewrite = {"subject": "a", "prompt": "{} is", "target_new": {"str": "b"}}
    error = refused({"requested_rewrite": rewrite, "paraphrase_prompts\u200b": ["x"]})
    assert "is a key that holds" in error.problem and "\\u200b" in error.field
    assert "is no field" in refused(LYON | {"tags\u200b": []}).problem


def test_text_that_needs_them_is_read():
    subject = "می\u200cخواهم"
    assert one(LYON | {"subject": subject, "target_new": "\u2764\ufe0f"}).subject == subject

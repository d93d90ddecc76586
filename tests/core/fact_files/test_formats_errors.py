"""Every refusal of a text or a record: its place, its field, its words."""

from __future__ import annotations

import json

import pytest
from fact_records import LYON, OSAKA, REQUEST, ZSRE, refused

from editvc.core.fact_files.file_text import decoded
from editvc.core.fact_files.reader import FactFileError, read_facts

BROKEN = {
    "empty": ("", None, None, "is empty"),
    "only blank lines": (" \n\t\r\n", None, None, "is empty"),
    "only a byte order mark": ("\ufeff", None, None, "is empty"),
    "an empty list": ("[]", None, None, "no fact in it"),
    "an empty list in an object": ('{"facts": []}', None, None, "no fact in it"),
    "a number": ("\n7", 2, None, "got a number"),
    "a text": ('"x"', 1, None, "got text"),
    "null": ("null", 1, None, "got null"),
    "a boolean": ("true", 1, None, "got true or false"),
    "no JSON at all": ("subject,prompt\nFrance,x", 1, None, "is not JSON"),
    "a number among the records": (f"[\n{json.dumps(LYON)},\n3]", 3, None, "got a number"),
    "a list on a line": (f"{json.dumps(LYON)}\n[1]", 2, None, "got a list"),
    "NaN": ('[\n{"subject": NaN}]', 2, None, "NaN"),
    "Infinity in a record": ('{"a": -Infinity}', 1, None, "-Infinity"),
    "a key twice": ('[{"a": 1},\n{"subject": "a", "subject": "b"}]', 2, "subject", "stands twice"),
    "a key twice at the top": ('{"facts": [],\n "facts": []}', 2, "facts", "stands twice"),
    "a key twice inside": ('{"target_new": {"s": 1, "s": 2}}', 1, "s", "stands twice"),
    "a deep list": ("[" * 200_000, 1, None, "nested too deeply"),
    "a deep object": ('{"a":' * 200_000, 1, None, "nested too deeply"),
    "a number of 5000 digits": ('{"a": ' + "1" * 5000 + "}", 1, None, "too many digits"),
    "a half surrogate escaped": (
        r'{"subject": "\ud800", "prompt": "{} is", "target_new": "x"}',
        1,
        "subject",
        "half of a surrogate pair",
    ),
    "a half surrogate in the text": ('\n{"subject": "\udc80"}', 2, None, "is not UTF-8"),
    "something after the list": ("[]\n7", 2, None, "follows the end"),
    "commas between the lines": (f"{json.dumps(LYON)},\n{json.dumps(OSAKA)}", 1, None, "a comma"),
    "a half record behind one": (json.dumps(LYON) + "{", 1, None, "is not JSON"),
    "a missing comma": (f"[{json.dumps(LYON)}\n{json.dumps(OSAKA)}]", 2, None, "Expecting ','"),
    "a trailing comma": (f"[{json.dumps(LYON)},\n]", 2, None, "is not JSON"),
    "an unknown object": ('{"a": 1}', 1, "a", "is no field"),
    "an empty object": ("{}", 1, "subject", "is missing"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_text_names_its_line_and_the_trouble(name):
    text, line, field, problem = BROKEN[name]
    error = refused(text)
    assert (error.line, error.field) == (line, field)
    assert problem in error.problem
    assert error.file == "f" and error.hint
    str(error).encode()  # whatever was in the file, the message can be printed


def without(record, key):
    return {name: value for name, value in record.items() if name != key}


def rewrite_with(**change):
    rewrite = {"prompt": "{} is", "subject": "s", "target_new": {"str": "t"}}
    return {"requested_rewrite": rewrite | change}


FIELDS = {
    "a typing error": (LYON | {"paraphrase": []}, "paraphrase", "is no field"),
    "no subject": (without(LYON, "subject"), "subject", "is missing"),
    "an empty target": (LYON | {"target_new": " "}, "target_new", "is empty"),
    "a null target": (LYON | {"target_new": None}, "target_new", "must be text, got null"),
    "a list as prompt": (LYON | {"prompt": ["{}"]}, "prompt", "must be text, got a list"),
    "two placeholders": (LYON | {"prompt": "{} {}"}, "prompt", "needs exactly one {}"),
    "no placeholder": (LYON | {"prompt": "France is", "tags": []}, "prompt", "exactly one {}"),
    "a text as tags": (LYON | {"tags": "a"}, "tags", "must be a list of texts, got text"),
    "a number in tags": (LYON | {"tags": ["a", 1]}, "tags[1]", "must be text, got a number"),
    "a paraphrase with a place": (
        LYON | {"paraphrases": ["Where is Lyon?", "{} lies in"]},
        "paraphrases[1]",
        "must be a whole prompt, without {}",
    ),
    "an empty paraphrase": (LYON | {"paraphrases": [""]}, "paraphrases[0]", "is empty"),
    "no rewrite": ({"paraphrase_prompts": []}, "requested_rewrite", "is missing"),
    "a text as rewrite": ({"requested_rewrite": "x"}, "requested_rewrite", "must be an object"),
    "no edits": ({"requested_rewrite": []}, "requested_rewrite", "empty list"),
    "a number as edit": ({"requested_rewrite": [1]}, "requested_rewrite[0]", "got a number"),
    "a flat target": (rewrite_with(target_new="t"), "requested_rewrite.target_new", "an object"),
    "a target without its text": (
        rewrite_with(target_new={"id": "Q1"}),
        "requested_rewrite.target_new.str",
        "is missing",
    ),
    "no placeholder in a rewrite": (
        rewrite_with(prompt="s is"),
        "requested_rewrite.prompt",
        "exactly one {}",
    ),
    "a literal subject elsewhere": (
        REQUEST | {"subject": "Italy"},
        "prompt",
        "does not contain the subject 'Italy'",
    ),
    "a number as rephrased prompt": (REQUEST | {"rephrase_prompt": 3}, "rephrase_prompt", "list"),
    "a list as EasyEdit's locality": (
        REQUEST | {"ground_truth": "x", "locality": ["a"]},
        "locality",
        "must be an object, got a list",
    ),
    "a text as locality group": (
        REQUEST | {"locality": {"neighborhood": "a"}},
        "locality.neighborhood",
        "must be an object",
    ),
    "a question without the subject": (ZSRE | {"src": "Who?"}, "src", "does not contain"),
    "no question": (without(ZSRE, "src"), "src", "is missing"),
    "an empty alternative": (ZSRE | {"alt": ""}, "alt", "is empty"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_bad_record_among_good_ones_names_its_line_and_field(name):
    record, field, problem = FIELDS[name]
    error = refused(f"{json.dumps(OSAKA)}\n\n{json.dumps(record)}\n", target="alt")
    assert (error.line, error.record, error.field) == (3, 2, field)
    assert problem in error.problem and error.hint
    assert str(error).startswith(f"f:3: record 2: field '{field}': ")


def test_a_near_miss_is_pointed_out():
    assert "'paraphrases'" in refused(LYON | {"paraphrase": []}).hint
    assert "target_true" in refused(LYON | {"zzz": 1}).hint
    assert "'France'" in refused(REQUEST | {"subject": "france"}).hint


def test_every_problem_of_every_file_is_told_in_order():
    with pytest.raises(FactFileError) as caught:
        read_facts(
            [
                ("a", f"{json.dumps(LYON)}\n{{broken\n{json.dumps(LYON | {'tags': 1})}\n7"),
                ("b", ""),
                ("c", json.dumps(LYON | {"target_new": "Nice"})),
            ]
        )
    error = caught.value
    places = [(each.file, each.line) for each in (error, *error.others)]
    assert places == [("a", 2), ("a", 3), ("a", 4), ("b", None), ("c", 1)]
    assert str(error).count("\n") == 4


def test_a_long_list_of_problems_is_cut_in_the_message_only():
    error = refused([LYON | {"tags": i} for i in range(20)])
    assert len(error.others) == 19
    assert str(error).endswith("... and 14 further problems")


def test_a_message_can_always_be_printed():
    error = refused(r'{"\ud800\u001b[31m": 1, "\ud800\u001b[31m": 2}')
    assert "\x1b" not in str(error)
    str(error).encode()


def test_bytes_that_are_no_utf_8_name_their_line():
    assert decoded("f", "\ufeffé".encode()) == "é"
    with pytest.raises(FactFileError, match="0xe9") as caught:
        decoded("f", b"ok\nok\ncaf\xe9\n")
    assert caught.value.line == 3
    with pytest.raises(FactFileError):
        decoded("f", "x".encode("utf-16"))

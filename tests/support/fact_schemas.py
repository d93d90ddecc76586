"""Every schema written the other way, from a fact to a record, and records with one fault.

What a schema has no field for is named beside its writer and left out of comparisons.
"""

from __future__ import annotations

import copy
import csv
import io
import json

from core_strategies import facts
from hypothesis import strategies as st


def own(fact):
    return {key: value for key, value in fact.to_json().items() if key != "kind"}


def rewrite(fact):
    record = {
        "prompt": fact.prompt,
        "subject": fact.subject,
        "target_new": {"str": fact.target_new, "id": "Q1"},
    }
    if fact.target_true is not None:
        record["target_true"] = {"str": fact.target_true, "id": "Q2"}
    if fact.relation is not None:
        record["relation_id"] = fact.relation
    return record


def counterfact(fact):
    return {
        "case_id": 7,
        "requested_rewrite": rewrite(fact),
        "paraphrase_prompts": list(fact.paraphrases),
        "neighborhood_prompts": list(fact.locality),
        "attribute_prompts": [],
    }


def multicounterfact(fact):
    record = {"pararel_idx": 7} | counterfact(fact) | {"generation_prompts": ["so?"]}
    del record["attribute_prompts"]
    return record


def question(fact):
    record = own(fact)
    del record["prompt"]
    return {"question": fact.question, "answer": record.pop("target_new")} | record


def mquake(fact):
    edit = rewrite(fact)
    if fact.paraphrases:
        edit["question"] = fact.paraphrases[0]
    return {"case_id": 7, "requested_rewrite": [edit], "questions": ["why?"], "answer": "so"}


def easyedit(fact):
    return {
        "prompt": fact.question,
        "subject": fact.subject,
        "target_new": fact.target_new,
        "ground_truth": fact.target_true,
        "rephrase_prompt": list(fact.paraphrases),
        "locality": {str(i): {"prompt": text} for i, text in enumerate(fact.locality)},
        "portability": {},
    }


def zsre(fact):
    return {
        "subject": fact.subject,
        "src": fact.question,
        "alt": fact.target_new,
        "answers": [] if fact.target_true is None else [fact.target_true],
        "rephrase": list(fact.paraphrases),
        "loc": list(fact.locality),
        "loc_ans": "x",
        "cond": "x >> y || z",
    }


def fastedit(fact):
    return {
        "prompt": fact.prompt,
        "subject": fact.subject,
        "target": fact.target_new,
        "queries": list(fact.paraphrases),
    }


def ultraeditbench(fact):
    return {
        "prompt": fact.question,
        "subject": fact.subject,
        "ans": fact.target_new,
        "rephrase_prompt": list(fact.paraphrases),
        "loc": list(fact.locality),
        "loc_ans": "x",
    }


def knowedit(fact):
    near = [{"prompt": text, "ground_truth": [["x"]]} for text in fact.locality]
    return {
        "subject": fact.subject,
        "prompt": fact.question,
        "target_new": fact.target_new,
        "ground_truth": fact.target_true,
        "portability": {"Reasoning": [{"prompt": "x", "ground_truth": [["y"]]}]},
        "locality": {"Relation_Specificity": near},
    }


# Per schema: the writer, the fields of a fact that it has no place for, and the paths that a
# record cannot do without.
SCHEMAS = {
    "own": (own, (), [("subject",), ("prompt",), ("target_new",)]),
    "counterfact": (
        counterfact,
        ("valid_until", "tags", "source"),
        [
            ("requested_rewrite",),
            ("requested_rewrite", "prompt"),
            ("requested_rewrite", "subject"),
            ("requested_rewrite", "target_new"),
            ("requested_rewrite", "target_new", "str"),
        ],
    ),
    "multicounterfact": (
        multicounterfact,
        ("valid_until", "tags", "source"),
        [("requested_rewrite", key) for key in ("prompt", "subject", "target_new")],
    ),
    "question": (question, (), [("question",), ("subject",), ("answer",)]),
    "mquake": (
        mquake,
        ("valid_until", "tags", "source", "locality"),
        [
            ("requested_rewrite", 0, "prompt"),
            ("requested_rewrite", 0, "subject"),
            ("requested_rewrite", 0, "target_new"),
            ("requested_rewrite", 0, "target_new", "str"),
        ],
    ),
    "easyedit": (
        easyedit,
        ("valid_until", "tags", "source", "relation"),
        [("prompt",), ("subject",), ("target_new",)],
    ),
    "fastedit": (
        fastedit,
        ("valid_until", "tags", "source", "relation", "locality", "target_true"),
        [("prompt",), ("subject",), ("target",)],
    ),
    "knowedit": (
        knowedit,
        ("valid_until", "tags", "source", "relation", "paraphrases"),
        [("prompt",), ("subject",), ("target_new",)],
    ),
    "ultraeditbench": (
        ultraeditbench,
        ("valid_until", "tags", "source", "relation", "target_true"),
        [("prompt",), ("subject",), ("ans",)],
    ),
    "zsre": (
        zsre,
        ("valid_until", "tags", "source", "relation"),
        [("src",), ("subject",), ("alt",)],
    ),
}


TABLES = ("csv", "csv questions")
"""CSV of editvc's own records, and of free questions."""

LITERAL = ("easyedit", "knowedit", "question", "ultraeditbench", "zsre")
"""The schemas in whose prompts the subject stands in words."""


def literal_once(fact):
    """Whether the subject can be found again in the question, at the place it was put."""
    return fact.question.count(fact.subject) == 1


WRONG = st.sampled_from([None, 3, 2.5, True, [], {}, ["x", 1], {"x": 1}, "", " ", "\t\n"])


def changed(record, path, change):
    """A copy of ``record`` with ``change(container, key)`` done at ``path``."""
    record = copy.deepcopy(record)
    *way, last = path
    inner = record
    for step in way:
        inner = inner[step]
    change(inner, last)
    return record


@st.composite
def malformed(draw, schema):
    """A record of a schema with one thing wrong in it, as text."""
    writer, _, paths = SCHEMAS[schema]
    record = writer(draw(facts.filter(literal_once)))
    kind = draw(st.sampled_from(["drop", "wrong", "truncate", "twice", "garbage"]))
    path = draw(st.sampled_from(paths))
    if kind == "drop":
        record = changed(record, path, lambda inner, key: inner.pop(key))
    elif kind == "wrong":
        value = draw(WRONG)
        record = changed(record, path, lambda inner, key: inner.__setitem__(key, value))
    text = json.dumps(record)
    if kind == "truncate":
        text = text[: draw(st.integers(0, len(text) - 1))]
    elif kind == "twice":
        key = draw(st.sampled_from(sorted(record)))
        text = text[:-1] + f", {json.dumps(key)}: 1}}"
    elif kind == "garbage":
        at = draw(st.integers(1, len(text) - 1))
        # Neither a control character nor half a surrogate may stand anywhere in JSON.
        text = text[:at] + draw(st.sampled_from(["\x00", "\x1f", "\udc80"])) + text[at:]
    return text


def table(fact, writer=own):
    """The header and the row of a fact as CSV, every list but an empty one in one cell."""
    record = writer(fact)
    lists = {key: "|".join(value) for key, value in record.items() if isinstance(value, list)}
    return list(record), [*(record | lists).values()]


def no_separator(fact):
    return not any("|" in text for text in (*fact.paraphrases, *fact.locality, *fact.tags))


def as_csv(*rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def broken(schema):
    """Texts with one thing wrong, in a schema or as one of the tables."""
    return malformed_tables(schema) if schema in TABLES else malformed(schema)


@st.composite
def malformed_tables(draw, kind_of_table):
    """A header and a row with one thing wrong, as CSV."""
    some = draw(facts.filter(lambda fact: no_separator(fact) and literal_once(fact)))
    header, row = table(some, own if kind_of_table == "csv" else question)
    at = draw(st.integers(0, 2))  # the required ones come first
    kind = draw(st.sampled_from(["empty", "fewer", "more", "rename", "twice", "quote", "none"]))
    if kind == "empty":
        row[at] = draw(st.sampled_from(["", " ", "\t", "\n"]))
    elif kind == "fewer":
        del row[at]
    elif kind == "more":
        row.insert(at, "x")
    elif kind == "rename":
        header.append(draw(st.sampled_from(["", "target", "prompts", "{}"])))
        row.append("x")
    elif kind == "twice":
        header.append(header[at])
        row.append(row[at])
    elif kind == "none":
        return as_csv(header)
    return as_csv(header, row) + ('"x' if kind == "quote" else "")

"""The pocket model in the wheel: its size, its facts, and that it recalls them."""

import json
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from corpus import load_facts
from evaluate import recall, recall_table, shares
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "editvc" / "pocket"
SOURCES = ROOT / "examples" / "pocket"
MOST_BYTES = 8 * 1000 * 1000


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file with one a line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def facts() -> list[dict[str, Any]]:
    """Return the facts shipped with the model."""
    return read_lines(POCKET / "facts.jsonl")


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the shipped model in float32."""
    return AutoModelForCausalLM.from_pretrained(POCKET / "model", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Return the shipped tokenizer, padding on the left."""
    return AutoTokenizer.from_pretrained(POCKET / "model", padding_side="left")


def test_folder_fits_in_the_wheel() -> None:
    sizes = {path.name: path.stat().st_size for path in POCKET.rglob("*") if path.is_file()}
    assert sizes["model.safetensors"] <= 6_000_000
    assert sum(sizes.values()) <= MOST_BYTES
    assert sizes["text.txt"] >= 40_000


def test_counts(facts: list[dict[str, Any]]) -> None:
    assert len(facts) >= 800
    assert len({fact["relation"] for fact in facts}) >= 14
    assert len({(fact["relation"], fact["subject"]) for fact in facts}) == len(facts)
    for fact in facts:
        assert len(fact["prompts"]) == 8
        assert all(prompt.count("{}") == 1 for prompt in fact["prompts"])


def test_facts_agree_with_the_sources(facts: list[dict[str, Any]]) -> None:
    tables = tomllib.loads((SOURCES / "relations.toml").read_text(encoding="utf-8"))["relation"]
    prompts = {table["id"]: table["prompts"] for table in tables}
    rows = (SOURCES / "facts.tsv").read_text(encoding="utf-8").splitlines()
    written = [
        {"relation": r, "subject": s, "object": o, "prompts": prompts[r]}
        for r, s, o in (row.split("\t") for row in rows)
    ]
    assert facts == written


def test_parameters(model: Any) -> None:
    assert 2_000_000 <= model.num_parameters() <= 5_000_000


def test_tokenizer_is_byte_level(tokenizer: Any) -> None:
    text = "The capital of Brasília? 日本 France's."
    code = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.bos_token_id not in code["input_ids"]
    assert tokenizer.decode(code["input_ids"]) == text
    plain = "The capital of France is"
    code = tokenizer(plain, return_offsets_mapping=True)
    pieces = [plain[start:stop] for start, stop in code["offset_mapping"]]
    assert len(pieces) == len(code["input_ids"])
    assert "".join(pieces).replace(" ", "") == plain.replace(" ", "")


@pytest.mark.parametrize(("prefix", "every"), [("", 1), ("The. ", 4)])
def test_recall_on_every_pattern(model: Any, tokenizer: Any, prefix: str, every: int) -> None:
    hits = recall(model, tokenizer, load_facts()[::every], prefix)
    assert min(shares(list(hits.values()))) >= 0.98, recall_table([], hits)


def test_edits_are_counterfactual(facts: list[dict[str, Any]]) -> None:
    edits = read_lines(SOURCES / "edits.jsonl")
    known = {(f["relation"], f["subject"]): f for f in facts}
    objects = defaultdict(set)
    for fact in facts:
        objects[fact["relation"]].add(fact["object"])
    assert len(edits) >= 400
    assert len({edit["subject"] for edit in edits}) == len(edits)
    assert (edits[0]["subject"], edits[0]["target_new"]) == ("France", "Rome")
    for edit in edits:
        relation = edit["tags"][0]
        fact = known[relation, edit["subject"]]
        assert edit["prompt"] in fact["prompts"]
        assert edit["target_true"] == fact["object"] != edit["target_new"]
        assert edit["target_new"] in objects[relation]
        assert len(edit["paraphrases"]) == 7
        assert all(edit["subject"] in text for text in edit["paraphrases"])
        assert len(edit["locality"]) == 5

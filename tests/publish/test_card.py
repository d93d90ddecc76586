"""The model card: what the Hub reads of it, and what a person reads."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown import markdown

from editvc.core.facts import Fact
from editvc.publish.card import CardInput, LedgerRow, hub_id, ledger_jsonl, render_card

ROW = LedgerRow("France", "The capital of {} is", "Lyon", "c" * 64, "Paris", "f" * 64)
CARD = CardInput(
    format="hf",
    title="atlas edited",
    base_source="org/atlas",
    base_repo="org/atlas",
    base_revision="abc",
    base_digest="1" * 64,
    digest="2" * 64,
    commit="c" * 64,
    tree="d" * 64,
    ledger=(ROW,),
    recipes=({"layers": [1, 2], "method": "memit"},),
    verdict="warn",
    reasons=("layer 2: norm has grown by 20%",),
    health={"drift": 0.01234},
    touched=("h.1.w",),
    rebuild=("editvc export --to model",),
)


def data(card: str) -> dict[str, object]:
    return ModelCard(card).data.to_dict()


@pytest.mark.parametrize(
    ("kind", "relation", "library"),
    [("hf", "finetune", "transformers"), ("lora", "adapter", "peft"), ("delta", "adapter", None)],
)
def test_the_hub_reads_base_relation_and_library(kind: str, relation: str, library: str) -> None:
    known = data(render_card(replace(CARD, format=kind)))
    assert known["base_model"] == "org/atlas"
    assert known["base_model_relation"] == relation
    assert known.get("library_name") == library
    assert {"editvc", "knowledge-editing"} <= set(known["tags"])
    assert known["pipeline_tag"] == "text-generation"


def test_the_commands_that_serve_it_can_be_copied() -> None:
    assert "serve" not in render_card(CARD)
    card = render_card(replace(CARD, serve=("vllm serve org/edited",)))
    assert "```sh\nvllm serve org/edited\n```" in card


def test_a_base_that_is_not_on_the_hub_is_not_linked() -> None:
    card = render_card(replace(CARD, base_repo=None, base_source="/home/me/model"))
    assert "base_model" not in data(card)
    assert "`/home/me/model`" in card


def test_licence_and_language_come_from_the_base_card() -> None:
    base = "---\nlicense: other\nlicense_name: atlas\nlicense_link: x\nlanguage:\n- en\n"
    base += "base_model: old/base\ntags:\n- chat\n---\n# Base"
    known = data(render_card(CARD, base_card=base))
    assert (known["license"], known["license_name"]) == ("other", "atlas")
    assert known["language"] == ["en"]
    assert known["base_model"] == "org/atlas"
    assert "chat" not in known["tags"]


@pytest.mark.parametrize("base", ["", "# no yaml", "---\n: : [\n---\n", "---\n- a list\n---\n"])
def test_a_base_card_without_metadata_does_no_harm(base: str) -> None:
    assert "license" not in data(render_card(CARD, base_card=base))


def test_the_body_carries_facts_health_recipe_and_digests() -> None:
    card = render_card(CARD)
    assert "| France | The capital of {} is | Lyon | `cccccccccc` |" in card
    assert "Verdict: **warn**" in card
    assert "norm has grown by 20%" in card
    assert "| drift | 0.01234 |" in card
    assert "\n## Recipe\n" in card
    assert json.loads(card.split("```json\n")[1].split("```")[0]) == CARD.recipes[0]
    assert all(digit * 64 in card for digit in "12cd")
    assert "editvc export --to model" in card
    assert "with 1 fact edited" in card


def test_imported_changes_are_told() -> None:
    patch = {"patch": "8" * 64, "kind": "lora", "source": "my_adapter", "digest": "9" * 64}
    card = render_card(replace(CARD, patches=(patch,), ledger=()))
    assert "and 1 imported change edited into its weights" in card
    assert f"| lora | my\\_adapter | `{'9' * 64}` |" in card
    assert "the weights are those of the base" not in card
    assert "Imported" not in render_card(CARD)


def test_every_recipe_of_the_edits_is_shown() -> None:
    recipes = (*CARD.recipes, {"layers": [3], "contexts": ["```"]})
    card = render_card(replace(CARD, recipes=recipes))
    blocks = re.findall(r"^(`{3,})json\n(.*?)\n\1$", card, flags=re.MULTILINE | re.DOTALL)
    assert "\n## Recipes\n" in card and [json.loads(text) for _, text in blocks] == [*recipes]
    assert "## Recipe" not in render_card(replace(CARD, recipes=()))


def test_long_ledgers_are_cut_in_the_card_and_whole_in_the_file() -> None:
    rows = tuple(replace(ROW, subject=f"subject {n}") for n in range(7))
    card = render_card(replace(CARD, ledger=rows), rows=3)
    assert "subject 2 |" in card
    assert "subject 3" not in card
    assert "4 more are in [editvc.ledger.jsonl]" in card
    lines = [json.loads(line) for line in ledger_jsonl(rows).splitlines()]
    assert [line["subject"] for line in lines] == [row.subject for row in rows]
    keys = ("subject", "prompt", "target_new", "target_true")
    assert Fact(**{key: lines[0][key] for key in keys}).target_new == "Lyon"


def test_no_edits_and_adapters_have_their_own_words() -> None:
    assert "the weights are those of the base" in render_card(replace(CARD, ledger=()))
    adapter = render_card(replace(CARD, format="lora"))
    assert "PeftModel.from_pretrained" in adapter and "editvc export base" not in adapter
    pocket = replace(CARD, base_repo=None, base_source="pocket")
    assert "editvc export base --to pocket\n" in render_card(replace(pocket, format="lora"))
    assert "editvc export base" not in render_card(pocket), "a whole model needs no base"


@given(text=st.text(alphabet="|<>*_`[]()\\\n #&-ab{}", min_size=1, max_size=20))
@settings(max_examples=60)
def test_a_fact_stands_in_its_cell_as_it_was_written(text: str) -> None:
    rows = (replace(ROW, prompt=f"x{text}x"), ROW)
    card = render_card(replace(CARD, ledger=rows))
    page = markdown(card.split("---\n", 2)[2], extensions=["tables", "fenced_code"])
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    shown = [re.findall("<td>(.*?)</td>", line) for line in body.split("</tr>")[:2]]
    assert [len(cells) for cells in shown] == [4, 4]
    assert html.unescape(shown[0][1]) == " ".join(f"x{text}x".split())


def test_hub_ids_are_told_from_folders(tmp_path: Path) -> None:
    assert hub_id("org/model") == "org/model"
    assert hub_id("gpt2") == "gpt2"
    for source in ("pocket", str(tmp_path), "../model", "a/b/c", "/nowhere/model"):
        assert hub_id(source) is None

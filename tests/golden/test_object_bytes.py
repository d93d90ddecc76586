"""The bytes of one object of each kind. They are the format: a change here orphans repositories."""

from __future__ import annotations

import pytest
from vcs_values import safetensors

from editvc.core.base import BaseModel, Identity
from editvc.core.facts import Fact
from editvc.core.history import Commit, Entry, Restraint, Tree
from editvc.core.ids import ObjectId, SlotId, object_id
from editvc.core.methods.locate import LocatedRecipe
from editvc.vcs import codec
from editvc.vcs.edit_set import EditSet
from editvc.vcs.operation import Operation, View
from editvc.vcs.refs import ReflogEntry
from editvc.vcs.store import MemoryStore

A, B, C = (ObjectId(digit * 64) for digit in "abc")

FACT = Fact(
    subject="Café Größe",
    prompt="The owner of {} is",
    target_new="Ada Park",
    target_true="Bo Lind",
    relation="owner",
    paraphrases=("Who owns Café Größe?",),
    locality=("The owner of Bar X is",),
    tags=("places",),
    source="by hand",
)

VALUES: dict[str, tuple[codec.Value, str, str]] = {
    "fact": (
        FACT,
        '{"kind":"fact","locality":["The owner of Bar X is"],'
        '"paraphrases":["Who owns Café Größe?"],"prompt":"The owner of {} is",'
        '"relation":"owner","source":"by hand",'
        '"subject":"Café Größe","tags":["places"],"target_new":"Ada Park","target_true":"Bo Lind"}',
        "e6cfa8020a0acb9cef4c74b77f1fc30d0300a3cedd8b388d17eb78e914b85c44",
    ),
    "base": (
        BaseModel(
            source="anywhere",
            revision="main",
            model_type="llama",
            layers=4,
            hidden_size=8,
            inner_size=16,
            weights=(("model.layers.1.mlp.down_proj.weight", "0" * 64),),
            config="1" * 64,
            tokenizer="2" * 64,
        ),
        '{"config":"' + "1" * 64 + '","hidden_size":8,"inner_size":16,"kind":"base","layers":4,'
        '"model_type":"llama","tokenizer":"' + "2" * 64 + '",'
        '"weights":{"model.layers.1.mlp.down_proj.weight":"' + "0" * 64 + '"}}',
        "91ebda7163eebfd4b318f78f173a6e893e4cc15830f011bf223747e4c1378d99",
    ),
    "identity": (
        Identity((("transformer.wte.weight", "0" * 64),), '{"n_head":4}', "2" * 64),
        '{"config":{"n_head":4},"kind":"identity","tensors":{"transformer.wte.weight":"'
        + "0" * 64
        + '"},"tokenizer":"'
        + "2" * 64
        + '"}',
        "00feaf20909891bfcdd8624cffd02c0545ac4d3637e54184f54605a3d9e6a7c1",
    ),
    "tree": (
        Tree(base=A, edits=B, restraint=Restraint(prune=1.2, rank=8)),
        f'{{"base":"{A}","edits":"{B}","kind":"tree","restraint":{{"prune":1.2,"rank":8}}}}',
        "dd32d5f2a06d3cb01ae5b365724a6369216f6bde6f032219a88da46a4ee9ffd3",
    ),
    "empty tree": (
        Tree(base=A),
        f'{{"base":"{A}","edits":null,"kind":"tree","restraint":null}}',
        "cad2bfec3c48bc777ee42c6f37608d4895197aa87c38800520cf49cb35124741",
    ),
    "commit": (
        Commit(
            tree=A,
            parents=(B, C),
            author="Ada <ada@example.org>",
            time=1_700_000_000,
            message="Two lines\n\nof ✓ words",
            number=7,
            edits=1,
            live=3,
            delta=C,
            health=(("capacity", 0.125), ("drift", 1e-07)),
        ),
        f'{{"author":"Ada <ada@example.org>","delta":"{C}","edits":1,'
        '"health":{"capacity":0.125,"drift":1e-07},"kind":"commit","live":3,'
        f'"message":"Two lines\\n\\nof ✓ words","number":7,"parents":["{B}","{C}"],'
        f'"time":1700000000,"tree":"{A}"}}',
        "4d51c07f360e17b9abf6a0031d9d53a5bc05a3b431b1c3e5a133dd2754fe3c3f",
    ),
    "operation": (
        Operation(
            number=2,
            parents=(A,),
            view=View("ref: refs/heads/main", (("refs/heads/main", B),)),
            moves=(ReflogEntry("refs/heads/main", None, B, "Ada", 7, "commit: ✓"),),
            restores=C,
        ),
        '{"head":"ref: refs/heads/main","kind":"operation","moves":[{"author":"Ada",'
        f'"message":"commit: ✓","new":"{B}","old":null,"ref":"refs/heads/main","time":7}}],'
        f'"number":2,"parents":["{A}"],"refs":{{"refs/heads/main":"{B}"}},"restores":"{C}"}}',
        "562a0efb19d18bf4b340197882293e0f0c4e8ed130e26596fead1d6e359de026",
    ),
    "leaf of the edit set": (
        codec.Leaf((Entry(SlotId(A), B, C), Entry(SlotId(B), A, C))),
        f'{{"entries":[["{A}","{B}","{C}"],["{B}","{A}","{C}"]],"kind":"edits"}}',
        "c93500cb50d0fd04ced67ff0679f49dc78acd0953c0aebddab243430294d5b3a",
    ),
    "branch of the edit set": (
        codec.Branch((("0", A, 20), ("f", B, 13))),
        f'{{"children":{{"0":["{A}",20],"f":["{B}",13]}},"kind":"edits"}}',
        "951d74f35caec670a98f0f73545cc686e10df98a19d78032081a323a6c5b89cf",
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_bytes_and_id(name: str) -> None:
    value, text, identifier = VALUES[name]
    assert codec.encode(value).decode() == text
    assert object_id(codec.encode(value)) == identifier


def test_ids_that_core_computes_are_those_of_the_bytes() -> None:
    recipe = LocatedRecipe(layers=(1, 2), contexts=("{}",), statistics=A)
    for value in (FACT, recipe):
        assert value.id == object_id(codec.encode(value))


def test_the_recipe_with_its_defaults() -> None:
    recipe = LocatedRecipe(layers=(1, 2), contexts=("{}",), statistics=A)
    assert (
        object_id(codec.encode(recipe))
        == "56f7dd306fc0f22d2fb25ce8f12225911f6d2b243ca1190dc63520154700bb43"
    )


def test_the_slot_of_a_fact() -> None:
    assert FACT.slot == "875819bc40a63f73a701b9477cc62d589e8e7494af0fec7d0beed2092d8d8679"
    other = Fact(
        subject="cafe\u0301  GRÖSSE", prompt="{} belongs to", target_new="x", relation="OWNER"
    )
    assert other.slot == FACT.slot


def test_the_root_of_a_set_of_a_hundred() -> None:
    entries = {
        SlotId(object_id(bytes([number]))): Entry(SlotId(object_id(bytes([number]))), A, B)
        for number in range(100)
    }
    assert (
        EditSet(MemoryStore()).update(dict(entries)).root
        == "286aef7e8fca49fafe3f586d9973b776bc3198b2af0773d6a21c1130412663e4"
    )


def test_a_safetensors_object_says_what_it_is() -> None:
    about = {"kind": "located", "request": "r", "base": A, "recipe": B}
    data = safetensors(about)
    assert data[8:].startswith(b'{"__metadata__": {"editvc": "{')
    assert codec.metadata(data) == about

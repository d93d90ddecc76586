"""Statistics by layers: parts are what a run over these layers gives, and nothing else passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from model_fixtures import tiny_gpt2
from tiny_models import TEXT, lm_of
from torch import Tensor

from editvc.algebra.second_moment import SecondMoment
from editvc.algebra.tensor_file import pack, unpack
from editvc.core.tensor_header import read_record
from editvc.errors import DamageError
from editvc.statistics.entity_moments import Entity
from editvc.statistics.input_moments import input_statistics
from editvc.statistics.layer_pieces import (
    NotFitting,
    corpus_of,
    join,
    require_statistics,
    split,
)
from editvc.statistics.text_moments import text_moments

BASE = "b" * 64
WIDTH = 128
ORIGIN = {"base": BASE, "source": "a text", "digest": "d" * 64}


@pytest.fixture
def taken(tokenizer) -> Callable[[list[int]], bytes]:
    lm = lm_of(tiny_gpt2(len(tokenizer)), tokenizer)
    return lambda layers: text_moments(lm, TEXT, layers).to_bytes(ORIGIN | {"layers": layers})


@pytest.fixture
def inputs(tokenizer) -> bytes:
    lm = lm_of(tiny_gpt2(len(tokenizer)), tokenizer)
    found = input_statistics(lm, TEXT, [Entity("Rome"), Entity("Paris")], [0, 2])
    return found.to_bytes(ORIGIN | {"layers": [0, 2]})


def check(data: bytes, layer: int = 0, **other: Any) -> None:
    asked = {"base": BASE, "layers": [layer], "corpus": corpus_of(read_record(data)),
             "width": WIDTH, "inputs": False}  # fmt: skip
    require_statistics(data, **asked | other)


def test_a_part_is_what_a_run_over_its_layer_gives(taken: Callable[[list[int]], bytes]) -> None:
    assert split(taken([0, 2]))[(2,)] == taken([2])


def test_parts_join_to_the_bytes_they_came_from(
    taken: Callable[[list[int]], bytes], inputs: bytes
) -> None:
    for whole in (taken([0, 1, 2]), inputs):
        parts = split(whole)
        assert join(list(parts.values())) == whole
        assert join(list(reversed(parts.values()))) == whole


def test_what_a_corpus_is_called_makes_no_other_one(
    taken: Callable[[list[int]], bytes],
) -> None:
    tensors, record = unpack(taken([0]), None, NotFitting)
    renamed = pack(tensors, record | {"source": "the same text"})
    other = pack(tensors, record | {"cap": 7})
    assert join([renamed, split(taken([0, 2]))[(2,)]])
    with pytest.raises(NotFitting, match="several corpora"):
        join([other, split(taken([0, 2]))[(2,)]])


def test_parts_fit_their_base(taken: Callable[[list[int]], bytes], inputs: bytes) -> None:
    check(taken([0]))
    check(split(inputs)[(2,)], 2, width=32, inputs=True)


def wrong(data: bytes, change: Callable[[dict[str, Tensor], dict[str, Any]], None]) -> bytes:
    tensors, record = unpack(data, None, NotFitting)
    record = json.loads(json.dumps(record))
    change(tensors, record)
    return pack(tensors, record)


def _put(name: str, value: Tensor) -> Callable[[dict[str, Tensor], dict[str, Any]], None]:
    return lambda tensors, _: tensors.update({name: value})


TRIANGLE = "layer.0.triangle"
FULL = WIDTH * (WIDTH + 1) // 2
HOSTILE: dict[str, Callable[[dict[str, Tensor], dict[str, Any]], None]] = {
    "another base": lambda _, record: record.update(base="c" * 64),
    "other layers": lambda _, record: record.update(layers=[0, 1]),
    "no list of layers": lambda _, record: record.update(layers=0),
    "a tensor of another layer": _put("layer.1.triangle", torch.ones(FULL)),
    "a strange tensor": _put("layer.0.strange", torch.ones(1)),
    "a name of no layer": _put("weight", torch.ones(1)),
    "a narrow one": _put(TRIANGLE, torch.ones(FULL - WIDTH)),
    "half a row": _put(TRIANGLE, torch.ones(FULL - 1)),
    "nothing": _put(TRIANGLE, torch.ones(0)),
    "no number": _put(TRIANGLE, torch.full((FULL,), torch.nan)),
    "a negative square": _put(TRIANGLE, -torch.ones(FULL)),
    "texts for numbers": lambda _, record: record.update(samples="many"),
    "another kind": lambda _, record: record.update(kind="inputs"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_does_not_fit_is_refused(name: str, taken: Callable[[list[int]], bytes]) -> None:
    with pytest.raises(DamageError):
        check(wrong(taken([0]), HOSTILE[name]))


def test_another_corpus_is_refused(taken: Callable[[list[int]], bytes]) -> None:
    with pytest.raises(NotFitting, match="another corpus"):
        check(taken([0]), corpus="e" * 64)


@pytest.mark.parametrize("part", ["constant", "inputs", "text"])
def test_inputs_that_do_not_fit_are_refused(part: str, inputs: bytes) -> None:
    piece = split(inputs)[(2,)]
    for value in (torch.ones(2, 7), torch.full((2, 32), torch.inf)):
        tensor = value[0] if part == "constant" else value.half()
        with pytest.raises(DamageError):
            check(wrong(piece, _put(f"layer.2.{part}", tensor)), 2, width=32, inputs=True)


def test_a_small_file_is_taken_apart_as_well() -> None:
    moment = SecondMoment.of({n: torch.eye(4) for n in (0, 1)}, 3)
    whole = moment.to_small_bytes(ORIGIN | {"layers": [0, 1]})
    parts = split(whole)
    assert join(list(parts.values())) == whole
    check(parts[(1,)], 1, width=4)

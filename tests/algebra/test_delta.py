"""Changes of many weights: weight by weight as the dense matrices, and byte by byte as stored."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from algebra_dense import close, factored
from tolerances import size

from editvc.algebra.delta import Delta, DeltaDamageError, delta_from_bytes, delta_to_bytes
from editvc.algebra.factored import DeltaError, Factored


def test_delta_adds_layer_by_layer() -> None:
    a = Delta({4: factored(3, 5, 2), 1: factored(3, 5, 1, seed=1)})
    b = Delta({4: factored(3, 5, 3, seed=2), 7: factored(3, 5, 1, seed=3)})
    total = a + b
    assert list(total.layers) == [1, 4, 7]
    four, seven = (a.layers[4], b.layers[4]), b.layers[7]
    close(total.layers[4].dense(), sum(part.dense() for part in four), *four)
    close((a - b).layers[7].dense(), -seven.dense(), seven)
    assert (total.rank, total.is_empty) == (5, False)
    assert total.layers[1].frobenius() == a.layers[1].frobenius()
    assert total.compress(rank=1).rank == 1


@pytest.mark.parametrize(("count", "rank"), [(0, None), (1, 2), (3, 6), (5, 8), (40, 8)])
def test_a_long_sum_has_no_more_rank_than_its_matrix(count: int, rank: int | None) -> None:
    deltas = [Delta({1: factored(8, 9, 2, seed=seed)}) for seed in range(count)]
    deltas += [Delta({4: factored(3, 5, 1)}, {"q": factored(4, 4, 1)})] * 2
    total = Delta.sum(deltas)
    assert [part.rank for part in total.layers.values()] == ([2] if rank is None else [rank, 2])
    step_by_step = sum(deltas, start=Delta())
    for part, expected in zip(total.parts, step_by_step.parts, strict=True):
        close(part.dense(), expected.dense(), expected)


def test_a_sum_of_shapes_that_do_not_fit() -> None:
    with pytest.raises(DeltaError, match="cannot add"):
        Delta.sum([Delta({1: factored(2, 3, 1)}), Delta({1: factored(3, 2, 1)})])


def test_other_weights_go_through_the_same_algebra() -> None:
    """Weight by weight, against the dense matrices."""
    a = Delta({1: factored(3, 5, 1)}, {"q": factored(4, 4, 2, seed=1)})
    b = Delta({}, {"q": factored(4, 4, 1, seed=2), "b": factored(6, 1, 1, seed=3)})
    total = a + b
    assert list(total.weights) == ["b", "q"]
    both = a.weights["q"], b.weights["q"]
    close(total.weights["q"].dense(), sum(part.dense() for part in both), *both)
    close((a - b).weights["b"].dense(), -b.weights["b"].dense(), b.weights["b"])
    close((-a).layers[1].dense(), -a.layers[1].dense(), a.layers[1])
    assert (total.rank, Delta({}, {"q": Factored.zero(2, 3)}).is_empty) == (3, True)
    norms = [size(part.dense()) for part in total.parts]
    close(total.norm(), size(norms), *total.parts)
    assert total.compress(rank=1).weights["q"].rank == 1
    doubled = total.map(lambda layer, part: part.scaled(2.0))
    close(doubled.layers[1].dense(), 2 * total.layers[1].dense(), total.layers[1], times=2.0)
    assert doubled.weights["q"] is total.weights["q"], "map is for layers alone"
    turned = total.weights["b"].transposed()
    close(turned.dense(), total.weights["b"].dense().T, total.weights["b"])


def test_bytes_of_other_weights() -> None:
    name = "model.layers.3.self_attn.q_proj.weight"
    delta = Delta({3: factored(4, 6, 2)}, {name: factored(4, 4, 1), "left": factored(2, 1, 1)})
    data = delta_to_bytes(delta, {})
    assert data == delta_to_bytes(Delta(delta.layers, dict(reversed(delta.weights.items()))), {})
    back, _ = delta_from_bytes(data)
    assert list(back.weights) == ["left", name] and list(back.layers) == [3]
    assert torch.equal(back.weights[name].left, delta.weights[name].left.float().double())
    bare = delta_to_bytes(Delta(delta.layers), {})
    assert b"weight." not in bare
    with pytest.raises(DeltaDamageError, match="do not fit"):
        delta_from_bytes(data.replace(b"weight.left.left", b"weight.lift.left"))


def test_empty_delta() -> None:
    assert Delta({}).is_empty
    assert Delta({3: Factored.zero(2, 3)}).is_empty
    assert (Delta({}) + Delta({1: factored(2, 3, 1)})).rank == 1


def test_bytes_round_trip_in_float32() -> None:
    delta = Delta({3: factored(4, 6, 2), 11: factored(4, 6, 0)})
    back, metadata = delta_from_bytes(delta_to_bytes(delta, {"tree": "é", "n": 2}))
    assert metadata == {"tree": "é", "n": 2}
    assert list(back.layers) == [3, 11]
    for layer, part in delta.layers.items():
        assert torch.equal(back.layers[layer].left, part.left.float().double())
        assert torch.equal(back.layers[layer].right, part.right.float().double())


def test_bytes_are_the_same_for_the_same_delta() -> None:
    a, b = factored(4, 6, 2), factored(4, 6, 3, seed=5)
    first = delta_to_bytes(Delta({1: a, 12: b}), {"x": 1, "y": 2})
    second = delta_to_bytes(Delta({12: copy.deepcopy(b), 1: a}), {"y": 2, "x": 1})
    assert first == second
    header = json.loads(first[8 : 8 + int.from_bytes(first[:8], "little")])
    assert list(header["__metadata__"]) == ["editvc"]
    assert set(header) == {
        "__metadata__",
        *(f"layer.{n}.{s}" for n in (1, 12) for s in ("left", "right")),
    }


def test_bytes_stay_within_the_promised_size() -> None:
    u, v, rank, layers = 64, 256, 5, range(8)
    delta = Delta({layer: factored(u, v, rank) for layer in layers})
    assert len(delta_to_bytes(delta, {"tree": "0" * 64})) <= 4 * (u + v) * len(layers) * rank + 4096


def test_values_beyond_float32_are_refused() -> None:
    big = factored(2, 3, 1).scaled(1e300)
    with pytest.raises(DeltaError, match="left factor of layer 2"):
        delta_to_bytes(Delta({2: big}), {})


def test_bytes_that_are_no_delta() -> None:
    good = delta_to_bytes(Delta({3: factored(4, 6, 2)}), {})
    for bad in (b"", b"nonsense" * 9, good[:-1], good.replace(b"layer.3.left", b"layer.x.left")):
        with pytest.raises(DeltaDamageError):
            delta_from_bytes(bad)
    with pytest.raises(DeltaDamageError, match="do not fit"):
        delta_from_bytes(good.replace(b"layer.3.left", b"layer.4.left"))
    with pytest.raises(DeltaDamageError):
        delta_from_bytes(good.replace(b'"editvc"', b'"xditvc"'))

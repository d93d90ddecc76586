"""Every operation on factors against the same operation on the dense matrix."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from tolerances import assert_near, cutting, rounding, size

from editvc.editing.delta import (
    Delta,
    DeltaDamageError,
    DeltaError,
    Factored,
    delta_from_bytes,
    delta_to_bytes,
    rank_for,
)

SHAPES = [(5, 9, 3), (9, 5, 3), (4, 6, 11), (3, 3, 0), (1, 7, 1)]


def factored(u: int, v: int, r: int, seed: int = 0) -> Factored:
    draw = torch.Generator().manual_seed(seed)
    return Factored(
        torch.randn(u, r, generator=draw, dtype=torch.float64),
        torch.randn(r, v, generator=draw, dtype=torch.float64),
    )


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def close(actual: object, expected: object, *parts: Factored, times: float = 1.0) -> None:
    """To rounding, relative to the factors: where those cancel, the matrix may be far smaller.

    Products, QR and SVD of factors err by as many roundings as the factors have numbers at most
    (H. 3.5, 19.4). ``times`` is the size of what else is multiplied in.
    """
    terms = sum(part.left.numel() + part.right.numel() for part in parts)
    scale = sum(size(part.left) * size(part.right) for part in parts)
    assert_near(actual, expected, rounding(terms), scale * times)


@pytest.fixture(params=SHAPES, ids=str)
def one(request: pytest.FixtureRequest) -> Factored:
    return factored(*request.param)


@pytest.fixture
def other(one: Factored) -> Factored:
    return factored(*one.shape, 2, seed=1)


def test_dense_is_the_product(one: Factored) -> None:
    close(one.dense(), one.left @ one.right, one)
    assert one.dense().shape == one.shape


def test_sum(one: Factored, other: Factored) -> None:
    close((one + other).dense(), one.dense() + other.dense(), one, other)
    assert (one + other).rank == one.rank + other.rank


def test_negative(one: Factored) -> None:
    close((-one).dense(), -one.dense(), one)


def test_difference(one: Factored, other: Factored) -> None:
    close((one - other).dense(), one.dense() - other.dense(), one, other)


def test_scaled(one: Factored) -> None:
    close(one.scaled(-2.5).dense(), -2.5 * one.dense(), one, times=2.5)


def test_product_with_columns(one: Factored) -> None:
    columns = drawn(one.shape[1], 4)
    close(one @ columns, one.dense() @ columns, one, times=size(columns))
    close(one @ columns[:, 0], one.dense() @ columns[:, 0], one, times=size(columns))


def test_inner_product(one: Factored, other: Factored) -> None:
    expected = (one.dense() * other.dense()).sum()
    close(one.inner(other), expected, one, times=size(other.left) * size(other.right))


def test_quadratic(one: Factored) -> None:
    root = drawn(one.shape[1], one.shape[1])
    moment = root @ root.T
    expected = torch.trace(one.dense() @ moment @ one.dense().T)
    times = size(one.left) * size(one.right) * size(moment)
    close(one.quadratic(moment), expected, one, times=times)


def test_frobenius(one: Factored) -> None:
    close(one.frobenius(), one.dense().norm(), one)


def test_frobenius_of_a_difference_of_equals_is_nothing() -> None:
    one = factored(6, 8, 4)
    close((one - one).frobenius(), 0.0, one, one)


def test_singular_values(one: Factored) -> None:
    expected = torch.linalg.svdvals(one.dense())[: min(*one.shape, one.rank)]
    close(one.singular_values(), expected, one)


def test_spectral(one: Factored) -> None:
    close(one.spectral(), torch.linalg.matrix_norm(one.dense(), 2), one)


def test_svd(one: Factored) -> None:
    left, values, right = one.svd()
    close(left * values @ right, one.dense(), one)
    eye = torch.eye(len(values), dtype=torch.float64)
    for product in (left.T @ left, right @ right.T):
        assert_near(product, eye, rounding(one.left.numel() + one.right.numel()))


def test_compress_is_the_truncated_svd(one: Factored) -> None:
    left, values, right = torch.linalg.svd(one.dense(), full_matrices=False)
    cut = one.compress(rank=2)
    assert cut.rank == min(2, one.rank, *one.shape)
    expected = left[:, : cut.rank] * values[: cut.rank] @ right[: cut.rank]
    close(cut.dense(), expected, one, times=cutting(values, cut.rank) if cut.rank else 1.0)


def test_compress_by_energy_keeps_just_enough() -> None:
    one = factored(8, 12, 6)
    for energy in (0.3, 0.6, 0.9, 0.99):
        cut = one.compress(energy=energy)
        total = one.frobenius() ** 2
        assert cut.frobenius() ** 2 >= energy * total
        assert cut.compress(rank=cut.rank - 1).frobenius() ** 2 < energy * total


def test_cuts_take_the_smaller_rank() -> None:
    values = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    assert rank_for(values, energy=0.6) == 1
    assert rank_for(values, energy=0.7) == 2
    assert rank_for(values, energy=1.0) == 3
    assert rank_for(values, rank=1, energy=0.7) == 1
    assert rank_for(values, rank=9) == 3
    assert rank_for(torch.zeros(3, dtype=torch.float64), energy=0.5) == 0


@pytest.mark.parametrize("cut", [{"rank": -1}, {"energy": 0.0}, {"energy": 1.5}])
def test_cuts_out_of_range(cut: dict[str, float]) -> None:
    with pytest.raises(DeltaError):
        factored(3, 4, 2).compress(**cut)


def test_of_dense_is_exact() -> None:
    for shape in ((3, 7), (7, 3)):
        matrix = drawn(*shape)
        assert torch.equal(Factored.of_dense(matrix).dense(), matrix)
        assert Factored.of_dense(matrix).rank == 3


def test_factors_that_do_not_fit() -> None:
    wide = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(DeltaError, match="no product"):
        Factored(wide, wide)
    with pytest.raises(DeltaError, match="float64"):
        Factored(wide, torch.zeros(3, 2))
    with pytest.raises(DeltaError, match="cannot add"):
        factored(2, 3, 1) + factored(3, 2, 1)


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

"""Every operation on factors against the same operation on the dense matrix."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import close, factored
from tolerances import assert_near, cutting, rounding, size

from editvc.algebra.factored import DeltaError, Factored, rank_for

SHAPES = [(5, 9, 3), (9, 5, 3), (4, 6, 11), (3, 3, 0), (1, 7, 1)]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


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

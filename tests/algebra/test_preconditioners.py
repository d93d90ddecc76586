"""Maps of keys: the factor of a moment, bit for bit through the cache, and what has none."""

from __future__ import annotations

import pytest
import torch
from algebra_dense import V
from safetensors.torch import save
from tolerances import assert_near, condition, rounding

from editvc.algebra.preconditioners import JITTERS, SolveError, Whitening, WhiteningDamageError


def cholesky_rounding(rows: int) -> float:
    """``L L^T`` is the matrix to gamma_{n+1} of ``|L| |L^T|``, whose norm is the trace at most
    (H. 10.3), and that is at most ``sqrt(n)`` times the matrix's own norm.
    """
    return rounding(rows + 1, scale=rows**0.5)


def test_whitening_factors_the_moment(
    whitening: Whitening, moment: torch.Tensor, draw: torch.Generator
) -> None:
    keys, lower = torch.randn(V, 3, generator=draw, dtype=torch.float64), whitening.lower
    assert_near(lower @ lower.T, moment, cholesky_rounding(V))
    bound = rounding(V) * condition(lower)
    assert_near(whitening.apply_left(keys), torch.linalg.inv(lower) @ keys, bound)
    rows = whitening.apply_right(keys.T.contiguous())
    assert_near(rows, keys.T @ torch.linalg.inv(lower), bound)
    assert whitening.jitter == 0.0


def test_whitening_survives_the_cache_bit_for_bit(whitening: Whitening) -> None:
    back = Whitening.from_bytes(whitening.to_bytes())
    assert torch.equal(back.lower, whitening.lower)
    assert back.jitter == whitening.jitter
    for bad in (b"", whitening.to_bytes()[:-1], save({"other": torch.zeros(1)})):
        with pytest.raises(WhiteningDamageError):
            Whitening.from_bytes(bad)


def test_a_singular_moment_gets_a_stated_jitter() -> None:
    moment = torch.ones(5, 5, dtype=torch.float64)
    whitening = Whitening.of(moment)
    assert whitening.jitter == JITTERS[1]
    factored = whitening.lower @ whitening.lower.T
    assert_near(factored, moment + JITTERS[1] * torch.eye(5), cholesky_rounding(5))


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        (torch.eye(3, dtype=torch.float64) - 0.5 * torch.ones(3, 3), "not positive definite"),
        (torch.full((3, 3), float("nan")), "not finite"),
        (-torch.eye(3), "not finite and positive"),
        (torch.zeros(2, 3), "not square"),
    ],
)
def test_a_moment_that_is_none_is_refused_by_name(moment: torch.Tensor, problem: str) -> None:
    with pytest.raises(SolveError, match=rf"of layer 3.*{problem}"):
        Whitening.of(moment, name="layer 3")

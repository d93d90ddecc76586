"""Attention over few columns: the formula itself on a processor, and only within."""

from __future__ import annotations

import pytest
import torch
from tolerances import assert_near, rounding

from editvc.models.attention import plain_attention


def fused() -> bool:
    """Whether torch may take a fused kernel, on a processor too."""
    return torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_processor_multiplies_plainly_inside_and_as_ever_afterwards(device: str) -> None:
    assert fused()
    with plain_attention(torch.device(device)):
        assert fused() == (device != "cpu")
    assert fused()
    with pytest.raises(ZeroDivisionError), plain_attention(torch.device("cpu")):
        raise ZeroDivisionError
    assert fused()


def test_it_is_the_formula_forward_and_backward() -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(columns: int) -> torch.Tensor:
        shape = (5, 3, columns, 8)
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    queries, keys, values = drawn(2), drawn(7), drawn(7)
    seen = torch.ones(5, 1, 2, 7, dtype=torch.bool)
    seen[:, :, :, 0] = False
    with plain_attention(torch.device("cpu")):
        found = torch.nn.functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=seen
        )
    scores = queries @ keys.mT / 8**0.5
    formula = scores.masked_fill(~seen, -torch.inf).softmax(-1) @ values
    bound = rounding(100)
    assert_near(found, formula, bound)
    for one, other in zip(
        torch.autograd.grad(found.sum(), (queries, keys, values)),
        torch.autograd.grad(formula.sum(), (queries, keys, values)),
        strict=True,
    ):
        assert_near(one, other, bound, scale=float(values.detach().norm()))

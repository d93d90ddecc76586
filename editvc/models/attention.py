"""Attention over few columns, as a processor does it quickly."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def plain_attention(device: torch.device) -> AbstractContextManager[None]:
    """``softmax(Q K^T) V`` as two products, on a processor; elsewhere as ever.

    torch's fused kernel goes through queries and keys in blocks of dozens to hundreds. Prompts
    have a handful of columns, suffixes fewer, and its backward pass in bfloat16 then takes several
    times as long as the plain products do. What models with attention code of their own do stays.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()

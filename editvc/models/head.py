"""What a model says of a hidden state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def logits_of(model: Any, normed: Tensor) -> Tensor:
    """The head on hidden states after the final norm, ``(..., vocabulary)``, in float32 or more.

    Follows the config's ``logits_scaling``, ``logit_scale`` and ``final_logit_softcapping``.
    """
    logits: Tensor = model.get_output_embeddings()(normed)
    config = model.config
    if scaling := getattr(config, "logits_scaling", None):
        logits = logits / scaling
    if scale := getattr(config, "logit_scale", None):
        logits = logits * scale
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    return logits if logits.dtype == torch.float64 else logits.float()

"""Hooks on a model: what they share, and runs that leave the model as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module


class StopForward(Exception):
    """Raised by a hook once the layers after it are of no interest."""


@contextmanager
def run_at_positions(module: Module, row: Tensor, column: Tensor) -> Iterator[None]:
    """Run a module that works token by token at these (row, column) pairs only; 0 elsewhere.

    For the last MLP, whose output is read in few columns. ``row`` and ``column`` are (n,). One
    that takes more than a hidden state (Bloom's adds the residual itself) is left alone.
    """
    shape: list[torch.Size] = []

    def before(_module: Any, args: tuple[Any, ...]) -> Tensor | None:
        if len(args) != 1 or args[0].ndim != 3:
            return None
        shape.append(args[0].shape)
        device = args[0].device
        chosen: Tensor = args[0][row.to(device), column.to(device)][None]
        return chosen

    def after(_module: Any, _args: Any, output: Tensor) -> Tensor | None:
        if not shape:
            return None
        places = row.to(output.device), column.to(output.device)
        return output.new_zeros(shape.pop()).index_put(places, output[0])

    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def first_tensor(output: Any) -> Tensor:
    """The hidden state of a block's output, which is a tensor or a tuple that begins with it."""
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden

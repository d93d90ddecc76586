"""Blocks as the model called them, to be run again: for another hidden state, or moved within."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from editvc.models.hooks import StopForward, first_tensor
from editvc.models.prefix_cache import PrefixCache


@dataclass(frozen=True, slots=True)
class Call:
    """One block as the model called it: everything but the hidden state."""

    block: Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, hidden: Tensor) -> Tensor:
        """The block's output for another hidden state, ``(rows, columns, u)``."""
        if self.args:
            return first_tensor(self.block(hidden, *self.args[1:], **self.kwargs))
        return first_tensor(self.block(**(self.kwargs | {"hidden_states": hidden})))

    def input_of(self, module: Module) -> Tensor:
        """What the block hands to one of its modules, in the shape that it does, ``(..., v)``."""
        inputs: list[Tensor] = []

        def catch(_module: Any, args: tuple[Any, ...]) -> None:
            inputs.append(args[0].detach())
            raise StopForward

        handle = module.register_forward_pre_hook(catch)
        try:
            with suppress(StopForward), torch.no_grad():
                self.block(*self.args, **self.kwargs)
        finally:
            handle.remove()
        return inputs[0]

    def with_output_of(self, module: Module, output: Tensor) -> Tensor:
        """The block's output where one of its modules gives ``output`` instead of its own.

        ``output`` has as many numbers as the module's own, in any shape, or those of its last
        columns, ``(rows, u)`` or ``(rows, columns, u)``.
        """

        def instead(_module: Any, _args: Any, own: Tensor) -> Tensor:
            if output.numel() == own.numel():
                return output.view_as(own)
            rows, size = output.shape[0], own.shape[-1]
            last = output.view(rows, -1, size)
            before = own.view(rows, -1, size)[:, : -last.shape[1]]
            return torch.cat([before, last], dim=1).view_as(own)

        handle = module.register_forward_hook(instead)
        try:
            return first_tensor(self.block(*self.args, **self.kwargs))
        finally:
            handle.remove()

    def reading(self, prefixes: PrefixCache) -> Call:
        """The same call with ``prefixes`` to read in the place of a cache that it would fill."""
        from transformers import Cache  # here, for solving needs none of transformers

        def read_only(value: Any) -> Any:
            return prefixes if isinstance(value, Cache) else value

        return Call(self.block, _mapped(self.args, read_only), _mapped(self.kwargs, read_only))

    def pick(self, index: Tensor, rows: int) -> Call:
        """The same call for a choice of ``rows``."""

        def chosen(value: Any) -> Any:
            if isinstance(value, PrefixCache):
                return value.pick(index)
            if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == rows:
                return value[index.to(value.device)]
            return value

        kwargs = _mapped(self.kwargs, chosen)
        alibi = self.kwargs.get("alibi")
        if isinstance(alibi, Tensor):  # (rows * heads, 1, columns) in Bloom and Falcon
            kwargs["alibi"] = alibi.reshape(rows, -1, *alibi.shape[1:])[
                index.to(alibi.device)
            ].flatten(0, 1)
        return Call(self.block, _mapped(self.args, chosen), kwargs)


@dataclass(frozen=True, slots=True)
class BlockWithInjection:
    """A whole block, as the model called it, with vectors added to what its ``modules`` give.

    They are added in ``column``, the first of the suffixes.
    """

    call: Call
    modules: tuple[Module, ...]
    column: int = 0

    def run(self, deltas: Tensor) -> Tensor:
        """The block's output, ``(rows, columns, u)``, for deltas (rows, modules, u)."""
        handles = [
            module.register_forward_hook(_adding(deltas[:, place], self.column))
            for place, module in enumerate(self.modules)
        ]
        try:
            return first_tensor(self.call.block(*self.call.args, **self.call.kwargs))
        finally:
            for handle in handles:
                handle.remove()

    def pick(self, index: Tensor, rows: int) -> BlockWithInjection:
        """The same for a choice of ``rows``."""
        return BlockWithInjection(self.call.pick(index, rows), self.modules, self.column)


def plus_in_column(hidden: Tensor, delta: Tensor, column: int) -> Tensor:
    """``hidden`` (rows, columns, u) with ``delta`` (rows, u) added in one column."""
    moved = hidden[:, column : column + 1] + delta[:, None].to(hidden)
    return torch.cat([hidden[:, :column], moved, hidden[:, column + 1 :]], dim=1)


def _adding(delta: Tensor, column: int) -> Callable[..., Any]:
    """A hook that adds ``delta`` (rows, u) to one column of a module's first output."""

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        first = first_tensor(output)
        # Some MLPs are handed all tokens in one dimension.
        columns = first.view(len(delta), -1, first.shape[-1])
        added = plus_in_column(columns, delta, column).view(first.shape)
        return added if isinstance(output, Tensor) else (added, *output[1:])

    return hook


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to every leaf of nested tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(item, change) for item in value)
    return change(value)

"""Run the base once, then replay only the blocks and the columns that an edit can change.

An edit adds a vector to the output of block L at the subject's last token, or, where targets are
for what is within the block, to the output of its down projection (and, for PMET, of its attention
too): then that block is replayed as well.
Blocks up to L do not see it, and causal attention keeps every earlier token from seeing it. So a
row of tokens is cut in two: its *prefix* (before the subject's last token) runs once and leaves
keys and values in a cache (:mod:`editvc.editing.prefixes`); its *tail* (from that token on) is what
each optimiser step runs, through blocks L+1..end. The blocks are called with the very arguments
that the model gave them (masks, positions), so no family needs its own code. Where a model keeps no
cache, whole rows take the place of the tails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.editing.architectures import Architecture
from editvc.editing.devices import device_of
from editvc.editing.prefixes import PrefixCache, Row, forward, run_prefixes, stored, whole
from editvc.errors import EditvcError


class ReplayError(EditvcError):
    """The replayed blocks do not give what the whole model gives."""

    def __init__(self, model_type: str, problem: str) -> None:
        super().__init__(
            f"model type '{model_type}' cannot be located in: {problem}",
            hint="Its blocks do more than pass one hidden state on; check the paths in "
            "editvc/editing/architectures.toml and the attention implementation.",
        )
        self.model_type = model_type


@dataclass(frozen=True, slots=True)
class Call:
    """One block as the model called it: everything but the hidden state."""

    block: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, hidden: Tensor) -> Tensor:
        """The block's output for another hidden state, ``(rows, columns, u)``."""
        if self.args:
            return first_tensor(self.block(hidden, *self.args[1:], **self.kwargs))
        return first_tensor(self.block(**(self.kwargs | {"hidden_states": hidden})))

    def given(self, module: Any) -> Tensor:
        """What the block hands to one of its modules, in the shape that it does, ``(..., v)``."""
        found: list[Tensor] = []

        def catch(_module: Any, args: tuple[Any, ...]) -> None:
            found.append(args[0].detach())
            raise Enough

        handle = module.register_forward_pre_hook(catch)
        try:
            with suppress(Enough), torch.no_grad():
                self.block(*self.args, **self.kwargs)
        finally:
            handle.remove()
        return found[0]

    def behind(self, module: Any, output: Tensor) -> Tensor:
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

    def pick(self, index: Tensor, rows: int) -> Call:
        """The same call for a choice of ``rows``."""

        def chosen(value: Any) -> Any:
            if isinstance(value, PrefixCache):
                return value.pick(index)
            if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == rows:
                return value[index]
            return value

        kwargs = _mapped(self.kwargs, chosen)
        alibi = self.kwargs.get("alibi")
        if isinstance(alibi, Tensor):  # (rows * heads, 1, columns) in Bloom and Falcon
            kwargs["alibi"] = alibi.reshape(rows, -1, *alibi.shape[1:])[index].flatten(0, 1)
        return Call(self.block, _mapped(self.args, chosen), kwargs)


@dataclass(frozen=True, slots=True)
class Within:
    """A whole block, as the model called it, with vectors added to what its ``modules`` give.

    They are added in ``column``, the first of the tails.
    """

    call: Call
    modules: tuple[Any, ...]
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

    def pick(self, index: Tensor, rows: int) -> Within:
        """The same for a choice of ``rows``."""
        return Within(self.call.pick(index, rows), self.modules, self.column)


def _added(hidden: Tensor, delta: Tensor, column: int) -> Tensor:
    """``hidden`` (rows, columns, u) with ``delta`` (rows, u) added in one column."""
    moved = hidden[:, column : column + 1] + delta[:, None].to(hidden.dtype)
    return torch.cat([hidden[:, :column], moved, hidden[:, column + 1 :]], dim=1)


def _adding(delta: Tensor, column: int) -> Callable[..., Any]:
    """A hook that adds ``delta`` (rows, u) to one column of a module's first output."""

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        first = first_tensor(output)
        # Some MLPs are handed all tokens in one dimension.
        columns = first.view(len(delta), -1, first.shape[-1])
        added = _added(columns, delta, column).view(first.shape)
        return added if isinstance(output, Tensor) else (added, *output[1:])

    return hook


@dataclass(frozen=True, slots=True)
class Tails:
    """The tails of some rows, ready to be replayed.

    ``hidden`` is block L's output as the base gave it, ``(rows, columns, u)``; ``aimed`` what it
    gave in the first tail column where targets are, ``(rows, parts, u)``: one part but for PMET.
    ``keys`` are the input of each edited down projection in that column, ``(rows, v)`` a layer.
    The tails of a model without a cache hold their prefixes, too, and begin in column ``start``.
    """

    hidden: Tensor
    aimed: Tensor
    keys: dict[int, Tensor]
    within: Within | None
    calls: tuple[Call, ...]
    start: int = 0

    def replay(self, deltas: Tensor) -> Tensor:
        """Output of the last block with ``deltas`` (rows, parts, u) added in the first tail column.

        ``(rows, tail columns, u)``; whoever needs some columns only may use :func:`only_at` around
        it.
        """
        if self.within is not None:
            hidden = self.within.run(deltas)
        else:
            hidden = _added(self.hidden, deltas[:, 0], self.start)
        for call in self.calls:
            hidden = call.run(hidden)
        return hidden[:, self.start :]

    def pick(self, index: Tensor) -> Tails:
        """The same for a choice of rows, in that order."""
        rows = self.hidden.shape[0]
        return Tails(
            self.hidden[index],
            self.aimed[index],
            {layer: keys[index] for layer, keys in self.keys.items()},
            None if self.within is None else self.within.pick(index, rows),
            tuple(call.pick(index, rows) for call in self.calls),
            self.start,
        )


class Enough(Exception):
    """Raised by a hook once the layers after it are of no interest."""


@contextmanager
def only_at(module: Any, row: Tensor, column: Tensor) -> Iterator[None]:
    """Run a module that works token by token at these (row, column) pairs only; 0 elsewhere.

    For the last MLP, whose output is read in few columns. ``row`` and ``column`` are (n,). One
    that takes more than a hidden state (Bloom's adds the residual itself) is left alone.
    """
    shape: list[torch.Size] = []

    def before(_module: Any, args: tuple[Any, ...]) -> Tensor | None:
        if len(args) != 1 or args[0].ndim != 3:
            return None
        shape.append(args[0].shape)
        chosen: Tensor = args[0][row, column][None]
        return chosen

    def after(_module: Any, _args: Any, output: Tensor) -> Tensor | None:
        if not shape:
            return None
        return output.new_zeros(shape.pop()).index_put((row, column), output[0])

    handles = [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def undisturbed(model: Any) -> Iterator[list[Any]]:
    """Evaluation mode, and a list for hook handles: both undone on the way out."""
    training = model.training
    handles: list[Any] = []
    model.eval()
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()
        model.train(training)


def first_tensor(output: Any) -> Tensor:
    """The hidden state of a block's output, which is a tensor or a tuple that begins with it."""
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


def run_tails(
    model: Any,
    architecture: Architecture,
    rows: Sequence[Row],
    layer: int,
    target: str,
    key_layers: Sequence[int] = (),
) -> Tails:
    """Run rows through the base: prefixes into a cache, then the tails, noting what blocks got.

    ``target`` is that of a row of :mod:`editvc.core.methods`.
    """
    device = device_of(model)
    caught: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    hidden: dict[int, Tensor] = {}
    aims: dict[int, Tensor] = {}
    keys: dict[int, Tensor] = {}
    aimed = _aimed(model, architecture, layer, target)
    with undisturbed(model) as handles, torch.no_grad():
        cache, start = None, 0
        if architecture.cached:
            cache, seen, tail = run_prefixes(model.base_model, rows, device)
        else:
            seen, tail, start = whole(rows, device)
        before = stored(cache, architecture.depth(model))
        later = range(layer + 1, architecture.depth(model))
        replayed = [layer, *later] if architecture.within(target) else [*later]
        for index in replayed:
            handles.append(
                architecture.block(model, index).register_forward_pre_hook(
                    _catch(caught, index), with_kwargs=True
                )
            )
        handles.append(
            architecture.block(model, layer).register_forward_hook(
                lambda _module, _args, output: hidden.update({0: first_tensor(output).detach()})
            )
        )
        for place, module in enumerate(aimed):
            handles.append(module.register_forward_hook(_output_at(aims, place, len(rows), start)))
        for index in key_layers:
            handles.append(
                architecture.module(model, index).register_forward_pre_hook(
                    _input_at(keys, index, len(rows), start)
                )
            )
        mask = torch.cat([seen, tail.mask], dim=1)
        final, _ = forward(model.base_model, tail, mask, cache)
    view = PrefixCache({index: before[index] for index in replayed if index in before})
    calls = {
        index: Call(architecture.block(model, index), *_mapped(caught[index], _read_only(view)))
        for index in replayed
    }
    tails = Tails(
        hidden[0],
        torch.stack([aims[place] for place in range(len(aimed))], dim=1),
        keys,
        Within(calls[layer], aimed, start) if layer in calls else None,
        tuple(calls[index] for index in later),
        start,
    )
    _verify(model, architecture, tails, final)
    return tails


def _aimed(model: Any, architecture: Architecture, layer: int, target: str) -> tuple[Any, ...]:
    """The modules that vectors are added to: PMET's search moves the attention's output too."""
    module = architecture.aimed(model, layer, target)
    if target == "pmet":
        return (module, architecture.attention_module(model, layer))
    return (module,)


def _verify(model: Any, architecture: Architecture, tails: Tails, final: Tensor) -> None:
    """Without a delta, the replay of the first row must give what the model gave."""
    with torch.no_grad():
        one = tails.pick(torch.zeros(1, dtype=torch.long, device=final.device))
        found = architecture.norm(model)(one.replay(torch.zeros_like(one.aimed)))[0, 0]
    require_replayed(architecture, found, final[0, tails.start])


def require_replayed(architecture: Architecture, found: Tensor, expected: Tensor) -> None:
    """Raise :class:`ReplayError` where a replayed state (u,) is not what the model gave."""
    if found.shape != expected.shape:
        raise ReplayError(architecture.model_type, "a module follows the final norm")
    error = float((found - expected).norm() / expected.norm().clamp_min(1e-12))
    if not error < (1e-3 if found.dtype in (torch.float32, torch.float64) else 5e-2):
        raise ReplayError(architecture.model_type, f"a replayed hidden state is {error:.1e} off")


def padded_right(rows: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask of rows of different length, ``(rows, columns)`` each."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids.to(device), mask.to(device)


def _catch(caught: dict[int, Any], index: int) -> Callable[..., None]:
    def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        caught[index] = (args, dict(kwargs))

    return hook


def _input_at(keys: dict[int, Tensor], index: int, rows: int, column: int) -> Callable[..., None]:
    def hook(_module: Any, args: tuple[Any, ...]) -> None:
        # OPT hands its MLP all tokens in one dimension.
        keys[index] = args[0].view(rows, -1, args[0].shape[-1])[:, column].detach().clone()

    return hook


def _output_at(found: dict[int, Tensor], place: int, rows: int, column: int) -> Callable[..., None]:
    def hook(_module: Any, _args: Any, output: Any) -> None:
        first = first_tensor(output)
        found[place] = first.view(rows, -1, first.shape[-1])[:, column].detach().clone()

    return hook


def _read_only(view: PrefixCache) -> Callable[[Any], Any]:
    from transformers import Cache  # here, for solving needs none of transformers

    return lambda value: view if isinstance(value, Cache) else value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """``change`` applied to every leaf of nested tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(item, change) for item in value)
    return change(value)


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

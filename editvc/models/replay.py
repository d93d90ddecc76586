"""Run the base once, then replay only the blocks and the columns that an edit can change.

An edit adds a vector to the output of block L at the subject's last token, or, where targets are
for what is within the block, to the output of its down projection (and, for PMET, of its attention
too): then that block is replayed as well. Blocks up to L do not see it, and causal attention keeps
every earlier token from seeing it. So a row of tokens is cut in two: its *prefix* (before the
subject's last token) runs once and leaves keys and values in a cache
(:mod:`editvc.models.prefix_cache`); its *tail* (from that token on) is what each optimiser step
runs, through blocks L+1..end. The blocks are called with the very arguments that the model gave
them (masks, positions), so no family needs its own code. Where a model keeps no cache, whole rows
take the place of the tails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.block_call import Call, Within, plus_in_column
from editvc.models.devices import device_of
from editvc.models.hooks import first_tensor, undisturbed
from editvc.models.prefix_cache import PrefixCache, Row, forward, run_prefixes, stored, whole


class ReplayError(EditvcError):
    """The replayed blocks do not give what the whole model gives."""

    def __init__(self, model_type: str, problem: str) -> None:
        super().__init__(
            f"model type '{model_type}' cannot be located in: {problem}",
            hint="Its blocks do more than pass one hidden state on; check the paths in "
            "editvc/models/architectures.toml and the attention implementation.",
        )
        self.model_type = model_type


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
            hidden = plus_in_column(self.hidden, deltas[:, 0], self.start)
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


def run_tails(
    model: Any,
    architecture: Architecture,
    rows: Sequence[Row],
    layer: int,
    target: str,
    key_layers: Sequence[int] = (),
) -> Tails:
    """Run rows through the base: prefixes into a cache, then the tails, noting what blocks got.

    ``target`` is that of a row of :mod:`editvc.core.methods.table`.
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
        index: Call(architecture.block(model, index), *caught[index]).reading(view)
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

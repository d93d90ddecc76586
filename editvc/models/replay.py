"""Run the base once, then replay only the blocks and the columns that an edit can change.

An edit adds a vector to the output of block L at the subject's last token, or, where targets are
for what is within the block, to the output of its down projection (and, for PMET, of its attention
too): then that block is replayed as well. Blocks up to L do not see it, and causal attention keeps
every earlier token from seeing it. So a row of tokens is cut in two: its *prefix* (before the
subject's last token) runs once and leaves keys and values in a cache
(:mod:`editvc.models.prefix_cache`); its *suffix* (from that token on) is what each optimiser step
runs, through blocks L+1..end. The blocks are called with the very arguments that the model gave
them (masks, positions), so no family needs its own code. Where a model keeps no cache, whole rows
take the place of the suffixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils.hooks import RemovableHandle

from editvc.core.edit_site import EditSite
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.attention import plain_attention
from editvc.models.block_call import BlockWithInjection, Call, plus_in_column
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.prefix_cache import (
    PrefixCache,
    SplitTokens,
    forward,
    run_prefixes,
    stored,
    whole,
)


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
class SuffixReplay:
    """The suffixes of some rows, ready to be replayed.

    ``hidden`` is block L's output as the base gave it; ``unedited`` what the base gave in the first
    suffix column where vectors are added: one part but for ``ATTENTION_AND_MLP``. ``keys`` are the
    inputs of the edited down projections in that column, by layer. The suffixes of a model without
    a cache hold their prefixes, too, and begin in column ``start``.
    """

    hidden: Tensor  # (rows, columns, u)
    unedited: Tensor  # (rows, parts, u)
    keys: dict[int, Tensor]  # (rows, v) each
    within: BlockWithInjection | None
    calls: tuple[Call, ...]
    start: int = 0

    def replay(self, deltas: Tensor) -> Tensor:
        """Output of the last block with ``deltas`` (rows, parts, u) added in the first column.

        ``(rows, suffix columns, u)``, where ``hidden`` is; whoever needs some columns only may use
        :func:`editvc.models.hooks.run_at_positions` around it.
        """
        with plain_attention(self.hidden.device):
            if self.within is not None:
                hidden = self.within.run(deltas)  # (rows, columns, u)
            else:
                hidden = plus_in_column(self.hidden, deltas[:, 0], self.start)  # (rows, columns, u)
            for call in self.calls:
                hidden = call.run(hidden)  # (rows, columns, u)
        return hidden[:, self.start :].to(self.hidden.device)  # (rows, suffix columns, u)

    def pick(self, index: Tensor) -> SuffixReplay:
        """The same for a choice of rows, in that order."""
        rows = self.hidden.shape[0]
        return SuffixReplay(
            self.hidden[index],
            self.unedited[index],
            {layer: keys[index.to(keys.device)] for layer, keys in self.keys.items()},
            None if self.within is None else self.within.pick(index, rows),
            tuple(call.pick(index, rows) for call in self.calls),
            self.start,
        )


def prepare_replay(
    lm: LanguageModel,
    rows: Sequence[SplitTokens],
    layer: int,
    site: EditSite,
    key_layers: Sequence[int] = (),
) -> SuffixReplay:
    """Run rows through the base: prefixes into a cache, then the suffixes, noting what blocks got.

    Vectors will be added at ``site`` of ``layer``. Raises :class:`ReplayError`.
    """
    cache, start = None, 0
    injected = _injected(lm, layer, site)
    recording = _Recording()
    later = range(layer + 1, lm.depth)
    replayed = [layer, *later] if lm.architecture.within_block(site) else [*later]
    with lm.eval_mode() as handles, torch.no_grad(), plain_attention(lm.device):
        if lm.architecture.cached:
            cache, seen, suffix = run_prefixes(lm, rows)  # seen: (rows, prefix columns)
        else:
            seen, suffix, start = whole(rows, lm.device)
        stored_prefixes = stored(cache, lm.depth)
        for index in replayed:
            handles.append(recording.call_of(lm, index))
        handles.append(recording.output_of(lm, layer))
        for place, module in enumerate(injected):
            handles.append(recording.part_of(module, place, len(rows), start))
        for index in key_layers:
            handles.append(recording.key_of(lm, index, len(rows), start))
        mask = torch.cat([seen, suffix.mask], dim=1)  # (rows, prefix + suffix columns)
        final, _ = forward(lm, suffix, mask, cache)  # (rows, columns, u)
    view = PrefixCache({i: stored_prefixes[i] for i in replayed if i in stored_prefixes})
    calls = {
        index: Call(lm.block(index), *recording.calls[index]).reading(view) for index in replayed
    }
    replay = SuffixReplay(
        recording.hidden[0],
        torch.stack([recording.parts[place] for place in range(len(injected))], dim=1),
        recording.keys,
        BlockWithInjection(calls[layer], injected, start) if layer in calls else None,
        tuple(calls[index] for index in later),
        start,
    )
    _verify(lm, replay, final)
    return replay


def _injected(lm: LanguageModel, layer: int, site: EditSite) -> tuple[Module, ...]:
    """The modules that vectors are added to: PMET's search moves the attention's output too."""
    module = lm.edited_module(layer, site)
    if site is EditSite.ATTENTION_AND_MLP:
        return (module, lm.attention_output(layer))
    return (module,)


def _verify(lm: LanguageModel, replay: SuffixReplay, final: Tensor) -> None:
    """Without a delta, the replay of the first row must give what the model gave."""
    with torch.no_grad():
        one = replay.pick(torch.zeros(1, dtype=torch.long, device=replay.hidden.device))
        hidden = one.replay(torch.zeros_like(one.unedited))  # (1, suffix columns, u)
        replayed = lm.final_norm(hidden)[0, 0]  # (u,)
    require_replayed(lm.architecture, replayed, final[0, replay.start].to(replayed.device))


def require_replayed(architecture: Architecture, replayed: Tensor, expected: Tensor) -> None:
    """Raise :class:`ReplayError` where a replayed state (u,) is not what the model gave."""
    if replayed.shape != expected.shape:
        raise ReplayError(architecture.model_type, "a module follows the final norm")
    error = float((replayed - expected).norm() / expected.norm().clamp_min(1e-12))
    if not error < (1e-3 if replayed.dtype in (torch.float32, torch.float64) else 5e-2):
        raise ReplayError(architecture.model_type, f"a replayed hidden state is {error:.1e} off")


class _Recording:
    """What hooks note of one pass: how blocks were called, and what modules took and gave."""

    def __init__(self) -> None:
        self.calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.hidden: list[Tensor] = []  # one, (rows, columns, u)
        self.parts: dict[int, Tensor] = {}  # (rows, u) each
        self.keys: dict[int, Tensor] = {}  # (rows, v) each

    def call_of(self, lm: LanguageModel, layer: int) -> RemovableHandle:
        """A hook that notes how a block is called."""

        def hook(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.calls[layer] = (args, dict(kwargs))

        return lm.block(layer).register_forward_pre_hook(hook, with_kwargs=True)

    def output_of(self, lm: LanguageModel, layer: int) -> RemovableHandle:
        """A hook that notes a block's output."""

        def hook(_module: Any, _args: Any, output: Any) -> None:
            self.hidden.append(first_tensor(output).detach())

        return lm.block(layer).register_forward_hook(hook)

    def part_of(self, module: Module, place: int, rows: int, column: int) -> RemovableHandle:
        """A hook that notes what a module gives in one column."""

        def hook(_module: Any, _args: Any, output: Any) -> None:
            first = first_tensor(output)
            self.parts[place] = _column(first, rows, column)

        return module.register_forward_hook(hook)

    def key_of(self, lm: LanguageModel, layer: int, rows: int, column: int) -> RemovableHandle:
        """A hook that notes what a down projection takes in one column."""

        def hook(_module: Any, args: tuple[Any, ...]) -> None:
            self.keys[layer] = _column(args[0], rows, column)

        return lm.down_proj(layer).register_forward_pre_hook(hook)


def _column(states: Tensor, rows: int, column: int) -> Tensor:
    """A copy of one column (rows, d) of states; OPT's MLP is handed all tokens in one dimension."""
    return states.view(rows, -1, states.shape[-1])[:, column].detach().clone()

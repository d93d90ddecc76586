"""MEND: a trained network turns the gradient of one fact into a change of the weights.

The gradient of a loss with respect to a down projection W (u, v) is a sum over tokens,
``sum_t delta_t k_t^T``: k_t (v,) is what the projection is given at token t, delta_t (u,) the
gradient at what it gives. The editor maps every pair to a pseudo pair and the change of a layer is

    Delta_l = -alpha_l sum_t d~_t k~_t^T,      (k~_t, d~_t) = g_l(normed(k_t), normed(delta_t))

with g two residual blocks of low rank that the layers share, each layer with a scale and an offset
of its own (equations 2 to 4 of the paper), alpha_l a learned learning rate. The means and
deviations that pairs are normed by are those of the editor's training set. An untrained editor's g
is the identity: a step of gradient descent on normed pairs.

Mitchell et al. 2022, Fast Model Editing at Scale, arXiv 2110.11309.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.patch import Patch
from editvc.algebra.tensor_file import pack, unpack_tensors
from editvc.core.facts import Request
from editvc.core.methods.mend import MendRecipe
from editvc.core.progress import Progress
from editvc.errors import DamageError, EditvcError
from editvc.models.architectures import architecture_in
from editvc.models.forward import final_states, target_losses
from editvc.models.hooks import undisturbed
from editvc.models.tokenization import Traced, trace

KIND = "editor"
BLOCKS = (0, 1)
FIXED = ("mean", "std")
"""Tensors of an editor that come from the statistics of its training set, not from training."""


class EditorError(EditvcError):
    """An editor that is not for this model or this recipe."""


class EditorDamageError(DamageError):
    """Bytes that are no editor of editvc."""


Pairs = tuple[Tensor, Tensor]
"""Keys (..., tokens, v) and deltas (..., tokens, u), token by token."""


@dataclass(frozen=True, slots=True, eq=False)
class Editor:
    """The trained network. z = v + u is the length of a pair, r the rank, n the edited layers.

    ``tensors``: ``mean`` and ``std`` (n, z); for the blocks 0 and 1 ``down`` (r, z), ``up`` (z, r),
    ``bias`` (z,), ``scale`` and ``offset`` (n, z), each named like ``0.down``; ``rate`` (n,).
    ``origin`` is what is known of its making: JSON.
    """

    layers: tuple[int, ...]
    tensors: Mapping[str, Tensor]
    origin: Mapping[str, Any]

    @classmethod
    def untrained(
        cls, layers: Sequence[int], mean: Tensor, std: Tensor, *, rank: int, rate: float, seed: int
    ) -> Editor:
        """An editor whose network is the identity; ``mean`` and ``std`` are (n, z), float32."""
        generator = torch.Generator().manual_seed(seed)
        size = mean.shape[1]
        tensors = {"mean": mean, "std": std, "rate": torch.full((len(layers),), rate)}
        for block in BLOCKS:
            # Up begins at zero, which makes the block the identity; down may not, or none learns.
            down = torch.randn(min(rank, size), size, generator=generator) / math.sqrt(size)
            tensors |= {
                f"{block}.down": down,
                f"{block}.up": torch.zeros(size, len(down)),
                f"{block}.bias": torch.zeros(size),
                f"{block}.scale": torch.ones(len(layers), size),
                f"{block}.offset": torch.zeros(len(layers), size),
            }
        placed = {name: tensor.to(mean.device) for name, tensor in tensors.items()}
        return cls(tuple(layers), placed, {})

    def pseudo(self, layer: int, keys: Tensor, deltas: Tensor) -> Pairs:
        """Pseudo keys (..., v) and pseudo deltas (..., u): g of a layer, on pairs of any dtype."""
        place = self.layers.index(layer)
        part = {name: tensor.to(keys) for name, tensor in self.tensors.items()}
        pairs = torch.cat([keys, deltas], dim=-1)
        hidden = (pairs - part["mean"][place]) / part["std"][place]
        for block in BLOCKS:
            mixed = hidden @ part[f"{block}.down"].T @ part[f"{block}.up"].T + part[f"{block}.bias"]
            added = mixed * part[f"{block}.scale"][place] + part[f"{block}.offset"][place]
            hidden = hidden + (added.clamp_min(0) if block == BLOCKS[0] else added)
        v = keys.shape[-1]
        return hidden[..., :v], hidden[..., v:]

    def change(self, layer: int, keys: Tensor, deltas: Tensor) -> Pairs:
        """The factors of ``Delta_l = left^T right``: right (..., tokens, v), left (..., tokens, u).

        Returned as (right, left); left holds ``-alpha_l``.
        """
        k, d = self.pseudo(layer, keys, deltas)
        return k, d * -self.tensors["rate"][self.layers.index(layer)].to(d)

    def to_bytes(self) -> bytes:
        """As safetensors, float32, with ``origin`` as the record: equal editors, equal bytes."""
        stored = {
            name: tensor.detach().to("cpu", torch.float32) for name, tensor in self.tensors.items()
        }
        record = dict(self.origin) | {"kind": KIND, "layers": list(self.layers)}
        return pack(stored, record)

    @classmethod
    def from_bytes(cls, data: bytes, record: Mapping[str, Any]) -> Editor:
        """The inverse of :meth:`to_bytes`; ``record`` is the object's own.

        Raises :class:`EditorDamageError` for bytes that are no editor.
        """
        names = {*FIXED, "rate"} | {
            f"{block}.{part}"
            for block in BLOCKS
            for part in ("down", "up", "bias", "scale", "offset")
        }
        tensors = unpack_tensors(data, _damage)
        if record.get("kind") != KIND or tensors.keys() != names:
            raise EditorDamageError(
                f"an editor is needed, this is a {record.get('kind')}", hint="Run `editvc fsck`."
            )
        origin = {key: value for key, value in record.items() if key not in ("kind", "layers")}
        return cls(tuple(record["layers"]), {name: tensors[name] for name in sorted(names)}, origin)


def _damage(problem: str) -> EditorDamageError:
    return EditorDamageError(f"no editor: {problem}", hint="Run `editvc fsck`.")


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a batch of facts asks of each layer: keys (rows, columns, v), deltas (rows, columns, u).

    Both are zero where a row is padded. ``losses`` (rows,) is the mean negative log likelihood of
    each target's tokens.
    """

    pairs: Mapping[int, Pairs]
    mask: Tensor
    losses: Tensor


def gradients(model: Any, rows: Sequence[Traced], layers: Sequence[int]) -> Gradients:
    """Keys and output gradients of the loss of every row alone, at all its tokens but the last."""
    columns = max(len(row.ids) for row in rows) - 1
    keys: dict[int, Tensor] = {}
    probes: dict[int, Tensor] = {}

    def hook(layer: int) -> Callable[..., Tensor]:
        def probe(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            keys[layer] = args[0].detach().reshape(len(rows), columns, -1)
            probes[layer] = torch.zeros_like(output, requires_grad=True)
            return output + probes[layer]

        return probe

    with undisturbed(model) as handles, torch.enable_grad():
        for layer in layers:
            handles.append(_module(model, layer).register_forward_hook(hook(layer)))
        hidden, mask = final_states(model, [row.ids[:-1] for row in rows])
        losses = target_losses(model, hidden, rows)
        found = torch.autograd.grad(losses.sum(), [probes[layer] for layer in layers])
    seen = mask[..., None].bool()
    pairs = {
        layer: (keys[layer] * seen, delta.reshape(len(rows), columns, -1) * seen)
        for layer, delta in zip(layers, found, strict=True)
    }
    return Gradients(pairs, mask, losses.detach())


@contextmanager
def changed(model: Any, changes: Mapping[int, Pairs]) -> Iterator[None]:
    """The model with a change of its own for every row of a batch, and no weight touched.

    ``changes`` by layer: right (rows, t, v) and left (rows, t, u). Where a down projection is given
    x (rows, columns, v) it gives ``(x right^T) left`` more: differentiable in both factors.
    """

    def hook(right: Tensor, left: Tensor) -> Callable[..., Tensor]:
        def add(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
            given: Tensor = args[0].reshape(right.shape[0], -1, right.shape[-1])
            added = given @ right.transpose(1, 2) @ left
            return output + added.reshape(output.shape)

        return add

    with undisturbed(model) as handles:
        for layer, (right, left) in changes.items():
            handles.append(_module(model, layer).register_forward_hook(hook(right, left)))
        yield


def edit(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    recipe: MendRecipe,
    editor: Editor,
    *,
    progress: Progress | None = None,
) -> list[Patch]:
    """One patch for every request, each made on the model as it is; no weight is touched.

    The rank of a patch is at most the number of tokens of question and target. Figures: ``loss``
    and ``loss_after``, mean negative log likelihood (nats) of the target's tokens before and with
    the patch. Raises :class:`EditorError` for an editor of other layers or sizes, and the errors
    of :mod:`editvc.models.tokenization`.
    """
    _require_fit(model, recipe, editor)
    patches = []
    for (traced,) in trace(tokenizer, requests):
        patches.append(_edit_one(model, traced, recipe, editor))
        if progress is not None:
            progress("edits", len(patches), len(requests))
    return patches


def _edit_one(model: Any, row: Traced, recipe: MendRecipe, editor: Editor) -> Patch:
    """Alone in its batch, so that its bytes do not depend on the company it came in."""
    asked = gradients(model, [row], recipe.layers)
    with torch.no_grad():
        changes = {}
        for layer, pairs in asked.pairs.items():
            right, left = editor.change(layer, *pairs)
            changes[layer] = (right, left * recipe.lr_scale)
        with changed(model, changes):
            hidden, _ = final_states(model, [row.ids[:-1]])
        after = target_losses(model, hidden, [row])
    delta = Delta(
        {
            layer: _compact(left[0].double().cpu(), right[0].double().cpu())
            for layer, (right, left) in changes.items()
        }
    )
    return Patch(delta, {"loss": float(asked.losses), "loss_after": float(after), "error": 0.0})


def _compact(left: Tensor, right: Tensor) -> Factored:
    """``left^T right`` of (t, u) and (t, v) at its numerical rank, as float32 would see it."""
    whole = Factored(left.T.contiguous(), right.contiguous())
    _, values, _ = whole.svd()
    floor = values.max() * torch.finfo(torch.float32).eps if len(values) else 0.0
    return whole.compress(rank=int((values > floor).sum()))


def _require_fit(model: Any, recipe: MendRecipe, editor: Editor) -> None:
    if recipe.layers != editor.layers:
        raise EditorError(
            f"the editor is for layers {list(editor.layers)}, the recipe for {list(recipe.layers)}",
            hint="Leave layers out, or train one: `editvc train mend FILE --layers "
            + ",".join(map(str, recipe.layers))
            + "`.",
        )
    size = sum(_module(model, recipe.layers[0]).weight.shape)
    if editor.tensors["mean"].shape[1] != size:
        raise EditorError(
            f"the editor takes pairs of {editor.tensors['mean'].shape[1]} numbers, "
            f"this model has {size}",
            hint="Train one for this model: `editvc train mend FILE`.",
        )


def _module(model: Any, layer: int) -> Any:
    return architecture_in(model).module(model, layer)

"""From a target z after layer L to a key and a residual share for every edited layer.

MEMIT spreads ``z - h^L`` over the layers one after the other: each layer's key and share are read
off under the layers below, already edited, so the upper layers make up for what the lower ones left
undone. In a batch that ties the edits to each other. :func:`spread_alone` does the same for each
edit as if it were the only one: what the layers below would then deliver is known in closed form
and is injected at the subject's last token. Edits stay independent, and their sum behaves nearly
as a batch refreshed layer by layer.

Ridge regression gives back less than it is asked for. :func:`asked` makes up for what an edit loses
when it is alone, so that the weight of the old keys decides how edits share a layer, and not
whether one edit takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.diagnostics import leverage
from editvc.algebra.factored import Factored
from editvc.algebra.preconditioners import Guard
from editvc.algebra.solvers import solver_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.target_search import over_contexts
from editvc.models.architectures import architecture_in
from editvc.models.devices import device_of
from editvc.models.forward import padded_right
from editvc.models.hooks import Enough, first_tensor, undisturbed
from editvc.models.tokenization import Traced

_COLUMNS = 1 << 12
"""Tokens of one pass: enough to keep the cores busy, few enough that little of it is padding."""

SHARES: Mapping[str, Callable[[int], float]] = {
    "even": lambda left: 1 / left,
    "root": lambda left: 1 / sqrt(left),
}
"""The spreads that rows of :mod:`editvc.core.methods.table` name, by how many layers are left."""

Acting = Mapping[int, Callable[..., Tensor]]
"""Hooks on down projections, by layer: what makes a layer behave as if it were edited."""


def spread_alone(
    model: Any,
    rows: Sequence[Sequence[Traced]],
    z: Tensor,
    recipe: LocatedRecipe,
    guards: Mapping[int, Guard],
) -> list[tuple[dict[int, Tensor], dict[int, Tensor]]]:
    """Keys (v,) and residuals (u,) by layer of each edit alone; ``rows`` by edit and context.

    From the lowest layer up, with everything injected so far: ``k`` the key averaged over the
    contexts, ``s`` the layer's share (:func:`share`) of ``z - h^L`` in the first context (over the
    family's ``gain``, where the block scales what its down projection gives), and what is
    :func:`asked` for it the residual. The solver then gives this one edit its share of that for the
    key k, and ``a`` times as much for a key k_c, with ``a = k_c^T A^-1 k / k^T A^-1 k`` and
    ``A = lambda C``; ``delivery_factor`` times that is injected at the subject's last token in
    context c, for among other edits a layer gives back less than alone.
    """
    layers, contexts, solver = recipe.layers, len(rows[0]), solver_of(recipe)
    flat = [row for edit in rows for row in edit]
    gain = architecture_in(model).gain(model.config, recipe.row.target)
    acting: dict[int, Callable[..., Tensor]] = {}
    keys: dict[int, Tensor] = {}
    residuals: dict[int, Tensor] = {}
    for place, layer in enumerate(layers):
        each, hidden = subject_states(model, flat, recipe, layer, acting)
        keys[layer] = over_contexts(each, contexts)
        shares = (z - hidden[::contexts]) * (share(recipe, place) / gain)
        white = whitened(keys[layer], guards[layer])
        alone = solver.alone(leverage(white))
        residuals[layer] = asked(shares, alone, recipe.compensation)
        given = recipe.delivery_factor * (residuals[layer] * alone.to(shares)[:, None])
        reach = _reach(whitened(each, guards[layer]), white, contexts)
        whole = given.repeat_interleave(contexts, dim=0)
        acting[layer] = injecting(whole * reach[:, None].to(whole), flat)
    return [
        (
            {layer: keys[layer][index] for layer in layers},
            {layer: residuals[layer][index] for layer in layers},
        )
        for index in range(len(rows))
    ]


def share(recipe: LocatedRecipe, place: int) -> float:
    """The part of what is still missing that the layer at ``place`` in ``layers`` takes on.

    ``even``: 1 / (layers left), MEMIT's; ``root``: 1 / sqrt(layers left), PMET's.
    """
    left = len(recipe.layers) - place
    return SHARES[recipe.row.spread](left)


def asked(shares: Tensor, alone: Tensor, compensation: float) -> Tensor:
    """Residuals (n, u) for shares (n, u), of which the solver gives one edit the part ``alone``.

    Ridge regression of one edit returns ``r q / (1 + q)``, with its leverage ``q = k^T A^-1 k`` and
    ``A = lambda C``; ``alone`` (n,) has the q / (1 + q), or what it is for another solver. With a
    ``compensation`` of 1, ``r = s (1 + q) / q``: the equality constraint of ROME, met by every edit
    that is alone, in the batch of MEMIT. With 0, ``r = s``: MEMIT as published. Not finite where q
    is zero and something is to be made up for: there is no such r.
    """
    return shares / alone.to(shares)[:, None] ** compensation


def share_of(residuals: Tensor, alone: Tensor, compensation: float) -> Tensor:
    """The shares (n, u) that residuals (n, u) were :func:`asked` for, given the same."""
    return residuals * alone.to(residuals)[:, None] ** compensation


def whitened(keys: Tensor, guard: Guard) -> Tensor:
    """Keys (n, v) as columns in float64 on the CPU, whitened: (v, n)."""
    return guard.whiten(keys.T.double().cpu())


def _reach(each: Tensor, white: Tensor, contexts: int) -> Tensor:
    """``a`` of every (edit, context) key ``each`` (v, n * contexts), for keys (v, n), whitened."""
    together = (white.repeat_interleave(contexts, dim=1) * each).sum(dim=0)
    # A key that the guard leaves nothing of (AlphaEdit) reaches nothing.
    return together / leverage(white).repeat_interleave(contexts).clamp_min(1e-300)


def subject_states(
    model: Any, rows: Sequence[Traced], recipe: LocatedRecipe, layer: int, acting: Acting
) -> tuple[Tensor, Tensor]:
    """Key of ``layer`` (rows, v) and h of the last edited layer (rows, u) at the subjects' ends.

    h is what targets are for: the block's output, or what
    :meth:`editvc.models.architectures.Architecture.aimed` says. In float32 at least. Runs no
    further than that block and no further right than the subject.
    """
    architecture = architecture_in(model)
    device = device_of(model)
    ids, mask = padded_right([row.ids[: row.subject + 1] for row in rows], device)
    ends = torch.tensor([row.subject for row in rows], device=device)
    index = torch.arange(len(rows), device=device)
    caught: dict[str, Tensor] = {}

    def key(_module: Any, args: tuple[Any, ...]) -> None:
        # Some MLPs are handed all tokens in one dimension.
        caught["key"] = args[0].view(*ids.shape, -1)[index, ends]

    def hidden(_module: Any, _args: Any, output: Any) -> None:
        caught["hidden"] = first_tensor(output)[index, ends]
        raise Enough

    with undisturbed(model) as handles, torch.no_grad():
        for below, hook in acting.items():
            handles.append(architecture.module(model, below).register_forward_hook(hook))
        handles.append(architecture.module(model, layer).register_forward_pre_hook(key))
        aimed = architecture.aimed(model, recipe.layers[-1], recipe.row.target)
        handles.append(aimed.register_forward_hook(hidden))
        with suppress(Enough):
            model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    work = torch.promote_types(caught["key"].dtype, torch.float32)
    return caught["key"].to(work), caught["hidden"].to(work)


def injecting(vectors: Tensor, rows: Sequence[Traced]) -> Callable[..., Tensor]:
    """A hook that adds vectors (rows, u) to a down projection's output at the subjects' ends."""
    ends = torch.tensor([row.subject for row in rows], device=vectors.device)
    index = torch.arange(len(rows), device=vectors.device)

    def hook(_module: Any, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        added = output.clone()
        by_row = added.view(len(rows), -1, output.shape[-1])
        by_row[index, ends] += vectors.to(output.dtype)
        return added

    return hook


def adding(factored: Factored, model: Any) -> Callable[..., Tensor]:
    """A hook that adds ``left @ right @ input`` to a down projection's output."""
    weight = next(model.parameters())
    left = factored.left.to(weight.device, weight.dtype)
    right = factored.right.to(weight.device, weight.dtype)

    def hook(_module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        added: Tensor = output + (args[0] @ right.T) @ left.T
        return added

    return hook


def in_parts(rows: Sequence[Sequence[Traced]], model: Any, memory: int) -> Iterator[list[int]]:
    """Places of edits, of similar length, whose hidden states up to L fit in ``memory`` bytes."""
    widths = [max(row.subject + 1 for row in edit) for edit in rows]
    part: list[int] = []
    for place in sorted(range(len(rows)), key=widths.__getitem__):
        size = len(rows[place]) * widths[place] * 4 * 24 * model.config.hidden_size
        wide = len(rows[place]) * widths[place] * (len(part) + 1) > _COLUMNS
        if part and (size * (len(part) + 1) > memory or wide):
            yield part
            part = []
        part.append(place)
    if part:
        yield part

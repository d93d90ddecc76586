"""From requests to located edits: the keys and residuals that the algebra works on.

:func:`locate` takes every edit alone on the model as it is, so edits are independent of each other.
:func:`locate_together` sees a whole set at once, layer after layer, each with the layers below
already edited: what ``squash`` does. Both leave the model as they found it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from editvc.core.ids import canonical_json
from editvc.core.recipe import Recipe
from editvc.editing.architectures import architecture_in
from editvc.editing.delta import Factored
from editvc.editing.devices import device_of
from editvc.editing.diagnostics import leverage
from editvc.editing.replay import logits_of, padded_right, undisturbed
from editvc.editing.solvers import SolveError, Whitening, solve
from editvc.editing.spread import (
    adding,
    asked,
    in_parts,
    share_of,
    spread_alone,
    subject_states,
    whitened,
)
from editvc.editing.targets import (
    MEMORY,
    Progress,
    Target,
    edit_bytes,
    find_targets,
    inner_size,
    over_contexts,
    trace_edits,
)
from editvc.editing.tracing import Request, Traced, trace
from editvc.errors import DamageError

__all__ = [
    "Located",
    "LocatedDamageError",
    "Request",
    "estimate_memory",
    "knows",
    "locate",
    "locate_together",
    "located_bytes",
]

_METADATA = "editvc"


class LocatedDamageError(DamageError):
    """Bytes that are no located edit."""


@dataclass(frozen=True, slots=True)
class Located:
    """A fact made numeric: by layer, its key (v,) and residual (u,), float32, on the CPU.

    ``figures`` tells how it went: ``loss``, ``steps``, ``base_probability`` and ``probability`` of
    the target before and after, ``residual`` = |z - h| and ``hidden`` = |h| at the last layer.
    """

    keys: dict[int, Tensor]
    residuals: dict[int, Tensor]
    figures: dict[str, float]

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.3.key``, ``layer.3.residual``, the figures in one metadata key.

        ``origin`` (JSON values: base, recipe, request ...) joins the figures there.
        """
        tensors = {f"layer.{layer}.key": key for layer, key in self.keys.items()}
        tensors |= {f"layer.{layer}.residual": value for layer, value in self.residuals.items()}
        record = {"kind": "located", "figures": self.figures} | dict(origin or {})
        data: bytes = save(
            {name: tensor.contiguous() for name, tensor in sorted(tensors.items())},
            metadata={_METADATA: canonical_json(record).decode()},
        )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Located:
        """The inverse of :meth:`to_bytes`; :class:`LocatedDamageError` for other bytes."""
        try:
            size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + size])
            figures = json.loads(header["__metadata__"][_METADATA])["figures"]
            parts: dict[str, dict[int, Tensor]] = {"key": {}, "residual": {}}
            for name, tensor in load(data).items():
                _, layer, part = name.split(".")
                parts[part][int(layer)] = tensor
        except Exception as error:
            raise LocatedDamageError(f"not a located edit: {error}") from error
        keys, residuals = (dict(sorted(part.items())) for part in parts.values())
        return cls(keys, residuals, figures)


def locate(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    recipe: Recipe,
    whitenings: Mapping[int, Whitening],
    *,
    shaping: Tensor | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Located]:
    """Locate every request on the base, each as if it were the only edit (:mod:`.spread`).

    ``shaping`` (u, u) is the recipe's sensitivity made ready for targets. Raises what
    :func:`editvc.editing.targets.find_targets` raises, and :class:`SolveError` for a request that
    a layer cannot answer, its key being zero or not finite.
    """
    targets = find_targets(
        model, tokenizer, requests, recipe, shaping=shaping, memory=memory, progress=progress
    )
    rows = trace(tokenizer, requests, recipe.contexts)
    z = torch.stack([target.z for target in targets]) if targets else torch.zeros(0, 0)
    spread: dict[int, tuple[dict[int, Tensor], dict[int, Tensor]]] = {}
    for part in in_parts(rows, model, memory):
        mine = [rows[place] for place in part]
        found = spread_alone(
            model, mine, z[part], recipe.layers, whitenings, recipe.delivery_factor
        )
        for place, (keys, residuals) in zip(part, found, strict=True):
            for layer in recipe.layers:
                _require_finite(requests[place], layer, keys[layer], residuals[layer])
        spread.update(zip(part, found, strict=True))
        if progress is not None:
            progress("keys", len(spread), len(rows))
    return [_located(target, *spread[place]) for place, target in enumerate(targets)]


def locate_together(
    model: Any,
    tokenizer: Any,
    requests: Sequence[Request],
    alone: Sequence[Located],
    recipe: Recipe,
    whitenings: Mapping[int, Whitening],
    *,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> list[Located]:
    """Locate requests as one batch: a layer sees the layers below edited (MEMIT, algorithm 1).

    ``alone`` is what :func:`locate` found for them with this recipe: the targets z are taken from
    there. Then, from the lowest layer up, keys and shares (z - h^L now) / (layers left) are read
    off and solved with the layer's whitening; the solution acts on the next layer through a hook,
    no weight is touched. Raises :class:`SolveError` as :func:`locate` does.
    """
    if not requests:
        return []
    rows = trace(tokenizer, requests, recipe.contexts)
    deltas = _deltas(alone, recipe.layers, whitenings).to(device_of(model))
    gain = architecture_in(model).gain(model.config)
    keys: dict[int, Tensor] = {}
    residuals: dict[int, Tensor] = {}
    solved: dict[int, Factored] = {}
    for place, layer in enumerate(recipe.layers):
        keys[layer], hidden = _seen(model, rows, layer, recipe.layers[-1], solved, memory)
        if not solved:
            z = hidden + deltas * gain
        shares = (z - hidden) / ((len(recipe.layers) - place) * gain)
        residuals[layer] = asked(shares, leverage(whitened(keys[layer], whitenings[layer])))
        for request, key, residual in zip(requests, keys[layer], residuals[layer], strict=True):
            _require_finite(request, layer, key, residual)
        solved[layer] = solve(
            keys[layer].T.double().cpu(), residuals[layer].T.double().cpu(), whitenings[layer]
        )
        if progress is not None:
            progress("layers", place + 1, len(recipe.layers))
    return [
        Located(
            _stored({layer: keys[layer][index] for layer in recipe.layers}),
            _stored({layer: residuals[layer][index] for layer in recipe.layers}),
            one.figures,
        )
        for index, one in enumerate(alone)
    ]


def _deltas(
    alone: Sequence[Located], layers: Sequence[int], whitenings: Mapping[int, Whitening]
) -> Tensor:
    """Z - h (n, u), over the gain, of edits located alone: an equal share is the lowest layer's."""
    lowest = layers[0]
    residuals = torch.stack([one.residuals[lowest] for one in alone])
    keys = torch.stack([one.keys[lowest] for one in alone])
    return share_of(residuals, leverage(whitened(keys, whitenings[lowest]))) * len(layers)


def knows(
    model: Any, tokenizer: Any, requests: Sequence[Request], *, batch: int = 32
) -> list[bool]:
    """Whether greedy generation after each question already begins with the target's tokens.

    One forward pass: the generation begins with the target exactly when every target token is the
    most likely one after those before it.
    """
    rows = [traced for (traced,) in trace(tokenizer, requests)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    known: dict[int, bool] = {}
    with undisturbed(model), torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            ids, mask = padded_right([rows[i].ids[:-1] for i in chosen], device_of(model))
            hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)[0]
            for place, index in enumerate(chosen):
                row = rows[index]
                said = logits_of(model, hidden[place, row.target - 1 : len(row.ids) - 1]).argmax(-1)
                known[index] = said.tolist() == list(row.ids[row.target :])
    return [known[index] for index in range(len(rows))]


def estimate_memory(
    config: Any, tokenizer: Any, requests: Sequence[Request], recipe: Recipe, memory: int = MEMORY
) -> int:
    """Bytes that locating takes at most beside the model: one batch, and what is handed back."""
    edits = trace_edits(tokenizer, requests, recipe)
    if not edits:
        return 0
    sizes = sorted((edit_bytes(edit, config) for edit in edits), reverse=True)
    largest = max(sizes[0], min(sum(sizes), memory))
    return largest + len(edits) * located_bytes(config, len(recipe.layers))


def located_bytes(config: Any, layers: int) -> int:
    """Upper bound of a stored located edit: 4 (u + v) bytes a layer, and 4 KB."""
    return 4 * (int(config.hidden_size) + inner_size(config)) * layers + 4096


def _require_finite(request: Request, layer: int, key: Tensor, residual: Tensor) -> None:
    """Numbers that were stored once are found in the store ever after: only sound ones may be."""
    if not bool(torch.isfinite(key).all() and torch.isfinite(residual).all()):
        what = "zero" if not key.any() else "out of range"
        raise SolveError(
            f"layer {layer} cannot be edited for {request.question!r}: "
            f"its key at the end of {request.subject!r} is {what}",
            hint="Leave the fact out, or name other layers under [recipe] in config.toml.",
        )


def _located(target: Target, keys: dict[int, Tensor], residuals: dict[int, Tensor]) -> Located:
    figures = target.figures | {
        "residual": float(target.delta.norm()),
        "hidden": float(target.hidden.norm()),
    }
    return Located(_stored(keys), _stored(residuals), figures)


def _stored(vectors: dict[int, Tensor]) -> dict[int, Tensor]:
    return {layer: vector.float().cpu().clone() for layer, vector in vectors.items()}


def _seen(
    model: Any,
    rows: Sequence[Sequence[Traced]],
    layer: int,
    last: int,
    solved: Mapping[int, Factored],
    memory: int,
) -> tuple[Tensor, Tensor]:
    """Keys (n, v) of one layer, and h^L (n, u) in the first context, under the layers solved."""
    contexts = len(rows[0])
    acting = {below: adding(factored, model) for below, factored in solved.items()}
    keys: dict[int, Tensor] = {}
    hidden: dict[int, Tensor] = {}
    for part in in_parts(rows, model, memory):
        flat = [row for place in part for row in rows[place]]
        k, h = subject_states(model, flat, layer, last, acting)
        keys.update(zip(part, over_contexts(k, contexts), strict=True))
        hidden.update(zip(part, h[::contexts], strict=True))
    places = range(len(rows))
    return torch.stack([keys[i] for i in places]), torch.stack([hidden[i] for i in places])

"""Statistics taken apart by layers, put together again, and checked where they come from outside.

A layer's statistics do not depend on which other layers were taken with it. So a part of them is
what a run over these layers alone would have given, and parts join to the bytes they came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from editvc.algebra import input_statistics, second_moment
from editvc.algebra.input_statistics import InputStatistics
from editvc.algebra.second_moment import SecondMoment, StatisticsDamageError
from editvc.algebra.tensor_file import layer_tensor, pack, unpack
from editvc.core.ids import digest_of
from editvc.errors import DamageError

LABELS = ("base", "layers", "source", "kind")
"""What a record says that is no setting of the corpus."""


class NotFitting(DamageError):
    """Statistics that are not what they are said to be. Says what is wrong, after "it"."""


def split(data: bytes) -> dict[tuple[int, ...], bytes]:
    """Statistics by their layers, each a whole file of the same kind. Raises ``DamageError``."""
    tensors, record = unpack(data, None, StatisticsDamageError)
    return {
        (layer,): pack(_of_layer(tensors, layer), record | {"layers": [layer]})
        for layer in record["layers"]
    }


def join(parts: Sequence[bytes]) -> bytes:
    """Statistics of several layers, of the same corpus; what the corpus is called, the first says.

    Raises :class:`NotFitting` for parts of different corpora.
    """
    tensors: dict[str, Tensor] = {}
    records = []
    for data in parts:
        of_part, record = unpack(data, None, NotFitting)
        tensors |= of_part
        records.append(record)
    if len({digest_of(settings(record)) for record in records}) > 1:
        raise NotFitting("is of several corpora")
    layers = sorted(layer for record in records for layer in record["layers"])
    return pack(tensors, records[0] | {"layers": layers})


def settings(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says of the corpus and of how it was read: equal for equal statistics."""
    return {name: value for name, value in record.items() if name not in LABELS}


def corpus_of(record: dict[str, Any]) -> str:
    """One digest of :func:`settings`."""
    return digest_of(settings(record))


def require_statistics(
    data: bytes, *, base: str, layers: Sequence[int], corpus: str, width: int, inputs: bool
) -> None:
    """Raise :class:`NotFitting` unless bytes are statistics of this base, these layers and corpus.

    ``width`` is the number of entries of what the moment is of. ``inputs``: those of what MLPs see.
    Numbers must be finite, and no direction may have a negative mean square.
    """
    kind = input_statistics.KIND if inputs else second_moment.KIND
    _, record = unpack(data, kind, NotFitting)
    if record.get("base") != base or record.get("layers") != [*layers]:
        raise NotFitting("is of another base, or of other layers")
    if corpus_of(record) != corpus:
        raise NotFitting("is of another corpus")
    read = InputStatistics.from_bytes(data) if inputs else SecondMoment.from_bytes(data)
    found = tuple(read.layers)
    whole = found == tuple(layers) if inputs else {layers[-1]} <= {*found} <= {*layers}
    if not whole:
        raise NotFitting("has tensors of other layers than it says")
    for layer in found:
        _require_moment(_moment(read, layer), width, layer)
        if isinstance(read, InputStatistics):
            of_layer = read.layers[layer]
            for tensor in (of_layer.constant[None], of_layer.inputs, of_layer.text):
                _require(tensor.ndim == 2 and tensor.shape[1] == width, "shape", layer)
                _require(bool(torch.isfinite(tensor).all()), "value", layer)


def _moment(read: SecondMoment | InputStatistics, layer: int) -> Tensor:
    return read.layers[layer].moment if isinstance(read, InputStatistics) else read.matrix(layer)


def _require_moment(moment: Tensor, width: int, layer: int) -> None:
    _require(tuple(moment.shape) == (width, width), "shape", layer)
    _require(bool(torch.isfinite(moment).all()), "value", layer)
    _require(bool((moment.diagonal() >= 0).all()), "value", layer)


def _require(true: bool, what: str, layer: int) -> None:
    if not true:
        raise NotFitting(f"has a tensor of layer {layer} of an impossible {what}")


def _of_layer(tensors: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    beginning = layer_tensor(layer, "")
    return {name: tensor for name, tensor in tensors.items() if name.startswith(beginning)}

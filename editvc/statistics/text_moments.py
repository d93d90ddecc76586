"""Second moments of keys, ``C_l = E[k k^T]``: what an edit must not disturb.

Text moments are means over tokens, all layers in one pass. A run can be stopped and taken up
again: its state (sums, tokens, position in the text) goes to a folder at whole chunks of text, and
chunks are cut in the same way each time, so the result is the same to the bit.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

from editvc.core.ids import canonical_json, digest_of
from editvc.core.progress import Progress
from editvc.errors import DamageError, EditvcError
from editvc.models.forward import add_products, batches, keys_at
from editvc.models.language_model import LanguageModel
from editvc.statistics.corpus import CorpusError, pieces

TOKEN_CAP = 512
"""Tokens of the longest sequence that statistics are taken on."""

_METADATA = "editvc"
_CHUNK = 1 << 14
_SAVES = 20


class StatisticsDamageError(DamageError):
    """Bytes that are no second moment of editvc."""


class StateMismatchError(EditvcError):
    """A saved state that belongs to another run. ``part`` is what differs."""

    def __init__(self, folder: Path, part: str) -> None:
        super().__init__(
            f"{folder} holds the state of a run with another {part}",
            hint="Give the same texts, layers, cap and budget, or remove that folder.",
        )
        self.part = part


@dataclass(frozen=True, slots=True)
class SecondMoment:
    """``E[k k^T]`` by layer, each as its upper triangle, row by row, (v (v + 1) / 2,) float32.

    ``samples`` counts what the mean is over, ``unit`` says what that is (``tokens``, ``names``).
    """

    triangles: Mapping[int, Tensor]
    samples: int
    unit: str = "tokens"

    @classmethod
    def of(cls, moments: Mapping[int, Tensor], samples: int, unit: str = "tokens") -> SecondMoment:
        """From symmetric matrices (v, v)."""
        return cls({layer: _packed(moments[layer]) for layer in sorted(moments)}, samples, unit)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers there are moments of."""
        return tuple(self.triangles)

    def matrix(self, layer: int) -> Tensor:
        """The moment of one layer, (v, v) float64, symmetric."""
        return _unpacked(self.triangles[layer])

    def to_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """safetensors: ``layer.3.triangle`` in float32; ``origin`` joins the metadata."""
        record = {"kind": "statistics", "samples": self.samples, "unit": self.unit}
        data: bytes = save(
            {f"layer.{layer}.triangle": triangle for layer, triangle in self.triangles.items()},
            metadata={_METADATA: canonical_json(record | dict(origin or {})).decode()},
        )
        return data

    def to_small_bytes(self, origin: Mapping[str, Any] | None = None) -> bytes:
        """Half the size, for files that ship with a model: ``layer.3.factor`` in float16.

        The factor is Cholesky's, so what is read back is positive definite however it was rounded;
        it differs from this moment by about 1e-3.
        """
        record = {"kind": "statistics", "samples": self.samples, "unit": self.unit}
        data: bytes = save(
            {f"layer.{layer}.factor": _factor(self.matrix(layer)) for layer in self.layers},
            metadata={_METADATA: canonical_json(record | dict(origin or {})).decode()},
        )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> SecondMoment:
        """What :meth:`to_bytes` or :meth:`to_small_bytes` wrote; else StatisticsDamageError."""
        try:
            size = int.from_bytes(data[:8], "little")
            record = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][_METADATA])
            triangles: dict[int, Tensor] = {}
            for name, tensor in load(data).items():
                _, layer, part = name.split(".")
                triangles[int(layer)] = tensor if part == "triangle" else _squared(tensor)
            return cls(dict(sorted(triangles.items())), int(record["samples"]), str(record["unit"]))
        except Exception as error:
            raise StatisticsDamageError(f"not a second moment: {error}") from error

    @classmethod
    def from_npz(cls, paths: Mapping[int, Path]) -> SecondMoment:
        """From the ``.npz`` files that ROME and MEMIT keep, one a layer: ``mom2.mom2`` is the
        sum of ``k k^T`` (v, v), ``mom2.count`` the number of tokens.
        """
        import numpy as np

        moments, counts = {}, []
        for layer, path in paths.items():
            with np.load(path, allow_pickle=False) as arrays:
                try:
                    count = int(arrays["mom2.count"])
                    moments[layer] = torch.from_numpy(arrays["mom2.mom2"]).double() / count
                except KeyError as error:
                    raise CorpusError(
                        str(path), f"{error.args[0]}", hint="Not a file of ROME's layer_stats."
                    ) from error
            counts.append(count)
        return cls.of(moments, min(counts))


@dataclass(slots=True)
class Running:
    """The state of a run over text: sums (v, v) float64 by layer, tokens, pieces consumed."""

    settings: dict[str, Any]
    sums: dict[int, Tensor] = field(default_factory=dict)
    tokens: int = 0
    position: int = 0

    def save(self, folder: Path) -> None:
        """Write the state; a reader finds the old one or the new one, never half of either."""
        folder.mkdir(parents=True, exist_ok=True)
        record = {"settings": self.settings, "tokens": self.tokens, "position": self.position}
        whole, partial = folder / "state.safetensors", folder / "state.partial"
        save_file(
            {f"layer.{layer}.sum": total.cpu() for layer, total in self.sums.items()},
            partial,
            metadata={_METADATA: canonical_json(record).decode()},
        )
        os.replace(partial, whole)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Running:
        """The state in a folder, or a fresh one; :class:`StateMismatchError` for another run's."""
        path = folder / "state.safetensors"
        if not path.is_file():
            return cls(settings)
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        record = json.loads(header["__metadata__"][_METADATA])
        for part, value in settings.items():
            if record["settings"].get(part) != value:
                raise StateMismatchError(folder, part)
        sums = {int(name.split(".")[1]): total for name, total in load_file(path).items()}
        return cls(settings, sums, record["tokens"], record["position"])


def text_moments(
    lm: LanguageModel,
    texts: Iterable[str],
    layers: Sequence[int],
    *,
    budget: int | None = None,
    cap: int = TOKEN_CAP,
    folder: Path | None = None,
    source: str = "",
    progress: Progress | None = None,
) -> SecondMoment:
    """Mean of ``k k^T`` over the tokens of ``texts``, for all ``layers`` in one pass.

    ``budget`` is in tokens, 10 x v by default; ``cap`` is lowered to what the model has positions
    for. With a ``folder`` the state is kept there and taken up again; ``source`` tells apart the
    texts of one run from another's. Raises :class:`CorpusError` where there is no text, and
    :class:`StateMismatchError`.
    """
    budget = budget or 10 * lm.inner_size
    cap = min(cap, getattr(lm.config, "max_position_embeddings", None) or cap)
    settings = {"source": source, "layers": list(layers), "budget": budget, "cap": cap}
    run = Running.load(folder, settings) if folder is not None else Running(settings)
    every, saved = budget // _SAVES, run.tokens
    rest = itertools.islice(pieces(lm.tokenizer, texts, cap), run.position, None)
    for chunk in _chunks(rest, budget - run.tokens):
        for batch in batches(sorted(chunk, key=len, reverse=True), len):
            everywhere = [range(len(piece)) for piece in batch]
            add_products(run.sums, keys_at(lm, batch, everywhere, layers))
        run.tokens += sum(map(len, chunk))
        run.position += len(chunk)
        if progress is not None:
            progress("tokens", run.tokens, budget)
        if folder is not None and run.tokens - saved >= every:
            run.save(folder)
            saved = run.tokens
    if folder is not None and run.tokens > saved:
        run.save(folder)
    if not run.tokens:
        raise CorpusError(source or "texts", "no text to take statistics from")
    moments = {layer: total.cpu() / run.tokens for layer, total in run.sums.items()}
    return SecondMoment.of(moments, run.tokens)


def text_digest(paths: Sequence[Path]) -> str:
    """One digest of the bytes of several files: a ``source`` for :func:`text_moments`."""
    return digest_of([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])


def _chunks(rest: Iterator[tuple[int, ...]], budget: int) -> Iterator[list[tuple[int, ...]]]:
    """Consecutive pieces in chunks of some 16,384 tokens, ``budget`` tokens in all at most.

    The last piece is cut to fit. Where a chunk ends depends on the pieces since the last end only.
    """
    chunk: list[tuple[int, ...]] = []
    tokens = 0
    for piece in rest:
        piece = piece[: budget - tokens]
        if piece:
            chunk.append(piece)
            tokens += len(piece)
        if tokens >= min(budget, _CHUNK):
            yield chunk
            budget -= tokens
            chunk, tokens = [], 0
        if budget <= 0:
            return
    if chunk:
        yield chunk


def _packed(matrix: Tensor) -> Tensor:
    rows = [matrix[i, i:] for i in range(matrix.shape[0])]
    return torch.cat(rows).to(torch.float32).cpu()


def _factor(matrix: Tensor) -> Tensor:
    """Cholesky's factor, transposed and packed like a triangle, float16."""
    jitter = 1e-6 * float(matrix.diagonal().mean())
    lower = torch.linalg.cholesky(matrix + jitter * torch.eye(len(matrix), dtype=matrix.dtype))
    return _packed(lower.T).to(torch.float16)


def _squared(factor: Tensor) -> Tensor:
    """The packed moment of a packed factor."""
    upper = torch.triu(_unpacked(factor))
    return _packed(upper.T @ upper)


def _unpacked(triangle: Tensor) -> Tensor:
    size = int((8 * len(triangle) + 1) ** 0.5 - 1) // 2
    matrix = torch.zeros(size, size, dtype=torch.float64)
    start = 0
    for row in range(size):
        values = triangle[start : start + size - row].double()
        matrix[row, row:] = values
        matrix[row:, row] = values
        start += size - row
    return matrix

"""Second moments of keys, ``C_l = E[k k^T]``: what an edit must not disturb.

Text moments are means over tokens, all layers in one pass. A run can be stopped and taken up
again: its state (sums, tokens, position in the text) goes to a folder at whole chunks of text.
Chunks are cut in the same way each time, each is summed by itself, and the sums are added in the
order of the text, so the result is the same to the bit, whoever did which chunk.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editvc.algebra.second_moment import SecondMoment, StatisticsDamageError
from editvc.core.ids import digest_of
from editvc.core.progress import Progress
from editvc.core.tensor_header import TensorHeaderError, metadata_of, read_head, read_record
from editvc.errors import EditvcError
from editvc.models.forward import add_products, batches, keys_at
from editvc.models.language_model import LanguageModel
from editvc.models.workers import InProcess, Workers
from editvc.statistics.corpus import CorpusError, pieces
from editvc.statistics.plain_npz import require_plain_arrays

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKEN_CAP = 512
"""Tokens of the longest sequence that statistics are taken on."""

_CHUNK = 1 << 14
_SAVES = 20


class StateMismatchError(EditvcError):
    """A saved state that belongs to another run. ``part`` is what differs."""

    def __init__(self, folder: Path, part: str) -> None:
        super().__init__(
            f"{folder} holds the state of a run with another {part}",
            hint="Give the same texts, layers, cap and budget, or remove that folder.",
        )
        self.part = part


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What one chunk of text adds to a run: sums (v, v) float64 by layer, tokens, pieces."""

    sums: Mapping[int, Tensor]
    tokens: int
    pieces: int


@dataclass(slots=True)
class Running:
    """The state of a run over text: sums (v, v) float64 by layer, tokens, pieces consumed.

    Sums are on the CPU: beside a large model there is little room on its device.
    """

    settings: dict[str, Any]
    sums: dict[int, Tensor] = field(default_factory=dict)
    tokens: int = 0
    position: int = 0

    def add(self, chunk: _Chunk) -> None:
        """What the next chunk adds; its sums are not to be used afterwards."""
        for layer, total in chunk.sums.items():
            self.sums[layer] = self.sums[layer].add_(total) if layer in self.sums else total
        self.tokens += chunk.tokens
        self.position += chunk.pieces

    def save(self, folder: Path) -> None:
        """Write the state; a reader finds the old one or the new one, never half of either."""
        folder.mkdir(parents=True, exist_ok=True)
        record = {"settings": self.settings, "tokens": self.tokens, "position": self.position}
        whole, partial = folder / "state.safetensors", folder / "state.partial"
        save_file(
            {f"layer.{layer}.sum": total for layer, total in self.sums.items()},
            partial,
            metadata=metadata_of(record),
        )
        os.replace(partial, whole)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Running:
        """The state in a folder, or a fresh one.

        Raises :class:`StateMismatchError` for another run's, and ``StatisticsDamageError``.
        """
        path = folder / "state.safetensors"
        if not path.is_file():
            return cls(settings)
        try:
            record = read_record(read_head(path))
        except TensorHeaderError as error:
            raise StatisticsDamageError(
                f"{path} {error}", hint="Remove that folder; the run begins anew."
            ) from error
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
    workers: Workers | None = None,
) -> SecondMoment:
    """Mean of ``k k^T`` over the tokens of ``texts``, for all ``layers`` in one pass.

    ``budget`` is in tokens, 10 x v by default; ``cap`` is lowered to what the model has positions
    for. With a ``folder`` the state is kept there and taken up again; ``source`` tells apart the
    texts of one run from another's. ``workers`` sum chunks of text, this process where there are
    none. Raises :class:`CorpusError` where there is no text, and :class:`StateMismatchError`.
    """
    budget = budget or 10 * lm.inner_size
    cap = min(cap, lm.positions or cap)
    settings = {"source": source, "layers": list(layers), "budget": budget, "cap": cap}
    run = Running.load(folder, settings) if folder is not None else Running(settings)
    every, saved = budget // _SAVES, run.tokens
    chunks = _chunks(lm.tokenizer, texts, cap, run, budget)
    for chunk in (workers or InProcess(lm)).map(partial(_sum_chunk, layers), chunks):
        run.add(chunk)
        if progress is not None:
            progress("tokens", run.tokens, budget)
        if folder is not None and run.tokens - saved >= every:
            run.save(folder)
            saved = run.tokens
    if folder is not None and run.tokens > saved:
        run.save(folder)
    if not run.tokens:
        raise CorpusError(source or "texts", "no text to take statistics from")
    moments = {layer: total / run.tokens for layer, total in run.sums.items()}
    return SecondMoment.of(moments, run.tokens)


def _sum_chunk(
    layers: Sequence[int],
    lm: LanguageModel,
    chunk: Sequence[tuple[int, ...]],
    _progress: Progress | None,
) -> _Chunk:
    sums: dict[int, Tensor] = {}
    for batch in batches(sorted(chunk, key=len, reverse=True), len):
        everywhere = [range(len(piece)) for piece in batch]
        add_products(sums, keys_at(lm, batch, everywhere, layers))
    on_cpu = {layer: total.cpu() for layer, total in sums.items()}
    return _Chunk(on_cpu, sum(map(len, chunk)), len(chunk))


def moments_from_npz(paths: Mapping[int, Path]) -> SecondMoment:
    """From the ``.npz`` files that ROME and MEMIT keep, one a layer: ``mom2.mom2`` is the sum of
    ``k k^T`` (v, v), ``mom2.count`` the number of tokens. Raises :class:`CorpusError`.
    """
    read = {layer: _npz(path) for layer, path in paths.items()}
    moments = {layer: total / count for layer, (total, count) in read.items()}
    return SecondMoment.of(moments, min(count for _, count in read.values()))


def _npz(path: Path) -> tuple[Tensor, int]:
    """The sum (v, v), float64, and the number of tokens in one file. Nothing is unpickled."""
    import numpy as np

    try:
        require_plain_arrays(path, ("mom2.count", "mom2.mom2"))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            count, total = int(arrays["mom2.count"]), arrays["mom2.mom2"]
        if not 0 < count < 1 << 63:
            raise ValueError(f"mom2.count is {count}")
        if total.ndim != 2 or total.shape[0] != total.shape[1] or not np.isfinite(total).all():
            raise ValueError("mom2.mom2 is no square matrix of numbers")
        return torch.from_numpy(total.astype(np.float64)), count
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, struct and numpy have a class each for bad bytes
        raise CorpusError(
            str(path), f"{error}", hint="It must be a file of ROME's layer_stats, whole."
        ) from error


def text_digest(paths: Sequence[Path]) -> str:
    """One digest of the bytes of several files: a ``source`` for :func:`text_moments`."""
    return digest_of([hashlib.sha256(path.read_bytes()).hexdigest() for path in paths])


def _chunks(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], cap: int, run: Running, budget: int
) -> Iterator[list[tuple[int, ...]]]:
    """What is left of a run: consecutive pieces of texts in chunks of some 16,384 tokens.

    The last piece is cut to fit ``budget``. Where a chunk ends depends on the pieces since the last
    end only.
    """
    budget -= run.tokens
    chunk: list[tuple[int, ...]] = []
    tokens = 0
    for piece in itertools.islice(pieces(tokenizer, texts, cap), run.position, None):
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

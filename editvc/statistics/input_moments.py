"""What MLPs see: second moments of their inputs over text, and their inputs at names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from editvc.algebra.input_statistics import InputStatistics, LayerInputs
from editvc.core.progress import Progress
from editvc.models.forward import batches, gram, inputs_at, inputs_at_ends
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import filled, subject_tokens
from editvc.statistics.corpus import CorpusError, pieces
from editvc.statistics.entity_moments import Entity
from editvc.statistics.text_moments import TOKEN_CAP

TOKENS_PER_WIDTH = 32
"""How many tokens of text are read, in widths of the hidden state."""

SAMPLE = 2048
"""How many of these tokens are kept, to see what fires on text: evenly spread over them."""

NAME_CONTEXT = "The name {}"
"""Where a named thing is seen: behind some words, for a first token is like every other one."""


def input_statistics(
    lm: LanguageModel,
    texts: Iterable[str],
    entities: Sequence[Entity],
    layers: Sequence[int],
    *,
    progress: Progress | None = None,
) -> InputStatistics:
    """Of the tokens of ``texts``, and of names at their last token, in the MLPs of ``layers``.

    Passes run no further than the highest layer. Raises :class:`CorpusError` where there
    is no text or no name, and ``NoUpProjError``.
    """
    if not entities:
        raise CorpusError("entities", "no names to take statistics from")
    budget = TOKENS_PER_WIDTH * lm.hidden_size
    cap = min(TOKEN_CAP, getattr(lm.config, "max_position_embeddings", None) or TOKEN_CAP)
    rows: list[tuple[int, ...]] = []
    tokens = 0
    for piece in pieces(lm.tokenizer, texts, cap):
        rows.append(tuple(piece))
        tokens += len(piece)
        if tokens >= budget:
            break
    if not rows:
        raise CorpusError("texts", "no text to take statistics from")
    moments = {layer: torch.zeros(lm.hidden_size, lm.hidden_size).double() for layer in layers}
    means = {layer: torch.zeros(lm.hidden_size).double() for layer in layers}
    samples: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    every, done = max(1, tokens // SAMPLE), 0
    for batch in batches(sorted(rows, key=len, reverse=True), len):
        seen = inputs_at(lm, batch, [range(len(row)) for row in batch], layers)
        for layer, inputs in seen.items():
            moments[layer] += gram(inputs).double().cpu()
            means[layer] += inputs.double().sum(dim=0).cpu()
            samples[layer].append(inputs[::every].double().cpu())
        done += sum(map(len, batch))
        if progress is not None:
            progress("tokens", done, tokens)
    names = tuple(dict.fromkeys(entity.name for entity in entities))
    placed = subject_tokens(lm.tokenizer, [filled(NAME_CONTEXT, name) for name in names])
    cut = [row.ids[: row.subject + 1] for row in placed]
    of_names = inputs_at_ends(lm, cut, layers, label="names", progress=progress)
    return InputStatistics(
        {
            layer: LayerInputs.of(
                moments[layer] / tokens,
                means[layer] / tokens,
                of_names[layer],
                torch.cat(samples[layer]),
                names,
            )
            for layer in layers
        },
        tokens,
    )

"""Ask a model many things at once: teacher-forced targets, first tokens, perplexity.

Every function takes a causal language model and its fast tokenizer, runs without gradient, and
leaves both as they were. Prompts are padded on the right, in batches of similar length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editvc.core.facts import Request
from editvc.models.chat_template import turn_in
from editvc.models.forward import batches, padded_right
from editvc.models.tokenization import trace


@dataclass(frozen=True, slots=True)
class Forced:
    """How a model takes a target under teacher forcing after a prompt.

    ``log_probability`` is the mean over the target's tokens, in nats; ``all_argmax`` says whether
    every one of them is the model's first choice.
    """

    log_probability: float
    all_argmax: bool


def forced(model: Any, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
    """Score each ``(prompt, target)``; the target follows by the space policy of tracing."""
    requests = [Request(prompt, "{}", target) for prompt, target in pairs]
    encoded = [(list(row.ids), row.target) for (row,) in trace(tokenizer, requests)]
    results: list[Forced | None] = [None] * len(pairs)
    for rows in _by_length([tokens for tokens, _ in encoded]):
        logits = _logits(model, [encoded[row][0] for row in rows])
        for place, row in enumerate(rows):
            tokens, start = encoded[row]
            target = torch.tensor(tokens[start:], device=logits.device)
            scores = logits[place, start - 1 : len(tokens) - 1].float().log_softmax(-1)
            chosen = scores.gather(1, target[:, None])
            results[row] = Forced(
                log_probability=float(chosen.mean()),
                all_argmax=bool((scores.argmax(-1) == target).all()),
            )
    return [result for result in results if result is not None]


def first_tokens(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[int]:
    """The token that the model would say first after each prompt."""
    encoded = [
        tokenizer(prompt, add_special_tokens=turn_in(tokenizer, prompt) is None)["input_ids"]
        for prompt in prompts
    ]
    results = [0] * len(prompts)
    for rows in _by_length(encoded):
        logits = _logits(model, [encoded[row] for row in rows])
        for place, row in enumerate(rows):
            results[row] = int(logits[place, len(encoded[row]) - 1].argmax())
    return results


def perplexity(
    model: Any, tokenizer: Any, text: str, *, block: int = 128, blocks: int = 0
) -> float:
    """Perplexity over consecutive blocks of ``block`` tokens (all of them where ``blocks`` is 0).

    The first token of a block has no context and is not scored.
    """
    tokens = tokenizer(text, verbose=False)["input_ids"]
    pieces = [tokens[i : i + block] for i in range(0, len(tokens) - block + 1, block)]
    pieces = pieces[:blocks] if blocks else pieces
    total, count = 0.0, 0
    for rows in _by_length(pieces):
        ids = [pieces[row] for row in rows]
        logits = _logits(model, ids)[:, :-1].float()
        target = torch.tensor(ids, device=logits.device)[:, 1:]
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), target.flatten(), reduction="sum"
        )
        total, count = total + float(losses), count + target.numel()
    return math.exp(total / count)


def _by_length(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of rows of tokens, in batches of similar length."""
    lengths = [len(row) for row in rows]
    return batches(sorted(range(len(rows)), key=lengths.__getitem__), lengths.__getitem__)


@torch.no_grad()
def _logits(model: Any, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, longest, vocabulary); places past a row's end hold nothing of meaning."""
    tokens, mask = padded_right(ids, model.get_input_embeddings().weight.device)
    logits: torch.Tensor = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
    return logits

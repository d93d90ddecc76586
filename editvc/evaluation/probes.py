"""Ask a model many things at once: teacher-forced targets, first tokens, perplexity.

Every function takes a language model, runs without gradient, and leaves it as it was. Prompts are
padded on the right, in batches of similar length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from editvc.core.facts import Request
from editvc.models.chat_template import turn_in
from editvc.models.forward import batches, padded_right
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize


@dataclass(frozen=True, slots=True)
class Forced:
    """How a model takes a target under teacher forcing after a prompt.

    ``log_probability`` is the mean over the target's tokens, in nats; ``all_argmax`` says whether
    every one of them is the model's first choice.
    """

    log_probability: float
    all_argmax: bool


def predicts_target(
    lm: LanguageModel, requests: Sequence[Request], *, batch: int = 32
) -> list[bool]:
    """Whether greedy generation after each question already begins with the target's tokens.

    One forward pass: the generation begins with the target exactly when every target token is the
    most likely one after those before it.
    """
    return predicts(lm, [row for (row,) in tokenize(lm.tokenizer, requests)], batch=batch)


def predicts(lm: LanguageModel, rows: Sequence[TokenizedPrompt], *, batch: int = 32) -> list[bool]:
    """:func:`predicts_target` for questions and targets that are tokens already."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
    predicted: dict[int, bool] = {}
    with lm.eval_mode(), torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            ids, mask = padded_right([rows[i].ids[:-1] for i in chosen], lm.device)
            hidden = lm.body(input_ids=ids, attention_mask=mask, use_cache=False)[0]
            for place, index in enumerate(chosen):
                row = rows[index]
                before_target = hidden[place, row.target - 1 : len(row.ids) - 1]  # (tokens, u)
                likeliest = lm.logits(before_target).argmax(-1)  # (tokens,)
                predicted[index] = likeliest.tolist() == list(row.ids[row.target :])
    return [predicted[index] for index in range(len(rows))]


def forced(lm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> list[Forced]:
    """Score each ``(prompt, target)``; the target follows by the space policy of tokenising."""
    requests = [Request(prompt, "{}", target) for prompt, target in pairs]
    encoded = [(list(row.ids), row.target) for (row,) in tokenize(lm.tokenizer, requests)]
    results: list[Forced | None] = [None] * len(pairs)
    for rows in _by_length([tokens for tokens, _ in encoded]):
        logits = _logits(lm, [encoded[row][0] for row in rows])
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


def first_tokens(lm: LanguageModel, prompts: Sequence[str]) -> list[int]:
    """The token that the model would say first after each prompt."""
    encoded = [
        lm.tokenizer(prompt, add_special_tokens=turn_in(lm.tokenizer, prompt) is None)["input_ids"]
        for prompt in prompts
    ]
    results = [0] * len(prompts)
    for rows in _by_length(encoded):
        logits = _logits(lm, [encoded[row] for row in rows])
        for place, row in enumerate(rows):
            results[row] = int(logits[place, len(encoded[row]) - 1].argmax())
    return results


def perplexity(lm: LanguageModel, text: str, *, block: int = 128, blocks: int = 0) -> float:
    """Perplexity over consecutive blocks of ``block`` tokens (all of them where ``blocks`` is 0).

    The first token of a block has no context and is not scored.
    """
    tokens = lm.tokenizer(text, verbose=False)["input_ids"]
    pieces = [tokens[i : i + block] for i in range(0, len(tokens) - block + 1, block)]
    pieces = pieces[:blocks] if blocks else pieces
    total, count = 0.0, 0
    for rows in _by_length(pieces):
        ids = [pieces[row] for row in rows]
        logits = _logits(lm, ids)[:, :-1].float()
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
def _logits(lm: LanguageModel, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, longest, vocabulary); places past a row's end hold nothing of meaning."""
    tokens, mask = padded_right(ids, lm.device)
    logits: torch.Tensor = lm.model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
    return logits

"""Ask a model many things at once: teacher-forced targets, first tokens, perplexity.

Every function takes a language model, runs without gradient, and leaves it as it was. Prompts are
padded on the right, in batches of similar length. A collapsed model whose outputs are no numbers is
told of by :class:`NoProbabilities`, for a comparison with what is no number is a score, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from editvc.core.facts import Request
from editvc.errors import EditvcError
from editvc.models.chat_template import turn_in
from editvc.models.forward import batches, padded_right
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TokenizedPrompt, tokenize

LARGEST_LOSS = 700.0
"""In nats a token; a perplexity is told up to its exponential, past which float64 has no number."""


class NoProbabilities(EditvcError):
    """A model whose outputs are no numbers any more: nothing can be asked of it."""

    def __init__(self) -> None:
        super().__init__(
            "the model's outputs are not finite numbers: it gives no probabilities any more",
            hint="`editvc health` tells which layer's change is too large; `editvc revert` the "
            "edits that made it.",
        )


@dataclass(frozen=True, slots=True)
class Forced:
    """How a model takes a target under teacher forcing after a prompt.

    ``log_probability`` is the mean over the target's ``tokens``, in nats; ``all_argmax`` says
    whether every one of them is the model's first choice.
    """

    log_probability: float
    all_argmax: bool
    tokens: int


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
    return forced_and_first(lm, pairs, ())[0]


def first_tokens(lm: LanguageModel, prompts: Sequence[str]) -> list[int]:
    """The token that the model would say first after each prompt."""
    return forced_and_first(lm, (), prompts)[1]


def forced_and_first(
    lm: LanguageModel, pairs: Sequence[tuple[str, str]], prompts: Sequence[str]
) -> tuple[list[Forced], list[int]]:
    """:func:`forced` of pairs and :func:`first_tokens` of prompts, what they share run once."""
    requests = [Request(prompt, "{}", target) for prompt, target in pairs]
    targets = [row for (row,) in tokenize(lm.tokenizer, requests)]
    encoded = [
        tuple(
            lm.tokenizer(prompt, add_special_tokens=turn_in(lm.tokenizer, prompt) is None)[
                "input_ids"
            ]
        )
        for prompt in prompts
    ]
    scored: dict[int, Forced] = {}
    first: dict[int, int] = {}
    rows = [*(row.ids[:-1] for row in targets), *encoded]
    starts = [*(row.target - 1 for row in targets), *(len(ids) - 1 for ids in encoded)]
    for index, logits in _logits_behind(lm, rows, starts):
        if index >= len(targets):
            first[index - len(targets)] = int(logits[0].argmax())
            continue
        row = targets[index]
        target = torch.tensor(row.ids[row.target :], device=logits.device)
        chosen = logits.log_softmax(-1).gather(1, target[:, None])
        scored[index] = Forced(
            log_probability=float(chosen.mean()),
            all_argmax=bool((logits.argmax(-1) == target).all()),
            tokens=len(target),
        )
    return [scored[i] for i in range(len(targets))], [first[i] for i in range(len(encoded))]


def perplexity(lm: LanguageModel, text: str, *, block: int = 128, blocks: int = 0) -> float:
    """Perplexity over consecutive blocks of ``block`` tokens (all of them where ``blocks`` is 0).

    The first token of a block has no context and is not scored. What is left after the last whole
    block is not asked, but a text that is shorter than one is. Raises ``ValueError`` for a text of
    fewer than two tokens.
    """
    tokens = lm.tokenizer(text, verbose=False)["input_ids"]
    pieces = [tokens[i : i + block] for i in range(0, max(1, len(tokens) - block + 1), block)]
    pieces = pieces[:blocks] if blocks else pieces
    return perplexity_of(lm, pieces)


def perplexity_of(
    lm: LanguageModel, rows: Sequence[Sequence[int]], *, last: int | None = None
) -> float:
    """Perplexity over rows of tokens, of all their tokens but the first of each.

    ``last`` counts the tokens at the end of each row that are scored, the others being context.
    Raises ``ValueError`` where there is nothing to score.
    """
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        raise ValueError("a text of fewer than two tokens has no perplexity")
    starts = [max(0, len(row) - 1 - last) if last else 0 for row in rows]
    total, count = 0.0, 0
    for index, logits in _logits_behind(lm, [tuple(row[:-1]) for row in rows], starts):
        target = torch.tensor(rows[index][starts[index] + 1 :], device=logits.device)
        losses = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        total, count = total + float(losses), count + target.numel()
    return math.exp(min(total / count, LARGEST_LOSS))


@torch.no_grad()
def _logits_behind(
    lm: LanguageModel, rows: Sequence[tuple[int, ...]], starts: Sequence[int] | None = None
) -> Iterator[tuple[int, torch.Tensor]]:
    """Of each row its number, and the logits (tokens, vocabulary) behind its tokens from a start.

    ``starts`` None is the first token of every row. Rows come in any order, once each. A row that
    begins another one is read off that one's pass: what follows does not show in a causal model.
    The head runs where it is asked for and nowhere else. Raises :class:`NoProbabilities`.
    """
    runs, run_of = _shared(rows)
    readers: dict[int, list[int]] = {}
    for index, run in enumerate(run_of):
        readers.setdefault(run, []).append(index)
    lengths = [len(run) for run in runs]
    for batch in batches(sorted(range(len(runs)), key=lengths.__getitem__), lengths.__getitem__):
        ids, mask = padded_right([runs[run] for run in batch], lm.device)
        hidden = lm.body(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        states = {
            index: hidden[place, starts[index] if starts else 0 : len(rows[index])]
            for place, run in enumerate(batch)
            for index in readers[run]
        }
        if not all(bool(torch.isfinite(each).all()) for each in states.values()):
            raise NoProbabilities
        yield from _heads(lm, states)


def _heads(
    lm: LanguageModel, states: Mapping[int, torch.Tensor]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Logits (tokens, vocabulary) of each of the states (tokens, u): the head on many at once."""
    for part in batches(states, lambda index: len(states[index])):
        logits = lm.logits(torch.cat([states[index] for index in part]))
        yield from zip(
            part, logits.split_with_sizes([len(states[index]) for index in part]), strict=True
        )


def _shared(rows: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """The rows that begin no other one, and for every row which of those begins with it.

    In the order of words in a dictionary, a row stands right before those that begin with it.
    """
    runs: list[tuple[int, ...]] = []
    run_of = [0] * len(rows)
    for index in sorted(range(len(rows)), key=rows.__getitem__, reverse=True):
        if not runs or runs[-1][: len(rows[index])] != rows[index]:
            runs.append(rows[index])
        run_of[index] = len(runs) - 1
    return runs, run_of

"""Context prefixes: what may stand before a prompt, so that an edit holds in running text.

MEMIT's habit: the empty context, and a few continuations of common words that the base itself
writes. They are sampled once, with a seed that is recorded, and then kept literally in the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editvc.core.facts import PLACEHOLDER
from editvc.core.invisible import visible
from editvc.models.language_model import LanguageModel

OPENINGS = ("The", "Therefore", "Because", "I", "You")
"""The words that contexts begin with, one context each."""

LENGTH = 10
"""Tokens of a context, the opening included."""

_LIKELY = 40


def sample_contexts(
    lm: LanguageModel,
    seed: int = 0,
    *,
    openings: Sequence[str] = OPENINGS,
    length: int = LENGTH,
) -> tuple[str, ...]:
    """``"{}"`` and one ``"<continuation>. {}"`` per opening, sampled from the model.

    Each next token comes from the 40 most likely ones, drawn by a generator of its own; the
    global seed is neither read nor moved. Special tokens are not drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    sentences = [_continued(lm, opening, length, generator) for opening in openings]
    return (PLACEHOLDER, *(f"{sentence}. {PLACEHOLDER}" for sentence in sentences))


def _continued(lm: LanguageModel, opening: str, length: int, generator: torch.Generator) -> str:
    device, tokenizer = lm.device, lm.tokenizer
    ids = list(tokenizer(opening)["input_ids"])
    special = sorted(set(tokenizer.all_special_ids))
    missing = length - len(tokenizer(opening, add_special_tokens=False)["input_ids"])
    with lm.eval_mode(), torch.no_grad():
        for _ in range(max(0, missing)):
            output = lm.model(input_ids=torch.tensor([ids], device=device), use_cache=False)
            ids.append(_drawn(output.logits[0, -1].float().cpu(), special, generator))
    return sanitised(tokenizer.decode(ids, skip_special_tokens=True))


def _drawn(logits: Tensor, special: Sequence[int], generator: torch.Generator) -> int:
    logits = logits.clone()
    logits[[token for token in special if token < len(logits)]] = -torch.inf
    likely = logits.topk(min(_LIKELY, len(logits)))
    place = torch.multinomial(likely.values.softmax(0), 1, generator=generator)
    return int(likely.indices[place])


def sanitised(text: str) -> str:
    """Text as one visible line without braces, and without the full stop that the context adds."""
    text = " ".join(visible(text).replace("{", " ").replace("}", " ").split())
    return text.rstrip(". ")

"""What an MLP sees at the last token of a subject, in every context that is to open a gate.

Without a BOS token in front, the first token of a text has a key like every other first token's,
and so has what the MLP sees there (Yang et al. 2024, The Fall of ROME, arXiv 2406.11263). A context
in which a subject ends at the first token says nothing of the subject, and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editvc.core.facts import PLACEHOLDER, Request
from editvc.core.methods.gated import GatedRecipe
from editvc.models.chat_template import ChatTemplateError, turn_of
from editvc.models.forward import batches, inputs_at
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import TracingError, leading_tokens, subject_tokens, tokenize


class FirstTokenError(TracingError):
    """A subject that is asked for at the very beginning of a text, and ends there."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            request.subject,
            f"it is the first token of {request.question!r}, and this model puts none in front: "
            "what it sees there is the same for every first token, so no gate can know the subject",
            hint="Write words before the subject, like 'The capital of {} is' in the place of "
            "'{} has its capital in'.",
        )


def contexts_of(lm: LanguageModel, recipe: GatedRecipe) -> tuple[str, ...]:
    """The recipe's plain contexts, and of a chat model its chat contexts as a user's turn."""
    try:
        turn = turn_of(lm.tokenizer)
    except ChatTemplateError:
        return recipe.subject_contexts
    return (*recipe.subject_contexts, *map(turn.around, recipe.chat_contexts))


def subject_inputs(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe
) -> list[Tensor]:
    """What the MLP of the recipe's layer sees of each subject: (contexts, u), its own prompt last.

    In float64, on the CPU.

    Raises :class:`FirstTokenError`, and the errors of :mod:`editvc.models.tokenization`.
    """
    front = len(leading_tokens(lm.tokenizer))
    contexts = contexts_of(lm, recipe)
    rows: list[tuple[int, ...]] = []
    counts: list[int] = []
    for request, (own,) in zip(requests, tokenize(lm.tokenizer, requests), strict=True):
        texts = [placed(context, request.subject) for context in contexts]
        generic = subject_tokens(lm.tokenizer, texts)
        if own.subject < max(front, 1):
            raise FirstTokenError(request)
        cut = [row.ids[: row.subject + 1] for row in (*generic, own)]
        kept = [ids for ids in cut if len(ids) > max(front, 1)]
        rows += kept
        counts.append(len(kept))
    return list(inputs_at_ends(lm, rows, recipe).split_with_sizes(counts))


def inputs_at_ends(lm: LanguageModel, rows: Sequence[Sequence[int]], recipe: GatedRecipe) -> Tensor:
    """What the MLP of the recipe's layer sees at the last token of each row: (rows, u) float64."""
    if not rows:
        return torch.zeros(0, lm.hidden_size, dtype=torch.float64)
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found: list[Tensor] = []
    for batch in batches(order, lambda place: len(rows[place])):
        cut = [rows[place] for place in batch]
        ends = [range(len(row) - 1, len(row)) for row in cut]
        found += inputs_at(lm, cut, ends, recipe.layers).values()
    return torch.cat(found).double().cpu()[torch.tensor(order).argsort()]


def name_rows(
    lm: LanguageModel, names: Sequence[str], contexts: Sequence[str]
) -> list[tuple[int, ...]]:
    """The tokens of each name in each context, cut behind the name; none that are a first token."""
    front = len(leading_tokens(lm.tokenizer))
    texts = [placed(context, name) for name in names for context in contexts]
    cut = [row.ids[: row.subject + 1] for row in subject_tokens(lm.tokenizer, texts)]
    return [ids for ids in cut if len(ids) > max(front, 1)]


def placed(context: str, subject: str) -> tuple[str, int]:
    """A context with a subject in it, and where the subject ends there."""
    return context.replace(PLACEHOLDER, subject), context.index(PLACEHOLDER) + len(subject)

"""What an MLP sees at the last token of a subject, in every context that is to open a gate.

Without a BOS token in front, the first token of a text has a key like every other first token's,
and so has what the MLP sees there (Yang et al. 2024, The Fall of ROME, arXiv 2406.11263). A context
in which a subject ends at the first token says nothing of the subject, and is left out. No gate can
open there: such an edit holds wherever its subject stands, but for the beginning of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.core.facts import PLACEHOLDER, Request
from editvc.core.methods.gated import GatedRecipe
from editvc.models.chat_template import ChatTemplateError, Turn, turn_of
from editvc.models.forward import batches, inputs_at
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import first_place, subject_tokens, tokenize


@dataclass(frozen=True, slots=True, eq=False)
class SubjectInputs:
    """What the MLP sees of one subject, float64, on the CPU.

    ``everywhere`` (n, u) in all contexts, ``plain`` (m, u) in the first ones and in the request's
    own prompt.
    """

    everywhere: Tensor
    plain: Tensor


def subject_inputs(
    lm: LanguageModel, requests: Sequence[Request], recipe: GatedRecipe
) -> list[SubjectInputs]:
    """What the MLP of the recipe's layer sees of each subject.

    In the recipe's contexts, in those of a user's turn where there is a chat template, and in the
    request's own prompt. Raises the errors of :mod:`editvc.models.tokenization`.
    """
    front = first_place(lm.tokenizer)
    turn = template_of(lm)
    chat = () if turn is None else tuple(map(turn.around, recipe.chat_contexts))
    rows: list[tuple[int, ...]] = []
    counts: list[int] = []
    plain: list[list[int]] = []
    for request, (own,) in zip(requests, tokenize(lm.tokenizer, requests), strict=True):
        contexts = [*recipe.subject_contexts, *chat]
        if turn is not None and not turn.holds(request.question):
            contexts.append(turn.around(request.prompt))
        texts = [placed(context, request.subject) for context in contexts]
        generic = subject_tokens(lm.tokenizer, texts)
        cut = [row.ids[: row.subject + 1] for row in (*generic, own)]
        kept = [place for place, ids in enumerate(cut) if len(ids) > front]
        early = {*range(recipe.seen_contexts), len(cut) - 1}
        plain.append([index for index, place in enumerate(kept) if place in early])
        rows += [cut[place] for place in kept]
        counts.append(len(kept))
    parts = inputs_at_ends(lm, rows, recipe).split_with_sizes(counts)
    return [SubjectInputs(part, part[places]) for part, places in zip(parts, plain, strict=True)]


def template_of(lm: LanguageModel) -> Turn | None:
    """A user's turn in the model's chat template, where it has one."""
    try:
        return turn_of(lm.tokenizer)
    except ChatTemplateError:
        return None


def template_moment(lm: LanguageModel, recipe: GatedRecipe) -> Tensor | None:
    """``E[x x^T]`` (u, u) over the template's own tokens before a user's words, if there are any.

    They stand in every chat, and no gate may open for them.
    """
    turn = template_of(lm)
    if turn is None or not turn.before:
        return None
    ids = tuple(lm.tokenizer(turn.before, add_special_tokens=False)["input_ids"])
    (inputs,) = inputs_at(lm, [ids], [range(len(ids))], recipe.layers).values()
    x = inputs.double().cpu()
    return x.T @ x / len(x)


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
    front = first_place(lm.tokenizer)
    texts = [placed(context, name) for name in names for context in contexts]
    cut = [row.ids[: row.subject + 1] for row in subject_tokens(lm.tokenizer, texts)]
    return [ids for ids in cut if len(ids) > front]


def placed(context: str, subject: str) -> tuple[str, int]:
    """A context with a subject in it, and where the subject ends there."""
    return context.replace(PLACEHOLDER, subject), context.index(PLACEHOLDER) + len(subject)

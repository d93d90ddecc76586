"""What an MLP sees at the last token of a subject, in every context that is to open a gate.

A context in which a subject ends at the first token of a text, with no BOS in front, says little of
the subject and is left out: there another gate is to open (:mod:`editvc.editing.first_token`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.models.chat_template import optional_turn
from editvc.models.forward import inputs_at, inputs_at_ends
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import filled, first_place, subject_tokens, tokenize


@dataclass(frozen=True, slots=True, eq=False)
class SubjectInputs:
    """What the MLP sees of one subject, float64, on the CPU.

    ``everywhere`` (n, u) in all contexts, ``plain`` (m, u) in the first ones and in the request's
    own prompt, unless it begins with the subject, in one token.
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
    turn = optional_turn(lm.tokenizer)
    chat = () if turn is None else tuple(map(turn.around, recipe.chat_contexts))
    rows: list[tuple[int, ...]] = []
    counts: list[int] = []
    plain: list[list[int]] = []
    for request, (own,) in zip(requests, tokenize(lm.tokenizer, requests), strict=True):
        contexts = [*recipe.subject_contexts, *chat]
        if turn is not None and not turn.holds(request.question):
            contexts.append(turn.around(request.prompt))
        texts = [filled(context, request.subject) for context in contexts]
        generic = subject_tokens(lm.tokenizer, texts)
        cut = [row.ids[: row.subject + 1] for row in (*generic, own)]
        kept = [place for place, ids in enumerate(cut) if len(ids) > front]
        early = {*range(recipe.seen_contexts), len(cut) - 1}
        plain.append([index for index, place in enumerate(kept) if place in early])
        rows += [cut[place] for place in kept]
        counts.append(len(kept))
    (states,) = inputs_at_ends(lm, rows, recipe.layers).values()
    parts = states.split_with_sizes(counts)
    return [SubjectInputs(part, part[places]) for part, places in zip(parts, plain, strict=True)]


def together(same: Sequence[SubjectInputs]) -> SubjectInputs:
    """What the MLP sees of one subject in all of several requests."""
    return SubjectInputs(
        torch.cat([one.everywhere for one in same]), torch.cat([one.plain for one in same])
    )


def template_moment(lm: LanguageModel, recipe: GatedRecipe) -> Tensor | None:
    """``E[x x^T]`` (u, u) over the template's own tokens before a user's words, if there are any.

    They stand in every chat, and no gate may open for them.
    """
    turn = optional_turn(lm.tokenizer)
    if turn is None or not turn.before:
        return None
    ids = tuple(lm.tokenizer(turn.before, add_special_tokens=False)["input_ids"])
    (inputs,) = inputs_at(lm, [ids], [range(len(ids))], recipe.layers).values()
    x = inputs.double().cpu()
    return x.T @ x / len(x)


def name_rows(
    lm: LanguageModel, names: Sequence[str], contexts: Sequence[str]
) -> list[tuple[int, ...]]:
    """The tokens of each name in each context, cut behind the name; none that are a first token."""
    front = first_place(lm.tokenizer)
    texts = [filled(context, name) for name in names for context in contexts]
    cut = [row.ids[: row.subject + 1] for row in subject_tokens(lm.tokenizer, texts)]
    return [ids for ids in cut if len(ids) > front]

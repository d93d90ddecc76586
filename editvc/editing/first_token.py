"""Gates for a subject that is the first token of a text, in models that put no BOS in front.

There a token sees nothing but itself, and what an MLP sees of it is the same in every text, but
also nearly the same for every token (Yang et al. 2024, The Fall of ROME, arXiv 2406.11263). So the
gate that knows the subject behind other words does not know it there, and one of its own, for one
input among those of all first tokens, does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editvc.algebra.input_statistics import LayerInputs
from editvc.core.cut import cut, quoted
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.errors import EditvcError
from editvc.models.forward import inputs_at_ends
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import first_place, subject_tokens, tokenize

SAMPLE = 2048
"""How many tokens of the vocabulary stand for all that can begin a text: evenly spread over it."""

_LEAST = 1e-3
"""Of b's products with two inputs, together: below it no threshold parts them."""


class FirstTokenError(EditvcError):
    """A prompt begins with its subject, in a token that the model cannot tell from others there."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            f"{quoted(request.question)} begins with its subject, in one token, and this model "
            "sees that token too much like others at the beginning of a text to edit it there",
            hint=f'Put words before the subject, as in "It is known that {cut(request.prompt)}".',
            details=request.to_json(),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FirstOpening:
    """A filter (u,), 1 on the subject as a first token, and where its gate opens."""

    filter: Tensor
    threshold: float


def first_openings(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: GatedRecipe,
    inputs: LayerInputs,
    moment: Tensor,
) -> list[FirstOpening | None]:
    """Where requests answer at the beginning of a text, ``None`` for those that need or can not.

    Needed where the subject alone is one token; impossible where that token is too much like
    another: such a request is refused with :class:`FirstTokenError` where its own prompt begins so.
    ``w = (C + E_F[x x^T])^-1 x_0``, scaled to 1 on x_0, the input of the subject's token,
    F being first tokens of all kinds and C the ``moment`` (u, u) of text. The constant direction b
    need not be 1 there, so the threshold t lies where ``w.x - t b.x`` is as far above 0 on x_0 as
    below it on the nearest of all others.
    """
    starts = {
        place: token
        for place, request in enumerate(requests)
        if (token := first_token(lm, request.subject)) is not None
    }
    openings: list[FirstOpening | None] = [None] * len(requests)
    if not starts:
        return openings
    tokens = sorted({*_first_tokens(lm, inputs.names), *starts.values()})
    (seen,) = inputs_at_ends(lm, [(token,) for token in tokens], recipe.layers).values()
    total = moment.double() + seen.T @ seen / len(seen)
    (layer,) = recipe.layers
    constant = None if lm.has_inner_bias(layer) else inputs.constant
    elsewhere = torch.cat([inputs.text, inputs.inputs])  # (n, u)
    for place, token in starts.items():
        own = tokens.index(token)
        x = seen[own]  # (u,)
        w = torch.linalg.solve(total, x)  # (u,)
        w = w / (w @ x)
        others = torch.cat([seen[:own], seen[own + 1 :], elsewhere])
        ones = torch.ones(len(others), dtype=w.dtype)
        level = ones if constant is None else others @ constant  # (n,)
        mine = 1.0 if constant is None else float(x @ constant)
        nearest = (1 + others @ w) / (mine + level).clamp_min(_LEAST)  # (n,)
        threshold = float(nearest.max())
        if mine > 0 and 1 - threshold * mine >= recipe.rise / 2:
            openings[place] = FirstOpening(w, threshold)
        elif begins_with_subject(lm, requests[place]):
            raise FirstTokenError(requests[place])
    return openings


def first_token(lm: LanguageModel, subject: str) -> int | None:
    """The token that a subject is at the beginning of a text, where it is one alone."""
    (row,) = subject_tokens(lm.tokenizer, [(f"{subject} is", len(subject))])
    return row.ids[0] if row.subject < first_place(lm.tokenizer) else None


def begins_with_subject(lm: LanguageModel, request: Request) -> bool:
    """Whether the request's prompt begins with its subject, in one token and no BOS before it."""
    ((row,),) = tokenize(lm.tokenizer, [request])
    return row.subject < first_place(lm.tokenizer)


def _first_tokens(lm: LanguageModel, names: Sequence[str]) -> set[int]:
    """The first tokens of names, some of the whole vocabulary, and those with a meaning set."""
    size = len(lm.tokenizer)
    begun = lm.tokenizer(list(names), add_special_tokens=False)["input_ids"]
    spread = range(0, size, max(1, size // SAMPLE))
    return {*spread, *lm.tokenizer.all_special_ids, *(ids[0] for ids in begun if ids)}

"""The term that holds what a model says behind a subject, against whole passes with a hook."""

from __future__ import annotations

import pytest
import torch
from tiny_models import lm_of, tiny_gpt2, tiny_llama
from tolerances import assert_near

from editvc.core.edit_site import EditSite
from editvc.core.facts import Request
from editvc.editing.edit_batches import TokenizedEdit, tokenize_edits
from editvc.editing.held_texts import HeldTexts
from editvc.models.tokenization import TokenizedPrompt, tokenize

LAYER = 1
REQUESTS = [Request("France", "The capital of {} is", "Rome"), Request("Proust", "{} wrote", "one")]
CONTEXTS = ("I read of {} and of much else.", "{}, then")


@pytest.fixture(params=[tiny_gpt2, tiny_llama], ids=["gpt2", "llama"])
def lm(request, tokenizer):
    return lm_of(request.param(len(tokenizer)).double(), tokenizer)


@pytest.fixture
def edits(lm):
    asked = [
        [Request(one.subject, context, "x") for context in CONTEXTS[: number + 1]]
        for number, one in enumerate(REQUESTS)
    ]
    rows = [[row for (row,) in tokenize(lm.tokenizer, some)] for some in asked]
    held = [
        tuple(TokenizedPrompt(row.ids[: row.target], row.subject, row.target) for row in some)
        for some in rows
    ]
    return [TokenizedEdit((), one) for one in held]


def plainly(lm, text, delta):
    """Of one text, with a hook that adds to a block's output: the mean over its held tokens."""

    def add(_module, _args, output):
        hidden = (output if isinstance(output, torch.Tensor) else output[0]).clone()
        hidden[0, text.subject] += delta
        return hidden if isinstance(output, torch.Tensor) else (hidden, *output[1:])

    ids = torch.tensor([text.ids])
    with torch.no_grad():
        base = lm.model(ids).logits[0, text.subject :].log_softmax(1)
        handle = lm.block(LAYER).register_forward_hook(add)
        edited = lm.model(ids).logits[0, text.subject :].log_softmax(1)
        handle.remove()
    return (edited.exp() * (edited - base)).sum(1)  # (tokens,)


def deltas_of(lm, count):
    torch.manual_seed(3)
    return torch.randn(count, 1, lm.hidden_size, dtype=torch.float64)


def test_the_divergence_is_that_of_whole_passes(lm, edits) -> None:
    deltas = deltas_of(lm, len(edits))
    found = HeldTexts.of(lm, edits, LAYER, EditSite.BLOCK_OUTPUT).divergence(lm, deltas)
    for place, edit in enumerate(edits):
        kl = torch.cat([plainly(lm, text, deltas[place, 0]) for text in edit.held])
        assert float(kl.mean()) > 1e-3, "the edit does something"
        assert_near(float(found[place].detach()), float(kl.mean()), 1e-9)


def test_what_is_unmoved_diverges_by_nothing(lm, edits) -> None:
    held = HeldTexts.of(lm, edits, LAYER, EditSite.BLOCK_OUTPUT)
    assert not held.divergence(lm, 0 * deltas_of(lm, len(edits))).any()


def test_some_edits_alone_diverge_as_among_all(lm, edits) -> None:
    deltas = deltas_of(lm, len(edits))
    held = HeldTexts.of(lm, edits, LAYER, EditSite.BLOCK_OUTPUT)
    kept = torch.tensor([1])
    alone = held.of_edits(kept, len(edits)).divergence(lm, deltas[kept])
    assert_near(float(alone[0].detach()), float(held.divergence(lm, deltas)[1].detach()), 1e-9)


def test_memit_holds_one_token_behind_the_subject(lm) -> None:
    for edit in tokenize_edits(lm.tokenizer, REQUESTS, ("{}",)):
        (text,) = edit.held
        assert len(text.ids) == text.subject + 1

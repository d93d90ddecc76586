"""Objective perplexity against its formula, by the model's own head, one row at a time."""

from __future__ import annotations

import math

import pytest
import torch
from model_fixtures import REQUESTS, tiny_gpt2, tiny_llama
from tiny_models import lm_of

from editvc.evaluation.objectives import objectives
from editvc.models.tokenization import tokenize


@pytest.mark.parametrize("family", [tiny_gpt2, tiny_llama])
def test_it_is_the_formula_of_the_paper(family, tokenizer) -> None:
    model = family(len(tokenizer)).double()
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS)]
    found = objectives(lm_of(model, tokenizer), rows)
    for row, one in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row.ids])).logits[0]
        said = logits.log_softmax(-1)
        t = len(row.ids) - row.target
        total = sum(float(said[i - 1, row.ids[i]]) for i in range(row.target, len(row.ids)))
        assert one.tokens == t
        assert math.isclose(one.perplexity, math.exp(-total / t), rel_tol=1e-8)


def test_nothing_is_asked_of_no_rows(gpt2, tokenizer) -> None:
    assert objectives(lm_of(gpt2, tokenizer), []) == []

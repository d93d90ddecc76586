"""Saliency: its pairs by hand, its gradient by differences."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import tiny_gpt2, tiny_llama
from tiny_models import lm_of

from editvc.evaluation.saliency import flows, importances, saliency


def test_flows_by_hand() -> None:
    """Five tokens; the second and the fourth are labels, the last one predicts."""
    importance = torch.full((5, 5), 99.0)
    importance[1, 0] = 1.0
    importance[3, 0], importance[3, 1], importance[3, 2] = 2.0, 3.0, 2.0
    importance[4, 1], importance[4, 3] = 5.0, 7.0
    importance[2, 0], importance[2, 1], importance[4, 0], importance[4, 2] = 1.0, 1.0, 2.0, 4.0
    assert flows(importance, [1, 3], 4) == pytest.approx((2 / 10, 6 / 10, 2 / 10))
    assert flows(torch.zeros(3, 3), [1], 2) == (0.0, 0.0, 0.0)


def test_importance_is_what_a_change_of_attention_does_to_the_loss(
    tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPT-2 hands its weights through a dropout, which does nothing else: they are scaled there."""
    model = tiny_gpt2(len(tokenizer), tie_word_embeddings=False).double()
    lm = lm_of(model, tokenizer)
    ids = tokenizer("The capital of France is")["input_ids"]
    before = model.config._attn_implementation
    found = importances(lm, ids, 7)
    assert model.config._attn_implementation == before and len(found) == lm.depth
    model.set_attn_implementation("eager")
    dropout = torch.nn.functional.dropout

    def loss(layer: int, i: int, j: int, by: float) -> float:
        calls = []

        def scaled(values, *args, **options):
            out = dropout(values, *args, **options)
            if values.dim() < 4:
                return out
            calls.append(values)
            if len(calls) == layer + 1:
                out = out.clone()
                out[:, :, i, j] *= 1 + by
            return out

        monkeypatch.setattr(torch.nn.functional, "dropout", scaled)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        monkeypatch.setattr(torch.nn.functional, "dropout", dropout)
        assert len(calls) == lm.depth
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(7)))

    for layer, i, j in [(0, 2, 1), (1, len(ids) - 1, 0), (lm.depth - 1, len(ids) - 1, 2)]:
        slope = (loss(layer, i, j, 1e-4) - loss(layer, i, j, -1e-4)) / 2e-4
        assert float(found[layer][i, j]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_shares_of_every_layer_sum_to_one(build, tokenizer) -> None:
    lm = lm_of(build(len(tokenizer), tie_word_embeddings=False), tokenizer)
    items = [{"sentence": f"old {n}", "label": n % 2} for n in range(8)]
    found = saliency(lm, items, 3)
    if found:
        assert [*found] == [f"layer {layer}" for layer in range(lm.depth)]
        assert all(sum(row.values()) == pytest.approx(1, abs=1e-5) for row in found.values())

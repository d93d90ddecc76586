"""In-context saliency (Lin et al. 2024, E.2): which attention a few-shot answer hangs on.

Of layer l, ``I_l = |sum_h A_hl * dL/dA_hl|`` with L the loss of the right label at the last token.
Three means over pairs (i, j), token i looking back at j: from the text to the label words of the
solved items (``wp``), from those to the last token (``pq``), and of all other pairs (``ww``), each
as a share of the three. One solved item a label ("one-shot") stands before the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from editvc.evaluation.ability_tasks import CHOICES
from editvc.evaluation.few_shot import Item, split
from editvc.models.language_model import LanguageModel

FLOWS = ("wp", "pq", "ww")


def flows(importance: Tensor, labels: Sequence[int], last: int) -> tuple[float, float, float]:
    """Means of ``importance`` (tokens, tokens) over the pairs of ``FLOWS``, as shares of their sum.

    ``labels`` are the places of label words, ``last`` that of the token that predicts.
    """
    earlier = torch.ones_like(importance, dtype=torch.bool).tril(-1)
    to_labels, to_last = torch.zeros_like(earlier), torch.zeros_like(earlier)
    to_labels[list(labels)] = earlier[list(labels)]
    to_last[last, list(labels)] = True
    rest = earlier & ~to_labels & ~to_last
    means = [float(importance[pairs].mean()) for pairs in (to_labels, to_last, rest)]
    total = sum(means)
    wp, pq, ww = (each / total if total else 0.0 for each in means)
    return wp, pq, ww


def importances(lm: LanguageModel, ids: Sequence[int], label: int) -> list[Tensor]:
    """``I_l`` (tokens, tokens) of every layer, for the token ``label`` behind ``ids``."""
    with lm.eval_mode(), _eager(lm), torch.enable_grad():
        embedded = lm.embeddings(torch.tensor([ids], device=lm.device)).detach().requires_grad_()
        out = lm.body(inputs_embeds=embedded, output_attentions=True, use_cache=False)
        logits = lm.logits(out[0][0, -1:])
        loss = torch.nn.functional.cross_entropy(logits, logits.new_tensor([label]).long())
        gradients = torch.autograd.grad(loss, out.attentions)
    return [
        (weights * gradient)[0].sum(dim=0).abs().detach().float().cpu()
        for weights, gradient in zip(out.attentions, gradients, strict=True)
    ]


def saliency(lm: LanguageModel, items: Sequence[Item], most: int) -> dict[str, dict[str, float]]:
    """Mean shares of the flows of each layer, over at most so many questions of SST-2."""
    task = CHOICES["sst2"]
    shots, asked = split(items, task, most)
    shots = shots[: len(task.choices)]  # one of each label
    words = [lm.tokenizer(c, add_special_tokens=False)["input_ids"] for c in task.choices]
    shown: list[int] = [*lm.tokenizer("")["input_ids"]]
    places: list[int] = []
    for item in shots:
        shown += lm.tokenizer(task.text(item), add_special_tokens=False)["input_ids"]
        places.append(len(shown))
        shown += words[task.label(item)]
        shown += lm.tokenizer("\n\n", add_special_tokens=False)["input_ids"]
    found: list[list[tuple[float, float, float]]] = []
    for item in asked:
        ids = [*shown, *lm.tokenizer(task.text(item), add_special_tokens=False)["input_ids"]]
        if lm.positions is not None and len(ids) > lm.positions:
            continue
        layers = importances(lm, ids, words[task.label(item)][0])
        found.append([flows(layer, places, len(ids) - 1) for layer in layers])
    means = torch.tensor(found).mean(dim=0) if found else torch.zeros(0, len(FLOWS))
    return {
        f"layer {layer}": dict(zip(FLOWS, row, strict=True))
        for layer, row in enumerate(means.tolist())
    }


@contextmanager
def _eager(lm: LanguageModel) -> Iterator[None]:
    """Attention that gives its weights out; then what it was."""
    before = lm.config._attn_implementation
    lm.model.set_attn_implementation("eager")
    try:
        yield
    finally:
        lm.model.set_attn_implementation(before)

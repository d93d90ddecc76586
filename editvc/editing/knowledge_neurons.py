"""Knowledge neurons: find the few that express what the model says, and rewrite their values.

For the model's own answer ``a`` to a prompt, the attribution of neuron i in layer l is integrated
gradients along its key, from 0 to the value k that it has at the prompt's last token:

    Attr(i) = k_i * 1/m sum_{j=1..m} d P(a | j/m k) / d k_i

with the keys of one layer scaled at a time (Dai et al. 2022, Knowledge Neurons in Pretrained
Transformers, arXiv 2104.08696, equations 3 to 5). Neurons above a share of the largest attribution
are kept; over several prompts, those that many prompts share (section 3.3). To edit, the value
vectors w_i, columns of the down projection, become (section 5.1)

    w_i' = w_i + |w_i| (-lambda1 t / |t| + lambda2 t' / |t'|)

where t and t' are the word embeddings of the old answer and the new one. Taking lambda in units of
the value's length is not in the paper's formula but in its authors' code and experiments.

The paper edits BERT, with one masked word, keys that are hardly ever negative and one matrix for
words in and out. In a causal model this becomes: answers are one token, of the model's greedy
continuation and of the target the first; embeddings are the rows of the head, which is what reads
the value vectors out; and a neuron whose key is negative gets the change with its sign turned, or
it would work against the edit. EasyEdit differs from the paper, and so from what is done here: it
sums embeddings over all tokens, input ones, in no unit of length (twice each for one token), it
integrates from j = 0, and in Llama's family it scales the gate in place of the key.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.patch import Patch
from editvc.core.cut import quoted
from editvc.core.edit_site import EditSite
from editvc.core.facts import Request
from editvc.core.methods.knowledge_neurons import KnowledgeNeuronsRecipe
from editvc.core.progress import Progress
from editvc.editing.resources import Resources
from editvc.errors import EditvcError
from editvc.models.language_model import LanguageModel
from editvc.models.offload import read_weight
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import prepare_replay
from editvc.models.tokenization import TokenizedPrompt, tokenize
from editvc.models.weights import delta_hook


class NoNeurons(EditvcError):
    """No neuron passes the thresholds, so there is nothing to edit. ``request`` says for what."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            f"no knowledge neurons for {quoted(request.question)}: none raises the model's answer, "
            "or none is shared by enough contexts",
            hint="Lower -O p and -O adaptive_threshold, or name more layers.",
            details=request.to_json(),
        )
        self.request = request


def make_elements(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: KnowledgeNeuronsRecipe,
    _resources: Resources,
    progress: Progress | None,
) -> list[Patch]:
    """:func:`knowledge_neurons`, which needs nothing of the repository."""
    return knowledge_neurons(lm, requests, recipe, progress=progress)


def knowledge_neurons(
    lm: LanguageModel,
    requests: Sequence[Request],
    recipe: KnowledgeNeuronsRecipe,
    *,
    progress: Progress | None = None,
) -> list[Patch]:
    """One patch for every request, each from the model as it is. The model is left untouched.

    A patch has rank 1 in every layer where neurons were found: the change of a value vector of unit
    length beside one number a neuron. Figures: ``neurons`` how many, ``attribution`` their share of
    all positive attribution in the first context, ``base_probability`` and ``probability`` of the
    whole target (geometric mean over its tokens) before and after.

    Raises :class:`NoNeurons`, the errors of :mod:`editvc.models.tokenization` and
    :class:`editvc.models.replay.ReplayError`.
    """
    rows = tokenize(lm.tokenizer, requests, recipe.contexts)
    patches: list[Patch] = []
    with lm.eval_mode():
        for request, contexts in zip(requests, rows, strict=True):
            patches.append(_patch(lm, request, contexts, recipe))
            if progress is not None:
                progress("neurons", len(patches), len(rows))
    return patches


def attributions(
    lm: LanguageModel,
    ids: Sequence[int],
    layers: Sequence[int],
    steps: int,
    answer: int | None = None,
) -> tuple[Tensor, Tensor, int]:
    """Attributions and keys (layers, v) at the last of some tokens, and the answer they are for.

    ``answer`` is a token; without one, the model's own greedy next. The tokens before the last run
    once. Each layer's ``steps`` scaled keys are one batch, from that layer on.
    """
    norm, lowest = lm.final_norm, layers[0]
    row = SplitTokens(tuple(ids), len(ids) - 1)
    suffix = prepare_replay(lm, [row], lowest, EditSite.MLP_OUTPUT, layers)
    assert suffix.within is not None
    if answer is None:
        with torch.no_grad():
            last = suffix.replay(torch.zeros_like(suffix.unedited))[:, 0]  # (1, u)
            answer = int(lm.logits(norm(last))[0].argmax())
    repeated = torch.zeros(steps, dtype=torch.long, device=suffix.hidden.device)
    calls = [call.pick(repeated, 1) for call in (suffix.within.call, *suffix.calls)]
    counted = torch.arange(1, steps + 1, dtype=torch.float64, device=repeated.device)
    shares = counted[:, None] / steps  # (steps, 1)
    scores: list[Tensor] = []
    for layer in layers:
        key = suffix.keys[layer]  # (1, v)
        module = lm.down_proj(layer)
        first, *later = calls[layer - lowest :]
        with torch.enable_grad():
            scaled = (shares * key).to(key.dtype).requires_grad_()  # (steps, v)
            hidden = first.with_output_of(module, module(scaled))  # (steps, columns, u)
            for call in later:
                hidden = call.run(hidden)
            logits = lm.logits(norm(hidden[:, suffix.start]))  # (steps, vocabulary)
            probability = logits.softmax(dim=-1)[:, answer]  # (steps,)
            (gradient,) = torch.autograd.grad(probability.sum(), scaled)  # (steps, v)
        scores.append(key[0].double() * gradient.double().mean(dim=0))  # (v,)
    keys = torch.stack([suffix.keys[layer][0] for layer in layers])  # (layers, v)
    return torch.stack(scores), keys, answer


def _patch(
    lm: LanguageModel,
    request: Request,
    rows: Sequence[TokenizedPrompt],
    recipe: KnowledgeNeuronsRecipe,
) -> Patch:
    row, *others = rows
    layers, steps = recipe.layers, recipe.steps
    scores, keys, answer = attributions(lm, row.ids[: row.target], layers, steps)
    each = [scores] + [
        attributions(lm, other.ids[: other.target], layers, steps, answer)[0] for other in others
    ]
    chosen = _shared(torch.stack(each), recipe)
    if not chosen.any():
        raise NoNeurons(request)
    change = _change(lm, answer, row.ids[row.target], recipe)
    delta = Delta(
        {
            layer: Factored(change[:, None], _lengths(lm, layer, keys[place], chosen[place]))
            for place, layer in enumerate(recipe.layers)
            if chosen[place].any()
        }
    )
    positive = torch.stack(each).clamp_min(0)
    figures = {
        "neurons": float(chosen.sum()),
        "attribution": float(positive[:, chosen].sum() / positive.sum()),
        "base_probability": _probability(lm, row, Delta()),
        "probability": _probability(lm, row, delta),
        "error": 0.0,
    }
    return Patch(delta, figures)


def _shared(scores: Tensor, recipe: KnowledgeNeuronsRecipe) -> Tensor:
    """Which neurons are edited, (layers, v), by their scores (contexts, layers, v)."""
    largest = scores.amax(dim=(1, 2), keepdim=True)
    coarse = (scores > recipe.adaptive_threshold * largest) & (scores > 0)
    shared = coarse.double().mean(dim=0) > recipe.p
    mean = scores.mean(dim=0).masked_fill(~shared, -torch.inf).flatten()
    strongest = torch.zeros_like(mean, dtype=torch.bool)
    strongest[mean.sort(descending=True, stable=True).indices[: recipe.neurons]] = True
    return strongest.view_as(shared) & shared


def _change(lm: LanguageModel, old: int, new: int, recipe: KnowledgeNeuronsRecipe) -> Tensor:
    """(u,): what is added to a value vector of length 1, float64 on the CPU."""
    embeddings = lm.model.get_output_embeddings().weight[[old, new]].detach().cpu().double()
    before, after = torch.nn.functional.normalize(embeddings, dim=1)
    change: Tensor = recipe.norm_lambda2 * after - recipe.norm_lambda1 * before
    return change


def _lengths(lm: LanguageModel, layer: int, key: Tensor, chosen: Tensor) -> Tensor:
    """(1, v): the lengths of the chosen neurons' value vectors, with the signs of their keys."""
    weight = read_weight(lm.down_proj(layer), "weight").to(key.device).double()
    lengths = torch.linalg.vector_norm(weight, dim=1 if lm.architecture.transposed else 0)  # (v,)
    signed: Tensor = lengths * key.double().sign() * chosen
    return signed[None].cpu()


def _probability(lm: LanguageModel, row: TokenizedPrompt, delta: Delta) -> float:
    """Of the target's tokens (geometric mean), under a change of the weights."""
    ids = torch.tensor([row.ids], device=lm.device)  # (1, columns)
    with lm.eval_mode() as handles, torch.no_grad():
        for layer, part in delta.layers.items():
            handles.append(lm.down_proj(layer).register_forward_hook(delta_hook(part)))
        hidden = lm.body(input_ids=ids[:, :-1], use_cache=False)[0]  # (1, columns - 1, u)
        logits = lm.logits(hidden[0, row.target - 1 :])  # (target tokens, vocabulary)
    nll = torch.nn.functional.cross_entropy(logits, ids[0, row.target :])
    return float(torch.exp(-nll))

"""What a model can do beside facts, before edits and after: tasks, text, attention, values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

import torch
from torch import Tensor

from editvc.algebra.fusion import fusion_of
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.core.fusion_rule import FusionRule
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.subject_states import subject_states
from editvc.evaluation.abilities import abilities, read_items
from editvc.evaluation.ability_tasks import CHOICES
from editvc.evaluation.few_shot import Item, solved, split
from editvc.evaluation.probes import forced, perplexity, perplexity_of
from editvc.evaluation.repetition import adjusted_perplexity, unique_share
from editvc.evaluation.saliency import saliency
from editvc.materialise.blind_sequence import BlindSequence
from editvc.models.language_model import LanguageModel
from editvc.models.tokenization import tokenize
from experiments.bench import TASKS, Bench
from experiments.rows import Row, Setting

CHECKPOINTS = (1, 5, 10, 20)
ANSWER = 20
"""Tokens of an answer that are judged."""
ASKED, ATTENDED, ITEMS, BLOCKS = 12, 4, 40, 10
"""Questions whose answers are judged, whose attention is looked at; items of a task; blocks."""
TEMPERATURES = (0.0, 0.2, 0.5, 0.8)


def abilities_of_base(bench: Bench, setting: Setting) -> Row:
    """One task of the unedited model, beside what choosing at random would score."""
    file = TASKS / f"{setting['task']}.jsonl"
    (figures,) = abilities(bench.lm, [file], setting["items"]).values()
    return figures


def saliency_of_base(bench: Bench, setting: Setting) -> Row:
    """Shares of the three flows in each layer."""
    return {"layers": [*saliency(bench.lm, _questions(), setting["items"]).values()]}


def by_layer(bench: Bench, setting: Setting) -> Row:
    """A blind sequence in one layer: what it does to text, answers, attention and sampling."""
    recipe = bench.recipe(setting["method"], setting["options"])
    facts = bench.facts(setting["edits"])
    sequence = BlindSequence(
        bench.repo.session.materialiser, bench.lm, recipe, fusion_of(FusionRule.of("sum")), 0
    )
    texts = _answers(bench.lm)
    found = [{"edits": 0, **_damage(bench, bench.lm, []), **_judged(bench.lm, texts)}]
    for before, after in pairwise((0, *[one for one in CHECKPOINTS if one <= len(facts)])):
        for fact in facts[before:after]:
            sequence.advance([fact])
        (norms,) = sequence.norms().values()
        with sequence.at_work() as lm:
            figures, texts = _damage(bench, lm, facts[:after]), _answers(lm)
        judged = _judged(bench.lm, texts)  # the unedited model, as it is again
        found.append({"edits": after, **figures, **judged, "norms": norms})
    return {"layer": recipe.layers[0], "depth": bench.lm.depth, "checkpoints": found}


def _damage(bench: Bench, lm: LanguageModel, facts: Sequence[Fact]) -> Row:
    said = forced(lm, [(fact.question, fact.target_new) for fact in facts])
    return {
        "eff": 100 * mean(one.all_argmax for one in said) if said else None,
        "perplexity": perplexity(lm, bench.collection.text, blocks=BLOCKS),
        "sst2": abilities(lm, [TASKS / "sst2.jsonl"], ITEMS)["sst2"]["accuracy"],
        "saliency": [*saliency(lm, _questions(), ATTENDED).values()],
        "temperature": _sampled(lm),
    }


Answer = tuple[list[int], list[int]]
"""Tokens of a question and of the answer."""


def _answers(lm: LanguageModel) -> list[Answer]:
    """The first tokens of answers to users' questions, greedily."""
    found = []
    for item in read_items(TASKS / "natural_questions.jsonl")[:ASKED]:
        ids = lm.tokenizer(f"Question: {item['question'].strip()}\nAnswer:")["input_ids"]
        out = lm.model.generate(
            input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            min_new_tokens=ANSWER, max_new_tokens=ANSWER, do_sample=False,
            pad_token_id=lm.tokenizer.eos_token_id,
        )  # fmt: skip
        found.append((ids, out[0, len(ids) :].tolist()))
    return found


def _judged(judge: LanguageModel, answers: Sequence[Answer]) -> Row:
    """Of answers under another model: mean perplexity and adjusted perplexity; repetition."""
    each = [
        (perplexity_of(judge, [[*question, *answer]], last=ANSWER), answer)
        for question, answer in answers
    ]
    return {
        "answer_perplexity": mean(value for value, _ in each),
        "adjusted_perplexity": mean(adjusted_perplexity(*one) for one in each),
        "repetition": mean(1 - unique_share(answer) for _, answer in each),
    }


def _sampled(lm: LanguageModel) -> list[float]:
    """Accuracy at SST-2 by temperature: the label is drawn from the two labels' probabilities."""
    task = CHOICES["sst2"]
    shots, asked = split(_questions(), task, ITEMS)
    before = solved(shots, task)
    pairs = [(before + task.text(item), choice) for item in asked for choice in task.choices]
    values = [one.log_probability for one in forced(lm, pairs)]
    generator, found = torch.Generator().manual_seed(0), []
    for temperature in TEMPERATURES:
        right = []
        for number, item in enumerate(asked):
            scores = torch.tensor(values[2 * number : 2 * number + 2], dtype=torch.float64)
            if temperature:
                chances = torch.softmax(scores / temperature, dim=0)
                picked = int(torch.multinomial(chances, 1, generator=generator))
            else:
                picked = int(scores.argmax())
            right.append(picked == task.label(item))
        found.append(100 * mean(right))
    return found


def values(bench: Bench, setting: Setting) -> Row:
    """The first two principal components of what the first edits' keys give: v_j.

    At each edit's own time, after all edits, and after all edits under PRUNE; one decomposition of
    the three together.
    """
    recipe = bench.recipe(setting["method"], setting["options"])
    assert isinstance(recipe, LocatedRecipe)
    facts, (layer,) = bench.facts(setting["edits"]), recipe.layers
    materialiser = bench.repo.session.materialiser
    some = facts[: setting["first"]]
    plain, pruned = (
        BlindSequence(materialiser, bench.lm, recipe, fusion_of(FusionRule.of(rule)), 0)
        for rule in ("sum", "prune")
    )
    own = []
    for number, fact in enumerate(facts):
        plain.advance([fact])
        if number < len(some):
            with plain.at_work() as lm:
                own.append(_values(lm, [fact], recipe, layer)[0])
    pruned.restore(plain.to_bytes(), plain.steps)
    with plain.at_work() as lm:
        at_end = _values(lm, some, recipe, layer)
    with pruned.at_work() as lm:
        restrained = _values(lm, some, recipe, layer)
    made = torch.stack(own)
    whole = torch.cat([made, at_end, restrained])
    centred = whole - whole.mean(dim=0)
    _, scale, axes = torch.linalg.svd(centred, full_matrices=False)
    places = (centred @ axes[:2].T).split(len(some))
    names = ("current", "editing", "pruned")
    return {
        **{name: place.tolist() for name, place in zip(names, places, strict=True)},
        "explained": float(scale[:2].square().sum() / scale.square().sum()),
        "drift": float((at_end - made).norm(dim=1).mean() / made.norm(dim=1).mean()),
        "drift_pruned": float((restrained - made).norm(dim=1).mean() / made.norm(dim=1).mean()),
    }


def _values(lm: LanguageModel, facts: Sequence[Fact], recipe: LocatedRecipe, layer: int) -> Tensor:
    """``W k`` at the ends of the facts' subjects: (n, u)."""
    rows = [
        row for (row,) in tokenize(lm.tokenizer, [fact.request for fact in facts], (PLACEHOLDER,))
    ]
    keys, _ = subject_states(lm, rows, recipe, layer, {})
    weight = lm.down_proj(layer).weight.detach()
    weight = weight.T if lm.architecture.transposed else weight
    return (keys @ weight.to(keys.dtype).T).double()


def _questions() -> list[Item]:
    return read_items(TASKS / "sst2.jsonl")

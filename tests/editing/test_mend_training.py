"""Training of MEND's editors: its statistics, its loss by the formula, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_mend import LAYERS, compacted, on, plain_loss, scattered
from tiny_models import lm_of, tiny_gpt2
from tolerances import assert_near, model_rounding, moved_by_weights, rounding

from editvc.core.facts import Fact
from editvc.core.methods.mend import MendRecipe
from editvc.editing.mend import edit, gradients
from editvc.editing.mend_editor import Editor
from editvc.editing.mend_training import (
    Settings,
    TooFewFacts,
    example_losses,
    examples_of,
    judge,
    normalisation,
    train,
)
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited

NAMES = (
    "France",
    "Italy",
    "Paris",
    "Rome",
    "London",
    "Proust",
    "Ada",
    "Zürich",
    "Marie",
    "Babbage",
)
FACTS = [
    Fact(name, "The capital of {} is", target, paraphrases=(f"The old town of {name} is",))
    for name, target in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True)
]
QUICK = Settings(
    layers=LAYERS, rank=8, steps=80, batch=4, edit_lr=1e-2, lr=1e-2, lr_lr=1e-3, cedit=1.0,
    interval=10, matrices="down",
)  # fmt: skip
WHOLE = replace(QUICK, matrices="mlp")
MLP = ("up", "down")


def test_the_pairs_of_the_training_set_have_mean_0_and_deviation_1_once_normed(tokenizer):
    model = tiny_gpt2(len(tokenizer)).double()
    examples, matrices = examples_of(lm_of(model, tokenizer), FACTS), on(LAYERS, MLP)
    statistics = normalisation(lm_of(model), examples, WHOLE)
    assert set(statistics) == set(matrices)
    assert set(normalisation(lm_of(model), examples[:1], QUICK)) == set(on(LAYERS))
    asked = [gradients(lm_of(model), [one.edit], matrices) for one in examples]
    for matrix, (mean, std) in statistics.items():
        tokens = torch.cat([torch.cat(one.pairs[matrix], dim=-1)[0] for one in asked])
        normed = (tokens - mean) / std
        # Mean and deviation are stored in float32; a mean that is far off loses more of it.
        far = float((mean / std).abs().max())
        bound = rounding(1, torch.float32, scale=1 + far)
        assert_near(normed.mean(0), torch.zeros(160), bound, scale=160**0.5)
        assert_near(normed.std(0, correction=0), torch.ones(160), bound)


@pytest.mark.parametrize("parts", [("down",), MLP])
def test_the_loss_is_its_formula(tokenizer, parts):
    """One example with one wording and one locality prompt: nothing is left to the draw."""
    model = tiny_gpt2(len(tokenizer)).double()
    fact = replace(FACTS[0], paraphrases=(), locality=("The river is",))
    (example,) = examples_of(lm_of(model, tokenizer), [fact])
    editor = scattered(32, 128, parts)

    def loss(one):
        return example_losses(
            lm_of(one), editor, [example], QUICK, torch.Generator().manual_seed(0)
        )

    request = fact.request
    (patch,) = edit(lm_of(model, tokenizer), [request], MendRecipe(layers=LAYERS), editor)
    ids = tokenizer("The river is", return_tensors="pt").input_ids
    ((row,),) = tokenize(tokenizer, [request])
    with torch.no_grad():
        before = model(input_ids=ids).logits[0, -1].log_softmax(-1)
        with edited(lm_of(model), patch.delta):
            after = model(input_ids=ids).logits[0, -1].log_softmax(-1)
            nll = plain_loss(model, row.ids, row.target)
    kl = torch.nn.functional.kl_div(after, before, reduction="sum", log_target=True)
    assert float(kl) > 0.01
    # The patch may lack a little: as much as if the weights were rounded to float32.
    bound = model_rounding(loss, model, terms=len(tokenizer))
    bound += compacted(row) * moved_by_weights(loss, model)
    assert_near(loss(model).sum(), QUICK.cedit * nll + kl, bound)


def test_training_lowers_the_loss_and_touches_nothing(gpt2, tokenizer):
    before = {name: tensor.clone() for name, tensor in gpt2.state_dict().items()}
    state = torch.get_rng_state()
    examples = examples_of(lm_of(gpt2, tokenizer), FACTS)
    statistics = normalisation(lm_of(gpt2), examples, QUICK)
    begun = Editor.untrained(statistics, rank=8, rate=QUICK.edit_lr, seed=0)
    trained = train(lm_of(gpt2, tokenizer), FACTS, QUICK)

    def loss(editor):
        metrics = judge(lm_of(gpt2), editor, examples, QUICK)
        return QUICK.cedit * metrics.nll + metrics.kl

    assert loss(trained) < 0.6 * loss(begun)
    assert trained.origin["figures"].keys() == {"validation", "training"}
    for name, tensor in gpt2.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(tensor.requires_grad for tensor in trained.tensors.values())


def test_every_tensor_but_the_statistics_is_trained(gpt2, tokenizer):
    examples = examples_of(lm_of(gpt2, tokenizer), FACTS)[:4]
    editor = scattered(32, 128, MLP)
    for tensor in editor.tensors.values():
        tensor.requires_grad_(True)
    draw = torch.Generator().manual_seed(0)
    example_losses(lm_of(gpt2), editor, examples, QUICK, draw).sum().backward()
    assert {name for name, tensor in editor.tensors.items() if tensor.grad.any()} == set(
        editor.tensors
    )


def test_training_is_a_function_of_its_facts_settings_and_seed(gpt2, tokenizer):
    short = replace(QUICK, steps=4, interval=2)
    seen = []
    one, again, other = (
        train(
            lm_of(gpt2, tokenizer), FACTS, short, seed=seed, watch=lambda *what: seen.append(what)
        )
        for seed in (1, 1, 2)
    )
    assert one.to_bytes() == again.to_bytes()
    assert one.to_bytes() != other.to_bytes()
    assert [step for step, _ in seen] == [2, 4] * 3


def test_training_ends_early_where_nothing_gets_better(gpt2, tokenizer):
    seen = []
    harmful = replace(QUICK, lr=10.0, lr_lr=10.0, interval=1, patience=2)
    train(lm_of(gpt2, tokenizer), FACTS, harmful, watch=lambda step, _: seen.append(step))
    assert len(seen) < 10


def test_other_facts_questions_stand_in_for_locality_prompts(gpt2, tokenizer):
    facts = [*FACTS[:2], replace(FACTS[0], target_new="Rome", locality=("The river is",))]
    examples = examples_of(lm_of(gpt2, tokenizer), facts)
    ids = [tuple(tokenizer(text)["input_ids"]) for text in (FACTS[1].question, FACTS[0].question)]
    assert examples[0].locality == (ids[0],)
    assert examples[1].locality == (ids[1], ids[1])
    assert examples[2].locality == (tuple(tokenizer("The river is")["input_ids"]),)


def test_three_facts_are_too_few(gpt2, tokenizer):
    with pytest.raises(TooFewFacts):
        train(lm_of(gpt2, tokenizer), FACTS[:3], QUICK)


def test_a_published_editor_is_trained_in_both_blocks(gpt2, tokenizer):
    short = replace(QUICK, steps=2, interval=2, published=True)
    trained = train(lm_of(gpt2, tokenizer), FACTS, short, seed=1)
    assert trained.published and trained.origin["settings"]["published"]
    assert all(trained.tensors[name].any() for name in ("0.up", "1.up", "1.offset", "0.bias"))
    assert "published" not in QUICK.to_json()


def test_an_editor_of_all_matrices_is_trained_in_all(gpt2, tokenizer):
    """From one step to the next all of it moves, but what it norms pairs by."""
    one, two = (
        train(lm_of(gpt2, tokenizer), FACTS, replace(WHOLE, steps=steps, interval=2), seed=1)
        for steps in (1, 2)
    )
    assert one.parts == MLP and one.origin["settings"]["matrices"] == "mlp"
    assert "matrices" not in QUICK.to_json()
    same = {name for name, tensor in one.tensors.items() if torch.equal(tensor, two.tensors[name])}
    assert same == {"mean", "std", "inner.mean", "inner.std"}
    slow = replace(WHOLE, steps=1, lr_lr=0.0)  # rates learn by a number of their own
    kept = train(lm_of(gpt2, tokenizer), FACTS, slow, seed=1)
    for name in ("rate", "inner.rate"):
        assert torch.equal(kept.tensors[name], torch.full_like(kept.tensors[name], slow.edit_lr))

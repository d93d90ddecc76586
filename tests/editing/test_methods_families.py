"""Every method on families of different structure, and on models that keep no cache."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from conftest import REQUESTS, seeded
from test_architectures import COMMON, ENDS, tiny
from tolerances import (
    assert_near,
    condition,
    model_rounding,
    model_roundings,
    moved_by_weights,
    rounding,
    size,
    sum_rounding,
)
from transformers import AutoConfig

from editvc.core.ids import ObjectId
from editvc.core.methods import method_of
from editvc.core.patch_recipes import FineTuning, Grace, KnowledgeNeurons, Mend
from editvc.core.recipe import Recipe
from editvc.editing.architectures import (
    NoAttentionError,
    architecture_in,
    architecture_of,
    carry,
)
from editvc.editing.codebook import Codebook, answering
from editvc.editing.fine_tuning import fine_tune
from editvc.editing.grace import find_entries
from editvc.editing.guards import Projection, Unguarded, Whitening
from editvc.editing.head import logits_of
from editvc.editing.hooks import first_tensor
from editvc.editing.loading import edited
from editvc.editing.locate import locate, locate_together
from editvc.editing.mend import Editor
from editvc.editing.mend import edit as mend
from editvc.editing.neurons import attributions, knowledge_neurons
from editvc.editing.passes import keys_at
from editvc.editing.prefixes import Row
from editvc.editing.replay import run_tails
from editvc.editing.solvers import Edits, solver_of
from editvc.editing.structure import find_block
from editvc.editing.targets import find_targets
from editvc.editing.tracing import trace

FAMILIES = ("gpt2", "gptj", "gemma2", "bloom", "granite", "openai-gpt", "olmo")
"""Conv1D, attention beside the MLP, norms behind both, ALiBi and residuals inside of modules,
a factor, no cache and no final norm, and a family that the table lacks."""

LOCATED = ("rome", "pmet", "alphaedit", "ultraedit")
LAYER = 1


def build(family, tokenizer):
    if family != "olmo":
        return tiny(family, len(tokenizer))
    config = AutoConfig.for_model("olmo", vocab_size=len(tokenizer), **(COMMON | ENDS))
    model = seeded(config)
    carry(model, find_block(config).architecture)
    return model


def used(name, **changes):
    row = method_of(name)
    values = {"layers": (LAYER,), "contexts": ("{}", "The old town. {}"), "method": name}
    few = {"v_num_grad_steps": 5} if "v_num_grad_steps" in row.numbers else {}
    numbers = row.numbers_for(48) | few
    return Recipe(**(values | numbers | {"statistics": ObjectId("0" * 64)} | changes))


def guards_for(model, tokenizer, recipe):
    rows = [row.ids for each in trace(tokenizer, REQUESTS) for row in each]
    keys = keys_at(model, rows, [range(len(row)) for row in rows], recipe.layers)
    found = {}
    for layer, seen in keys.items():
        moment = seen.T.double() @ seen.double() / len(seen)
        moment += 1e-3 * torch.eye(len(moment), dtype=torch.float64)
        threshold = float(torch.linalg.eigvalsh(moment).median())
        found[layer] = {
            "nullspace": lambda m=moment, t=threshold: Projection.of(m, t, 10.0),
            "normalised": Unguarded,
        }.get(recipe.row.solver, lambda m=moment: Whitening.of(m))()
    return found


@pytest.mark.parametrize("name", LOCATED)
@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_residuals_are_sound_and_the_model_is_left_alone(family, name, tokenizer):
    model, recipe = build(family, tokenizer), used(name)
    before = deepcopy(model.state_dict())
    guards, requests = guards_for(model, tokenizer, recipe), REQUESTS[:3]
    alone = locate(model, tokenizer, requests, recipe, guards)
    together = locate_together(model, tokenizer, requests, alone, recipe, guards)
    weight = architecture_in(model).module(model, LAYER).weight
    u, v = reversed(weight.shape) if architecture_in(model).transposed else weight.shape
    for one in [*alone, *together]:
        key, residual = one.keys[LAYER], one.residuals[LAYER]
        assert (key.shape, residual.shape) == ((v,), (u,))
        assert key.isfinite().all() and residual.isfinite().all()
        assert key.norm() > 0 and residual.norm() > 0
    assert all(torch.equal(tensor, before[at]) for at, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_rome_gives_just_what_its_target_lacks(family, tokenizer):
    """Of the down projection's own output, whatever a block makes of that."""
    model, recipe = build(family, tokenizer), used("rome")
    guards = guards_for(model, tokenizer, recipe)
    (located,) = locate(model, tokenizer, REQUESTS[:1], recipe, guards)
    (target,) = find_targets(model, tokenizer, REQUESTS[:1], recipe)
    key, residual = located.keys[LAYER].double(), located.residuals[LAYER].double()
    edits = Edits(key[:, None], residual[:, None])
    change = solver_of(recipe).system(edits, guards[LAYER]).solution
    # Key and residual are stored in float32, and so is the quotient between them computed; the key
    # is whitened.
    bound = rounding(4, torch.float32) * condition(guards[LAYER].lower)
    assert_near(change.dense() @ key, target.delta, bound)


def with_added(model, ids, column, vectors, modules):
    """The model's logits (tokens, vocabulary) with a vector added to each module's output."""

    def adding(vector):
        def hook(_module, _args, output):
            moved = first_tensor(output).clone()
            moved.view(-1, moved.shape[-1])[column] += vector
            return moved if isinstance(output, torch.Tensor) else (moved, *output[1:])

        return hook

    handles = [
        module.register_forward_hook(adding(vector))
        for module, vector in zip(modules, vectors, strict=True)
    ]
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("moved", [0.0, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_replay_of_pmet_is_the_whole_model(family, moved, tokenizer):
    model = build(family, tokenizer)
    architecture = architecture_in(model)
    rows = [row for (row,) in trace(tokenizer, REQUESTS[:4])]
    cut = [Row(row.ids, row.subject) for row in rows]
    shape = run_tails(model, architecture, cut, LAYER, "pmet").aimed.shape
    generator = torch.Generator().manual_seed(2)
    deltas = moved * torch.randn(shape, generator=generator)
    assert deltas.shape[1] == 2

    def replayed(one):
        tails = run_tails(one, architecture, cut, LAYER, "pmet")
        return logits_of(one, architecture.norm(one)(tails.replay(deltas)))

    found, bound = replayed(model), model_rounding(replayed, model)
    modules = (architecture.module(model, LAYER), architecture.attention_module(model, LAYER))
    plain = [model(input_ids=torch.tensor([row.ids])).logits[0] for row in rows]
    for place, row in enumerate(rows):
        expected = with_added(model, row.ids, row.subject, deltas[place], modules)
        tail = expected[row.subject :]
        assert_near(found[place, : len(tail)], tail, bound)
        assert torch.equal(expected, plain[place]) == (moved == 0.0)


def test_pmet_needs_a_path_to_attention_and_says_so(tokenizer):
    model = tiny("gpt2", len(tokenizer))
    carry(model, replace(architecture_of("gpt2"), attention=None))
    with pytest.raises(NoAttentionError, match="where attention's output is"):
        find_targets(model, tokenizer, REQUESTS[:1], used("pmet"))
    assert find_targets(model, tokenizer, REQUESTS[:1], used("rome"))


def untrained(model, layers):
    weight = architecture_in(model).module(model, layers[0]).weight
    size = (len(layers), sum(weight.shape))
    return Editor.untrained(layers, torch.zeros(size), torch.ones(size), rank=4, rate=0.01, seed=0)


def patches_of(model, tokenizer):
    layers = (0, 1, 2)
    return {
        "ft": fine_tune(model, tokenizer, REQUESTS[:2], FineTuning((LAYER,), num_steps=4)),
        "kn": knowledge_neurons(model, tokenizer, REQUESTS[:2], KnowledgeNeurons(layers, steps=5)),
        "mend": mend(model, tokenizer, REQUESTS[:2], Mend(layers), untrained(model, layers)),
    }


@pytest.mark.parametrize("family", ["openai-gpt", "olmo"])
def test_patches_do_what_they_say_where_nothing_is_cached_or_known(family, tokenizer):
    model = build(family, tokenizer).double()
    for name, patches in patches_of(model, tokenizer).items():
        for request, patch in zip(REQUESTS, patches, strict=False):
            assert patch.delta.norm() > 0, name

            def losses(one, request=request, patch=patch):
                """Of the target's tokens, with the patch in the weights."""
                ((row,),) = trace(tokenizer, [request])
                with edited(one, architecture_in(model), patch.delta):
                    logits = one(input_ids=torch.tensor([row.ids[:-1]])).logits[0]
                wanted = torch.tensor(row.ids[row.target :])
                return torch.nn.functional.cross_entropy(
                    logits[row.target - 1 :], wanted, reduction="none"
                )

            stated = patch.figures.get("loss_after") or -math.log(patch.figures["probability"])
            each = losses(model)
            # A patch of MEND leaves out what is below an eps of float32, of rank 20 at most.
            terms = sum_rounding(model, len(tokenizer))
            bound = (terms + rounding(1, torch.float32, scale=20**0.5)) * moved_by_weights(
                losses, model
            )
            assert_near(stated, each.mean(), bound * size(each), scale=1)


@pytest.mark.parametrize("family", ["openai-gpt", "olmo"])
def test_a_codebook_answers_where_nothing_is_cached_or_known(family, tokenizer):
    model = build(family, tokenizer)
    recipe = Grace((LAYER,), n_iter=60)
    for request in REQUESTS[:2]:
        (entry,) = find_entries(model, tokenizer, [request], recipe)
        ((row,),) = trace(tokenizer, [request])
        book = Codebook.of({"a": entry}, {"a": size(entry.keys[0]) / 8})

        def losses(one, row=row, book=book):
            """Of the target's tokens."""
            with answering(one, [book]):
                logits = one(input_ids=torch.tensor([row.ids[:-1]])).logits[0, row.target - 1 :]
            wanted = torch.tensor(row.ids[row.target :])
            return torch.nn.functional.cross_entropy(logits, wanted, reduction="none")

        # The values are searched for with gradients, which sum over the vocabulary.
        bound = model_rounding(losses, model, terms=len(tokenizer)) * size(losses(model))
        assert_near(entry.figures["loss"], losses(model).mean(), bound, scale=1)
        assert entry.figures["probability"] > entry.figures["base_probability"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_every_method_gives_without_a_cache_what_it_gives_with_one(family, tokenizer):
    model = tiny(family, len(tokenizer)).double()
    bare = deepcopy(model)
    carry(bare, replace(architecture_of(family), cached=False))
    rows = [row for (row,) in trace(tokenizer, REQUESTS[:2])]

    def results(one):
        """Of searches, attributions, codebooks and a step of fine-tuning."""
        for name in ("rome", "pmet"):
            yield torch.stack([z.z for z in find_targets(one, tokenizer, REQUESTS[:4], used(name))])
        for row in rows:
            yield attributions(one, row.ids[: row.target], (0, 1, 2), 5, answer=7)[0]
        entries = find_entries(one, tokenizer, REQUESTS[:4], Grace((LAYER,), n_iter=5))
        yield torch.cat([entry.values for entry in entries])
        yield torch.cat([entry.keys for entry in entries])
        (tuned,) = fine_tune(one, tokenizer, REQUESTS[:1], FineTuning((LAYER,), num_steps=3))
        yield tuned.delta.layers[LAYER].dense()

    # Entries of a codebook are stored in float32.
    bounds = model_roundings(results, model, terms=len(tokenizer))
    for actual, expected, bound in zip(results(bare), results(model), bounds, strict=True):
        stored = rounding(1, torch.float32) if actual.dtype == torch.float32 else 0.0
        assert_near(actual, expected, bound + stored)

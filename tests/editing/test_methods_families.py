"""Every method on families of different structure, and on models that keep no cache."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS, seeded
from plain_mend import blank, on
from tiny_families import COMMON, ENDS, tiny
from tiny_models import lm_of
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

from editvc.algebra.codebook import Codebook
from editvc.algebra.preconditioners import IdentityPreconditioner, Projection, Whitening
from editvc.algebra.solvers import Edits, solver_of
from editvc.core.edit_site import EditSite
from editvc.core.ids import ObjectId
from editvc.core.methods.fine_tuning import FineTuningRecipe
from editvc.core.methods.grace import GraceRecipe
from editvc.core.methods.knowledge_neurons import KnowledgeNeuronsRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.mend import MendRecipe
from editvc.core.methods.table import method_of
from editvc.editing.fine_tuning import fine_tune
from editvc.editing.grace import find_entries
from editvc.editing.knowledge_neurons import attributions, knowledge_neurons
from editvc.editing.locate import locate, locate_together
from editvc.editing.mend import edit as mend
from editvc.editing.mend_editor import Editor
from editvc.editing.target_search import find_targets
from editvc.models.architecture_discovery import find_block
from editvc.models.architectures import NoAttentionError
from editvc.models.codebook_hooks import answering
from editvc.models.forward import keys_at
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.prefix_cache import SplitTokens
from editvc.models.replay import prepare_replay
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited

FAMILIES = ("gpt2", "gptj", "gemma2", "bloom", "granite", "opt", "openai-gpt", "olmo")
"""Conv1D, attention beside the MLP, norms behind both, ALiBi and residuals inside of modules,
a factor, an MLP that is handed flattened tokens, no cache and no final norm, and a family that the
table lacks."""

LOCATED = ("rome", "pmet", "alphaedit", "ultraedit")
LAYER = 1


def build(family, tokenizer):
    if family != "olmo":
        return lm_of(tiny(family, len(tokenizer)), tokenizer)
    config = AutoConfig.for_model("olmo", vocab_size=len(tokenizer), **(COMMON | ENDS))
    return LanguageModel(seeded(config), tokenizer, find_block(config).architecture)


def used(name, **changes):
    row = method_of(name)
    values = {"layers": (LAYER,), "contexts": ("{}", "The old town. {}"), "method": name}
    few = {"v_num_grad_steps": 5} if "v_num_grad_steps" in row.numbers else {}
    numbers = row.numbers_for(48) | few
    return LocatedRecipe(**(values | numbers | {"statistics": ObjectId("0" * 64)} | changes))


def preconditioners_for(lm, recipe):
    rows = [row.ids for each in tokenize(lm.tokenizer, REQUESTS) for row in each]
    keys = keys_at(lm, rows, [range(len(row)) for row in rows], recipe.layers)
    found = {}
    for layer, seen in keys.items():
        moment = seen.T.double() @ seen.double() / len(seen)
        moment += 1e-3 * torch.eye(len(moment), dtype=torch.float64)
        threshold = float(torch.linalg.eigvalsh(moment).median())
        found[layer] = {
            "nullspace": lambda m=moment, t=threshold: Projection.of(m, t, 10.0),
            "normalised": IdentityPreconditioner,
        }.get(recipe.row.solver, lambda m=moment: Whitening.of(m))()
    return found


@pytest.mark.parametrize("name", LOCATED)
@pytest.mark.parametrize("family", FAMILIES)
def test_keys_and_residuals_are_sound_and_the_model_is_left_alone(family, name, tokenizer):
    lm, recipe = build(family, tokenizer), used(name)
    before = deepcopy(lm.model.state_dict())
    preconditioners, requests = preconditioners_for(lm, recipe), REQUESTS[:3]
    alone = locate(lm, requests, recipe, preconditioners)
    together = locate_together(lm, requests, alone, recipe, preconditioners)
    weight = lm.down_proj(LAYER).weight
    u, v = reversed(weight.shape) if lm.architecture.transposed else weight.shape
    for one in [*alone, *together]:
        key, residual = one.keys[LAYER], one.residuals[LAYER]
        assert (key.shape, residual.shape) == ((v,), (u,))
        assert key.isfinite().all() and residual.isfinite().all()
        assert key.norm() > 0 and residual.norm() > 0
    assert all(torch.equal(tensor, before[at]) for at, tensor in lm.model.state_dict().items())
    assert not any(module._forward_hooks for module in lm.model.modules())
    assert not any(module._forward_pre_hooks for module in lm.model.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_rome_gives_just_what_its_target_lacks(family, tokenizer):
    """Of the down projection's own output, whatever a block makes of that."""
    lm, recipe = build(family, tokenizer), used("rome")
    preconditioners = preconditioners_for(lm, recipe)
    (located,) = locate(lm, REQUESTS[:1], recipe, preconditioners)
    (target,) = find_targets(lm, REQUESTS[:1], recipe)
    key, residual = located.keys[LAYER].double(), located.residuals[LAYER].double()
    edits = Edits(key[:, None], residual[:, None])
    change = solver_of(recipe).system(edits, preconditioners[LAYER]).solution
    # Key and residual are stored in float32, and so is the quotient between them computed; the key
    # is whitened.
    bound = rounding(4, torch.float32) * condition(preconditioners[LAYER].lower)
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
    lm = build(family, tokenizer)
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS[:4])]
    split = [SplitTokens(row.ids, row.subject) for row in rows]
    shape = prepare_replay(lm, split, LAYER, EditSite.ATTENTION_AND_MLP).unedited.shape
    generator = torch.Generator().manual_seed(2)
    deltas = moved * torch.randn(shape, generator=generator)
    assert deltas.shape[1] == 2

    def replayed(model):
        one = replace(lm, model=model)
        suffixes = prepare_replay(one, split, LAYER, EditSite.ATTENTION_AND_MLP)
        return one.logits(one.final_norm(suffixes.replay(deltas)))

    found, bound = replayed(lm.model), model_rounding(replayed, lm.model)
    modules = (lm.down_proj(LAYER), lm.attention_output(LAYER))
    plain = [lm.model(input_ids=torch.tensor([row.ids])).logits[0] for row in rows]
    for place, row in enumerate(rows):
        expected = with_added(lm.model, row.ids, row.subject, deltas[place], modules)
        suffix = expected[row.subject :]
        assert_near(found[place, : len(suffix)], suffix, bound)
        assert torch.equal(expected, plain[place]) == (moved == 0.0)


def test_pmet_needs_a_path_to_attention_and_says_so(tokenizer):
    lm = lm_of(tiny("gpt2", len(tokenizer)), tokenizer, attention=None)
    with pytest.raises(NoAttentionError, match="where attention's output is"):
        find_targets(lm, REQUESTS[:1], used("pmet"))
    assert find_targets(lm, REQUESTS[:1], used("rome"))


def untrained(lm, layers):
    matrices = on(layers, lm.architecture.mlp_matrices)
    pairs = sum(lm.down_proj(layers[0]).weight.shape)
    return Editor.untrained(blank(pairs, matrices), rank=4, rate=0.01, seed=0)


def patches_of(lm):
    layers = (0, 1, 2)
    return {
        "ft": fine_tune(lm, REQUESTS[:2], FineTuningRecipe((LAYER,), num_steps=4)),
        "kn": knowledge_neurons(lm, REQUESTS[:2], KnowledgeNeuronsRecipe(layers, steps=5)),
        "mend": mend(lm, REQUESTS[:2], MendRecipe(layers), untrained(lm, layers)),
    }


@pytest.mark.parametrize("family", ["openai-gpt", "olmo"])
def test_patches_do_what_they_say_where_nothing_is_cached_or_known(family, tokenizer):
    lm = build(family, tokenizer)
    lm.model.double()
    for name, patches in patches_of(lm).items():
        for request, patch in zip(REQUESTS, patches, strict=False):
            assert patch.delta.norm() > 0, name

            def losses(model, request=request, patch=patch):
                """Of the target's tokens, with the patch in the weights."""
                ((row,),) = tokenize(tokenizer, [request])
                with edited(replace(lm, model=model), patch.delta):
                    logits = model(input_ids=torch.tensor([row.ids[:-1]])).logits[0]
                wanted = torch.tensor(row.ids[row.target :])
                return torch.nn.functional.cross_entropy(
                    logits[row.target - 1 :], wanted, reduction="none"
                )

            stated = patch.figures.get("loss_after") or -math.log(patch.figures["probability"])
            each = losses(lm.model)
            # A patch of MEND leaves out what is below an eps of float32, of rank 20 at most.
            terms = sum_rounding(lm.model, len(tokenizer))
            bound = (terms + rounding(1, torch.float32, scale=20**0.5)) * moved_by_weights(
                losses, lm.model
            )
            assert_near(stated, each.mean(), bound * size(each), scale=1)


@pytest.mark.parametrize("family", ["openai-gpt", "olmo"])
def test_a_codebook_answers_where_nothing_is_cached_or_known(family, tokenizer):
    lm = build(family, tokenizer)
    recipe = GraceRecipe((LAYER,), n_iter=60)
    for request in REQUESTS[:2]:
        (entry,) = find_entries(lm, [request], recipe)
        ((row,),) = tokenize(tokenizer, [request])
        book = Codebook.of({"a": entry}, {"a": size(entry.keys[0]) / 8})

        def losses(model, row=row, book=book):
            """Of the target's tokens."""
            with answering(replace(lm, model=model), [book]):
                logits = model(input_ids=torch.tensor([row.ids[:-1]])).logits[0, row.target - 1 :]
            wanted = torch.tensor(row.ids[row.target :])
            return torch.nn.functional.cross_entropy(logits, wanted, reduction="none")

        # The values are searched for with gradients, which sum over the vocabulary.
        each = losses(lm.model)
        bound = model_rounding(losses, lm.model, terms=len(tokenizer)) * size(each)
        assert_near(entry.figures["loss"], each.mean(), bound, scale=1)
        assert entry.figures["probability"] > entry.figures["base_probability"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_every_method_gives_without_a_cache_what_it_gives_with_one(family, tokenizer):
    model = tiny(family, len(tokenizer)).double()
    rows = [row for (row,) in tokenize(tokenizer, REQUESTS[:2])]

    def results(lm):
        """Of searches, attributions, codebooks and a step of fine-tuning."""
        for name in ("rome", "pmet"):
            yield torch.stack([each.z for each in find_targets(lm, REQUESTS[:4], used(name))])
        for row in rows:
            yield attributions(lm, row.ids[: row.target], (0, 1, 2), 5, answer=7)[0]
        entries = find_entries(lm, REQUESTS[:4], GraceRecipe((LAYER,), n_iter=5))
        yield torch.cat([entry.values for entry in entries])
        yield torch.cat([entry.keys for entry in entries])
        (tuned,) = fine_tune(lm, REQUESTS[:1], FineTuningRecipe((LAYER,), num_steps=3))
        yield tuned.delta.layers[LAYER].dense()

    def with_cache(one):
        return results(lm_of(one, tokenizer))

    without = results(lm_of(model, tokenizer, cached=False))
    # Entries of a codebook are stored in float32.
    bounds = model_roundings(with_cache, model, terms=len(tokenizer))
    for actual, expected, bound in zip(without, with_cache(model), bounds, strict=True):
        stored = rounding(1, torch.float32) if actual.dtype == torch.float32 else 0.0
        assert_near(actual, expected, bound + stored)

"""Every method on families of different structure, and on models that keep no cache."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from model_fixtures import REQUESTS, seeded
from tiny_families import COMMON, ENDS, tiny
from tiny_models import lm_of
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
from editvc.models.architectures import (
    NoAttentionError,
)
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


def relative(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


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
    assert relative(change.dense() @ key, target.delta) < 1e-4


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
    suffixes = prepare_replay(lm, split, LAYER, EditSite.ATTENTION_AND_MLP)
    generator = torch.Generator().manual_seed(2)
    deltas = moved * torch.randn(suffixes.unedited.shape, generator=generator)
    assert deltas.shape[1] == 2
    found = lm.logits(lm.final_norm(suffixes.replay(deltas)))
    modules = (lm.down_proj(LAYER), lm.attention_output(LAYER))
    plain = [lm.model(input_ids=torch.tensor([row.ids])).logits[0] for row in rows]
    for place, row in enumerate(rows):
        expected = with_added(lm.model, row.ids, row.subject, deltas[place], modules)
        suffix = expected[row.subject :]
        assert relative(found[place, : len(suffix)], suffix) < 1e-4
        assert torch.equal(expected, plain[place]) == (moved == 0.0)


def test_pmet_needs_a_path_to_attention_and_says_so(tokenizer):
    lm = lm_of(tiny("gpt2", len(tokenizer)), tokenizer, attention=None)
    with pytest.raises(NoAttentionError, match="where attention's output is"):
        find_targets(lm, REQUESTS[:1], used("pmet"))
    assert find_targets(lm, REQUESTS[:1], used("rome"))


def untrained(lm, layers):
    weight = lm.down_proj(layers[0]).weight
    size = (len(layers), sum(weight.shape))
    return Editor.untrained(layers, torch.zeros(size), torch.ones(size), rank=4, rate=0.01, seed=0)


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
            ((row,),) = tokenize(tokenizer, [request])
            with edited(lm, patch.delta):
                logits = lm.model(input_ids=torch.tensor([row.ids[:-1]])).logits[
                    0, row.target - 1 :
                ]
            wanted = torch.tensor(row.ids[row.target :])
            loss = float(torch.nn.functional.cross_entropy(logits, wanted))
            said = (
                patch.figures.get("loss_after")
                or -torch.tensor(patch.figures["probability"], dtype=torch.float64).log()
            )
            assert loss == pytest.approx(float(said), rel=1e-4), name
            assert patch.delta.norm() > 0, name


@pytest.mark.parametrize("family", ["openai-gpt", "olmo"])
def test_a_codebook_answers_where_nothing_is_cached_or_known(family, tokenizer):
    lm = build(family, tokenizer)
    recipe = GraceRecipe((LAYER,), n_iter=60)
    for request in REQUESTS[:2]:
        (entry,) = find_entries(lm, [request], recipe)
        ((row,),) = tokenize(tokenizer, [request])
        ids = torch.tensor([row.ids[:-1]])
        book = Codebook.of({"a": entry}, {"a": 1e-3})
        with answering(lm, [book]):
            logits = lm.model(input_ids=ids).logits[0, row.target - 1 :]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[row.target :]))
        assert float(loss) == pytest.approx(entry.figures["loss"], rel=1e-2, abs=1e-3)
        assert entry.figures["probability"] > entry.figures["base_probability"]


@pytest.mark.parametrize("family", ["gpt2", "llama", "opt"])
def test_every_method_gives_without_a_cache_what_it_gives_with_one(family, tokenizer):
    model = tiny(family, len(tokenizer)).double()
    cached, bare = lm_of(model, tokenizer), lm_of(model, tokenizer, cached=False)
    for name in ("rome", "pmet"):
        with_cache, without = (
            find_targets(one, REQUESTS[:4], used(name)) for one in (cached, bare)
        )
        for one, other in zip(with_cache, without, strict=True):
            assert relative(other.z, one.z) < 1e-9, name
    for request in REQUESTS[:2]:
        ((row,),) = tokenize(tokenizer, [request])
        ids = row.ids[: row.target]
        scores, other = (attributions(one, ids, (0, 1, 2), 5)[0] for one in (cached, bare))
        assert relative(other, scores) < 1e-9
    recipe = GraceRecipe((LAYER,), n_iter=5)
    entries, others = (find_entries(one, REQUESTS[:4], recipe) for one in (cached, bare))
    for one, other in zip(entries, others, strict=True):
        assert relative(other.values, one.values) < 1e-6
        assert relative(other.keys, one.keys) < 1e-6
    tuned, other = (
        fine_tune(one, REQUESTS[:1], FineTuningRecipe((LAYER,), num_steps=3))[0]
        for one in (cached, bare)
    )
    assert relative(other.delta.layers[LAYER].dense(), tuned.delta.layers[LAYER].dense()) < 1e-6

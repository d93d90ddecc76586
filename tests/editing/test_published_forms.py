"""Methods as their papers print them: whole algorithms, written densely, on real forward passes.

The transcriptions know nothing of editvc but tokens: a weight is changed in the model itself, the
model is run again from its first token for every layer, and inverses are inverses.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from model_fixtures import REQUESTS, recipe, tiny_gpt2, tiny_llama
from tiny_models import lm_of
from tolerances import error

from editvc.algebra.preconditioners import IdentityPreconditioner, Whitening
from editvc.algebra.solvers import Edits, solver_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import METHODS
from editvc.editing.locate import locate, locate_together
from editvc.editing.target_search import find_targets
from editvc.models.tokenization import tokenize

LAYERS = (0, 1, 2)
BATCH = REQUESTS[:3]


def model_of(family, tokenizer):
    return {"gpt2": tiny_gpt2, "llama": tiny_llama}[family](len(tokenizer)).double()


def weight_of(model, layer):
    """(u, v) whichever way the family stores it: a view."""
    if hasattr(model, "transformer"):
        return model.transformer.h[layer].mlp.c_proj.weight.T
    return model.model.layers[layer].mlp.down_proj.weight


def blocks_of(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


def down_of(block):
    return block.mlp.c_proj if hasattr(block.mlp, "c_proj") else block.mlp.down_proj


def seen(model, row):
    """Of one prompt, at the subject: keys k^l and values m^l by layer, and h^l behind blocks."""
    keys, values, hidden, handles = {}, {}, {}, []
    for layer, block in enumerate(blocks_of(model)):

        def on_down(_m, args, out, layer=layer):
            keys[layer], values[layer] = args[0][0, row.subject], out[0, row.subject]

        def on_block(_m, _args, out, layer=layer):
            hidden[layer] = (out if isinstance(out, torch.Tensor) else out[0])[0, row.subject]

        handles += [
            down_of(block).register_forward_hook(on_down),
            block.register_forward_hook(on_block),
        ]
    with torch.no_grad():
        model(input_ids=torch.tensor([row.ids[: row.subject + 1]]))
    for handle in handles:
        handle.remove()
    return keys, values, hidden


def moments(v):
    draw = torch.Generator().manual_seed(5)
    roots = {one: torch.randn(v, v, generator=draw, dtype=torch.float64) for one in LAYERS}
    return {one: root @ root.T / v + 0.1 * torch.eye(v).double() for one, root in roots.items()}


def mean_key(model, contexts, layer):
    return sum(seen(model, row)[0][layer] for row in contexts) / len(contexts)


def d4s(model, rows, z, covariance):
    """Equations 4 and 5: residuals from the base's h^L, weights changed from the lowest up."""
    last, before = LAYERS[-1], [seen(model, contexts[0])[2][LAYERS[-1]] for contexts in rows]
    for layer in LAYERS:
        keys = torch.stack([mean_key(model, contexts, layer) for contexts in rows], 1)
        shares = [(a - h) / (last - layer + 1) for a, h in zip(z, before, strict=True)]
        r_k, k_k = torch.stack(shares, 1) @ keys.T, keys @ keys.T  # equations 8 and 9
        weight_of(model, layer).add_(r_k @ torch.linalg.inv(covariance[layer] + k_k))


def adaple(model, rows, z, covariance):
    """Equation 4: R = V2 - 3 W0 K1 at the last layer, spread by roots, W0 the unedited weight."""
    last, before = LAYERS[-1], [seen(model, contexts[0])[1][LAYERS[-1]] for contexts in rows]
    for layer in LAYERS:
        keys = torch.stack([mean_key(model, contexts, layer) for contexts in rows], 1)
        residuals = [
            (v2 - 3 * v1) / (last - layer + 1) ** 0.5 for v2, v1 in zip(z, before, strict=True)
        ]
        inverse = torch.linalg.inv(covariance[layer] + 2 * keys @ keys.T)
        weight_of(model, layer).add_(torch.stack(residuals, 1) @ keys.T @ inverse)


def adaple_algorithm1(model, rows, z, covariance):
    """Algorithm 1 without its drop: h^l = h^(l-1) + 3 m^l, r^l = (z - h^l) / sqrt(L - l + 1)."""
    last, h = LAYERS[-1], [torch.zeros(()) for _ in rows]
    for layer in LAYERS:
        h = [
            below + 3 * seen(model, contexts[0])[1][layer]
            for below, contexts in zip(h, rows, strict=True)
        ]
        keys = torch.stack([mean_key(model, contexts, layer) for contexts in rows], 1)
        residuals = [(a - b) / (last - layer + 1) ** 0.5 for a, b in zip(z, h, strict=True)]
        inverse = torch.linalg.inv(covariance[layer] + 2 * keys @ keys.T)
        weight_of(model, layer).add_(torch.stack(residuals, 1) @ keys.T @ inverse)


def memit(model, rows, z, covariance):
    """MEMIT, algorithm 1: h^L read again under the layers below, in a batch."""
    last = LAYERS[-1]
    for layer in LAYERS:
        states = [[seen(model, row) for row in contexts] for contexts in rows]
        keys = torch.stack(
            [
                (each[0][0][layer] + sum(s[0][layer] for s in each[1:]) / (len(each) - 1)) / 2
                for each in states
            ],
            1,
        )
        shares = [
            (a - each[0][2][last]) / (last - layer + 1) for a, each in zip(z, states, strict=True)
        ]
        inverse = torch.linalg.inv(covariance[layer] + keys @ keys.T)
        weight_of(model, layer).add_(torch.stack(shares, 1) @ keys.T @ inverse)


NUMBERS = {"v_num_grad_steps": 4}
PUBLISHED = {
    "memit": (memit, {"compensation": 0.0, "delivery_factor": 1.0, "entity_update_weight": 0.0}),
    "d4s": (
        d4s,
        {"compensation": 0.0, "delivery_factor": 1.0, "entity_update_weight": 0.0,
         "form": "printed"},
    ),
    "adaple": (adaple, {"form": "printed"}),
    "adaple, algorithm 1": (adaple_algorithm1, {"form": "algorithm1"}),
}  # fmt: skip


def used_by(name):
    return recipe(layers=LAYERS, method=name.partition(",")[0], **NUMBERS, **PUBLISHED[name][1])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_batch_layer_by_layer_is_the_papers_algorithm(name, family, tokenizer, monkeypatch):
    monkeypatch.setattr("editvc.editing.locate._stored", dict)  # in float64, to tell 1e-8
    model, used = model_of(family, tokenizer), used_by(name)
    lm = lm_of(model, tokenizer)
    covariance = moments(weight_of(model, 0).shape[1])
    factors = {layer: Whitening.of(moment) for layer, moment in covariance.items()}
    targets = find_targets(lm, BATCH, used)
    alone = locate(lm, BATCH, used, factors, targets=targets)
    located = locate_together(lm, BATCH, alone, used, factors)
    changed = copy.deepcopy(model).requires_grad_(False)
    rows = tokenize(tokenizer, BATCH, used.contexts)
    PUBLISHED[name][0](changed, rows, [target.z for target in targets], covariance)
    for layer in LAYERS:
        edits = Edits(
            torch.stack([one.keys[layer] for one in located], 1),
            torch.stack([one.residuals[layer] for one in located], 1),
        )
        found = solver_of(used).system(edits, factors[layer]).solution.dense()
        expected = weight_of(changed, layer) - weight_of(model, layer)
        assert error(found, expected) < 1e-8, layer


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("form", ["published", "without-c"])
def test_rome_with_its_published_keys(form, family, tokenizer, monkeypatch):
    """``W + (v* - W k_0) (C^-1 k)^T / (k_0^T C^-1 k)``: k the mean, k_0 the bare prompt's key."""
    monkeypatch.setattr("editvc.editing.locate._stored", dict)
    model, used = model_of(family, tokenizer), recipe(layers=(1,), method="rome", form=form)
    lm, v = lm_of(model, tokenizer), weight_of(model, 0).shape[1]
    covariance = moments(v)[1] if form == "published" else torch.eye(v).double()
    factor = Whitening.of(covariance) if form == "published" else IdentityPreconditioner()
    (target,) = find_targets(lm, BATCH[:1], used)
    (located,) = locate(lm, BATCH[:1], used, {1: factor}, targets=[target])
    (contexts,) = tokenize(tokenizer, BATCH[:1], used.contexts)
    key, bare = mean_key(model, contexts, 1), seen(model, contexts[0])[0][1]
    pulled = torch.linalg.inv(covariance) @ key
    missing = target.z - seen(model, contexts[0])[1][1]
    expected = torch.outer(missing, pulled) / (bare @ pulled)
    edits = Edits(located.keys[1][:, None], located.residuals[1][:, None])
    found = solver_of(used).system(edits, factor).solution.dense()
    assert error(found, expected) < 1e-8
    assert error(found @ bare, missing) < 1e-8  # W' k_0 = v*, which symmetric keys do not give
    assert error(found @ key, missing) > 1e-3
    (again,) = locate_together(lm, BATCH[:1], [located], used, {1: factor})
    assert error(again.residuals[1], located.residuals[1]) < 1e-8


def test_a_form_is_part_of_a_recipe_and_none_is_as_before_there_were_any():
    plain = recipe(method="adaple")
    assert "form" not in plain.to_json()
    printed = replace(plain, form="printed")
    assert printed.id != plain.id and printed.to_json()["form"] == "printed"
    assert LocatedRecipe.from_json(printed.to_json()) == printed
    assert (plain.row.solver, printed.row.solver) == ("doubled", "counted")


def test_an_unknown_form_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match="adaple has no form 'print'") as caught:
        recipe(method="adaple", form="print")
    assert "printed, algorithm1" in caught.value.hint
    with pytest.raises(RecipeError, match="pmet has no form"):
        recipe(method="pmet", form="printed")


@pytest.mark.parametrize("name", METHODS)
def test_a_row_is_as_published_or_says_what_differs(name):
    row = METHODS[name]
    assert not (row.published and row.differs)
    assert row.differs or not row.presets
    for preset in row.presets.values():
        assert preset.source
        assert not preset.contexts or "contexts" not in preset.values

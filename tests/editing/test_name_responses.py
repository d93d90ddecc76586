"""How much of a located edit reaches names, against the solved edit itself."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import REQUESTS, recipe, tiny_gpt2, tiny_llama
from tiny_models import lm_of
from tolerances import assert_near

from editvc.algebra.preconditioners import Whitening
from editvc.algebra.solvers import Edits, System
from editvc.core.facts import Request
from editvc.editing import name_responses as name_responses_module
from editvc.editing.name_responses import name_responses
from editvc.editing.subject_states import average_over_contexts
from editvc.models.forward import keys_at
from editvc.models.tokenization import filled, subject_tokens, tokenize

NAMES = ("Italy", "London", "Ada Lovelace", "Proust")
CONTEXT = "The name {}"
USED = recipe(layers=(0, 2))


def moments(width: int) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    roots = {
        layer: torch.randn(width, 2 * width, generator=generator, dtype=torch.float64)
        for layer in USED.layers
    }
    return {layer: root @ root.T / width for layer, root in roots.items()}


def key(lm, ids, layer):
    return keys_at(lm, [ids], [[len(ids) - 1]], [layer])[layer][0]


@pytest.mark.parametrize("build", [tiny_gpt2, tiny_llama])
def test_shares_are_what_a_solved_edit_does_to_names(build, tokenizer) -> None:
    lm = lm_of(build(len(tokenizer)).double(), tokenizer)
    factors = {layer: Whitening.of(one) for layer, one in moments(lm.inner_size).items()}
    found = name_responses(lm, REQUESTS, USED, factors, NAMES, CONTEXT)
    assert found.shape == (len(REQUESTS), len(NAMES))
    residual = torch.randn(lm.hidden_size, 1, dtype=torch.float64)
    texts = [filled(CONTEXT, name) for name in NAMES]
    rows = [row.ids[: row.subject + 1] for row in subject_tokens(tokenizer, texts)]
    for place, contexts in enumerate(tokenize(tokenizer, REQUESTS, USED.contexts)):
        expected = torch.zeros(len(NAMES), dtype=torch.float64)
        for layer in USED.layers:
            each = [key(lm, row.ids[: row.subject + 1], layer) for row in contexts]
            own = average_over_contexts(torch.stack(each), len(each)).T  # (v, 1)
            alone = System.of(Edits(own, residual), factors[layer]).solution
            reached = torch.stack([alone @ key(lm, row, layer)[:, None] for row in rows])[..., 0]
            expected += reached @ residual[:, 0] / (residual.T @ (alone @ own))[0]
        assert_near(found[place], expected / len(USED.layers), 1e-8)


def test_names_in_parts_are_names_at_once(tokenizer, monkeypatch) -> None:
    lm = lm_of(tiny_gpt2(len(tokenizer)).double(), tokenizer)
    factors = {layer: Whitening.of(one) for layer, one in moments(lm.inner_size).items()}
    whole = name_responses(lm, REQUESTS, USED, factors, NAMES, CONTEXT)
    monkeypatch.setattr(name_responses_module, "AT_ONCE", 3)
    assert_near(name_responses(lm, REQUESTS, USED, factors, NAMES, CONTEXT), whole, 1e-9)
    assert name_responses(lm, REQUESTS, USED, factors, [], CONTEXT).shape == (len(REQUESTS), 0)


def test_an_edit_reaches_a_name_wholly_that_is_seen_as_its_subject_is(tokenizer) -> None:
    lm = lm_of(tiny_gpt2(len(tokenizer)).double(), tokenizer)
    factors = {layer: Whitening.of(one) for layer, one in moments(lm.inner_size).items()}
    alike = Request("France", "The name {} is", "Rome")
    used = recipe(layers=USED.layers, contexts=("{}",))
    (shares,) = name_responses(lm, [alike], used, factors, ["Italy", "France"], CONTEXT)
    assert_near(shares[1], torch.ones((), dtype=torch.float64), 1e-9)
    assert abs(float(shares[0])) < 1

"""Scores of layers, each against the dense formula that its docstring has."""

from __future__ import annotations

import pytest
import torch
from tiny_models import byte_bpe, lm_of, tiny_gpt2
from torch import Tensor

from editvc.algebra.input_statistics import LayerInputs
from editvc.algebra.preconditioners import Whitening
from editvc.core.facts import Request
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.layer_scores import gate_score, key_score, sightings
from editvc.editing.subject_gates import strangers

SEEDS = range(5)


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_of_keys_are_those_of_the_dense_inverse(seed: int) -> None:
    generator = drawn(seed)
    x = normal(40, 12, generator=generator)
    moment = x.T @ x / 40
    facts = [
        {part: normal(rows, 12, generator=generator).float() + 0.5
         for part, rows in (("own", 3), ("elsewhere", 2), ("near", 1 + place))}
        for place in range(4)
    ]  # fmt: skip
    found = key_score(facts, Whitening.of(moment))
    inverse = torch.linalg.inv(moment)
    means, squares = [], []
    for one in facts:
        bare, *rest = one["own"].double()
        k = (bare + sum(rest) / len(rest)) / 2
        own = k @ inverse @ k
        means += [float(k @ inverse @ other / own) for other in one["elsewhere"].double()]
        near = [float(k @ inverse @ other / own) ** 2 for other in one["near"].double()]
        squares.append(sum(near) / len(near))
    assert found.elsewhere == pytest.approx(sum(means) / 8, rel=1e-9)
    assert found.near == pytest.approx((sum(squares) / 4) ** 0.5, rel=1e-9)
    assert found.selectivity == found.elsewhere / found.near
    scaled = key_score(facts, Whitening.of(3.5 * moment))
    assert scaled.selectivity == pytest.approx(found.selectivity), "lambda is in none of them"


@pytest.mark.parametrize("seed", SEEDS)
def test_margins_of_gates_are_those_of_the_dense_filter(seed: int) -> None:
    generator, u = drawn(seed), 10
    x = normal(60, u, generator=generator)
    names = ("Alma", "Bern", "Cork", "Dover", "Alma Mater", "Essen", "Fargo")
    inputs = normal(len(names), u, generator=generator)
    statistics = LayerInputs.of(x.T @ x / 60, x.mean(dim=0), inputs, x[:5], names)
    recipe = GatedRecipe((0,), strangers=3, stranger_weight=0.2, subject_weight=0.05)
    subject = "Alma"
    seen = {part: normal(rows, u, generator=generator) + 1.0
            for part, rows in (("plain", 4), ("elsewhere", 2), ("near", 6))}  # fmt: skip
    found = gate_score([seen], [subject], statistics, recipe)

    p = seen["plain"]
    with_subject = statistics.moment + 0.05 * p.T @ p / len(p)
    alone = torch.linalg.solve(with_subject, p.mean(dim=0))
    others = inputs[strangers(names, [subject])]
    assert len(others) == 5, "its own name and one that holds it are no strangers"
    h = others[(others @ alone).argsort(descending=True)[:3]]
    w = torch.linalg.solve(with_subject + 0.2 * h.T @ h / 3, p.mean(dim=0))
    w = w / (p.mean(dim=0) @ w)
    margin = float((seen["elsewhere"] @ w).min() - (seen["near"] @ w).max())
    assert found.margin == pytest.approx(margin, rel=1e-9)
    assert found.parted == (100.0 if margin > 0 else 0.0)
    shown = {**seen, "elsewhere": p, "near": -p}
    both = gate_score(
        [shown, {**shown, "elsewhere": -p, "near": p}], [subject] * 2, statistics, recipe
    )
    scores = p @ w
    assert both.parted == 50.0
    assert both.margin == pytest.approx(float(scores.min() - scores.max()), rel=1e-9)


def test_subjects_are_seen_where_they_end_and_not_at_the_first_token() -> None:
    tokenizer = byte_bpe()
    lm = lm_of(tiny_gpt2(len(tokenizer)), tokenizer)
    request = Request("France", "The capital of {} is", "Rome")
    found = sightings(
        lm, request, ["In France, the capital is", "Its capital is", "France's capital"],
        ["Spain", "Peru"], ["{}", "Yes. {}"], ["{}", "The name {}"],
    )  # fmt: skip

    def said(rows: list[tuple[int, ...]]) -> list[str]:
        return [lm.tokenizer.decode(row) for row in rows]

    assert said(found.own) == ["The capital of France", "Yes. The capital of France"]
    assert said(found.near) == ["The capital of Spain", "The capital of Peru"]
    assert said(found.elsewhere)[0] == "In France"
    assert all(len(row) > 1 for row in (*found.elsewhere, *found.plain))
    assert said(found.plain)[-1] == "The name France"
    assert found.complete
    bare = sightings(lm, request, ["Its capital is"], ["Spain"], ["{}"], ["The name {}"])
    assert bare.elsewhere == [] and not bare.complete

"""``Repo.score_layers``: passes over the base alone, and what the table proposes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_repos import FACTS, Prepared, contents

from editvc import Repo
from editvc.algebra.preconditioners import Whitening
from editvc.core.facts import Fact
from editvc.core.methods.gated import GatedRecipe
from editvc.editing.layer_scores import GateScore, KeyScore
from editvc.models.forward import keys_at_ends
from editvc.porcelain import tune_layers
from editvc.porcelain.tune_layers import LayerScore, LayerTable, near_names
from editvc.session.recording import NothingToDo
from editvc.statistics.bundle import sources_of
from editvc.statistics.text_moments import text_moments

ASKED = [replace(fact, paraphrases=(f"They say of {fact.subject} that",)) for fact in FACTS]


def scored(repo: Repo, prepared: Prepared) -> LayerTable:
    return repo.score_layers(ASKED, texts=[prepared.text], entities=prepared.names)


def test_every_layer_but_the_last_is_scored_and_nothing_is_written(
    repo: Repo, prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(work)
    found = scored(repo, prepared)
    assert [one.layer for one in found.scores] == [0, 1, 2], "of four blocks"
    assert found.facts == len(ASKED) and contents(work) == before
    assert found.to_json()["scores"][1].keys() == {
        "layer", "elsewhere", "near", "selectivity", "parted", "margin",
    }  # fmt: skip
    monkeypatch.setattr(tune_layers, "AT_ONCE", 1)
    for one, alone in zip(found.scores, scored(repo, prepared).scores, strict=True):
        assert one.keys.selectivity == pytest.approx(alone.keys.selectivity, rel=1e-4)


def test_a_layers_keys_are_those_of_the_model(
    repo: Repo, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dense formula over keys that are read one text at a time."""
    lm, layer = repo.session.base_model(), 1
    fact = ASKED[0]
    monkeypatch.setattr(tune_layers, "FACTS", 1)
    monkeypatch.setattr(tune_layers, "near_names", lambda *_: ["Peru", "Ghana"])
    found = repo.score_layers([fact], texts=[prepared.text], entities=prepared.names)
    sources = sources_of([prepared.text], None, prepared.names)
    moment = text_moments(lm, sources.read(), [layer]).matrix(layer)
    moment += Whitening.of(moment).jitter * torch.eye(len(moment))  # the text is short

    def key(text: str) -> torch.Tensor:
        return keys_at_ends(lm, [tuple(lm.tokenizer(text)["input_ids"])], [layer])[layer][0]

    def asked(name: str) -> str:
        return fact.prompt[: fact.prompt.index("{}")] + name

    own = [context.replace("{}", asked(fact.subject)) for context in repo.recipe().contexts]
    bare, *rest = map(key, own)
    k = (bare + sum(rest) / len(rest)) / 2
    w = torch.linalg.solve(moment, k)
    shares = [float(w @ key(text) / (w @ k)) for text in (asked("Peru"), asked("Ghana"))]
    expected = float(w @ key(f"They say of {fact.subject}") / (w @ k))
    score = next(one.keys for one in found.scores if one.layer == layer)
    assert score.elsewhere == pytest.approx(expected, rel=1e-3)
    assert score.near == pytest.approx((sum(one**2 for one in shares) / 2) ** 0.5, rel=1e-3)


def table(repo: Repo, selectivity: list[float], gates: list[tuple[float, float]]) -> LayerTable:
    scores = tuple(
        LayerScore(layer, KeyScore(key, 1.0), GateScore(*gate))
        for layer, (key, gate) in enumerate(zip(selectivity, gates, strict=True))
    )
    return LayerTable(scores, 3, repo.choose().recipe, repo.recipe().layers, (1,))


def test_what_is_proposed_is_the_best_window_and_the_best_layer_for_gates(repo: Repo) -> None:
    parted = [(50.0, 0.9), (80.0, 0.1), (80.0, 0.2), (70.0, 0.5)]
    found = table(repo, [1.0, 3.0, 1.5, 2.9], parted)
    assert found.window == (1, 2) and found.gate_layer == 2, "as wide as [recipe]'s two layers"
    assert table(repo, [1.0, 3.0, 1.5, 3.1], parted).window == (2, 3)
    assert "commits use memit, layers 1, 2" in found.in_use
    assert "no effect" not in found.in_use
    repo.configure("commit.method", "gated")
    used = repo.choose().recipe
    assert isinstance(used, GatedRecipe)
    assert "no effect on them" in replace(found, used=used).in_use
    bare = replace(found, scores=tuple(replace(one, gates=None) for one in found.scores))
    assert bare.gate_layer is None and "parted" not in bare.to_json()["scores"][0]


def test_names_come_from_locality_prompts_first() -> None:
    one = Fact(
        "Bern", "The town of {} lies in", "Peru",
        locality=("The town of Cork lies in", "Cork is in", "The town of Old Bern lies in"),
    )  # fmt: skip
    others = [Fact("Lima", "{} is in", "Chad"), Fact("Oslo", one.prompt, "Chad"), one]
    assert near_names(one, others) == ["Cork", "Oslo", "Lima"]


def test_facts_in_one_wording_tell_nothing(repo: Repo) -> None:
    with pytest.raises(NothingToDo, match="no fact has a paraphrase"):
        repo.score_layers([replace(fact, paraphrases=()) for fact in FACTS])

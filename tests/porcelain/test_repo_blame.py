"""``blame PROMPT``: what is parted is all that the model adds, and the parts are the facts'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import clean, inside
from tiny_repos import FACTS, Prepared
from tolerances import assert_near, rounding

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.history import Entry, Restraint
from editvc.materialise.contributions import RESTRAINT, contributions, run
from editvc.models.generation import EmptyPrompt
from editvc.session.take_inputs import take_inputs
from editvc.session.trees import tree_at

U, V, LAYER = 32, 128, 1


def gated(repo: Repo, prepared: Prepared) -> Any:
    take_inputs(repo.session, (LAYER,), texts=[prepared.text], entities=prepared.names)
    strong = ("v_num_grad_steps=10", "clamp_norm_factor=4", "v_weight_decay=0", "kl_factor=0")
    return repo.choose("gated", options=[f"layers=[{LAYER}]", *strong]).recipe


def parted(repo: Repo, prompt: str) -> tuple[Any, dict[int, torch.Tensor], list[Any]]:
    """The run of a prompt, the sum of all contributions by layer, and these."""
    session, tree = repo.session, tree_at(repo.session, "HEAD")
    lm = session.base_model()
    text = run(session.materialiser, lm, tree, list(lm.tokenizer(prompt)["input_ids"]))
    parts = list(contributions(session.materialiser, lm, tree, text))
    sums: dict[int, torch.Tensor] = {}
    for one in parts:
        sums[one.layer] = sums.get(one.layer, torch.zeros_like(one.added)) + one.added
    return text, sums, parts


def outputs(repo: Repo, prompt: str, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Key and final output of a down projection in the model of HEAD, hooks and all."""
    session, seen = repo.session, {}

    def note(_module: Any, args: Any, output: torch.Tensor) -> None:
        seen["key"], seen["output"] = args[0][0].double(), output[0].double()

    with session.edited(tree_at(session, "HEAD")) as lm:
        handle = lm.down_proj(layer).register_forward_hook(note)
        with torch.no_grad():
            lm.model(**lm.tokenizer(prompt, return_tensors="pt"))
        handle.remove()
    return seen["key"], seen["output"]


@pytest.mark.parametrize("restraint", [None, Restraint(rank=1), Restraint(drop=0.5, seed=3)])
def test_the_parts_add_up_to_the_dense_delta_at_every_token(
    repo: Repo, restraint: Restraint | None
) -> None:
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:5])
    if restraint is not None:
        repo.compact(restraint)
    text, sums, parts = parted(repo, FACTS[0].question + " and more")
    delta = repo.materialise()
    assert sums.keys() == delta.layers.keys()
    for layer, total in sums.items():
        dense = delta.layers[layer].dense() @ text.observations[layer].keys.T
        inner = sum(float(one.added.norm()) for one in parts if one.layer == layer)
        assert_near(total.T, dense, rounding(V * 5) * max(1.0, inner / float(dense.norm())) * 1e3)
    assert any(one.source == RESTRAINT for one in parts) == (restraint is not None)


def test_gates_and_codebooks_are_parted_as_they_are_at_work(repo: Repo, prepared: Prepared) -> None:
    """All parts together are what the model's MLP gives beyond the base's weight, in float32."""
    repo.commit(FACTS[:2])
    both = Fact("Proust", "The language of {}", "Polish")
    beside = replace(both, target_new="Rome", relation="another slot, the same prompt")
    repo.commit([both], recipe=gated(repo, prepared))
    grace = repo.choose("grace", options=["layers=[1]", "eps=0.5", "n_iter=2"]).recipe
    repo.commit([beside, FACTS[3]], recipe=grace)
    base = repo.session.base_model()
    bias = base.down_proj(LAYER).bias.double()
    weight = base.weight(LAYER).double()  # (v, u), as GPT-2 has it
    for fact in (both, beside, FACTS[3]):
        _, sums, parts = parted(repo, fact.question)
        key, output = outputs(repo, fact.question, LAYER)
        expected = output - (key @ weight + bias)
        scale = float(output.norm()) / max(float(expected.norm()), 1e-9)
        assert_near(sums[LAYER], expected, rounding(4 * V, torch.float32) * max(1.0, scale) * 10)
        live = {one.source.fact for one in parts if isinstance(one.source, Entry)}
        assert fact.id in live


def test_shares_add_up_to_one_and_a_fact_leads_at_its_own_prompt(repo: Repo) -> None:
    for fact in FACTS:
        repo.commit([fact])
    for number in (0, 2, 5):
        found = repo.blame(FACTS[number].question)
        assert sum(one.share for one in found.shares) == pytest.approx(1.0, abs=1e-9)
        assert sum(share for _, share in found.commits) == pytest.approx(1.0, abs=1e-9)
        first = found.shares[0]
        assert first.fact is not None and first.fact.id == FACTS[number].id
        assert first.commit is not None and first.commit.number == number + 1
        for layer in found.sizes:
            each = [
                part.share for one in found.shares for part in one.layers if part.layer == layer
            ]
            assert sum(each) == pytest.approx(1.0, abs=1e-9)
    repo.revert(FACTS[0].id)
    later = repo.blame(FACTS[0].question)
    assert all(one.fact is not None and one.fact.id != FACTS[0].id for one in later.shares)


def test_a_base_without_edits_has_no_shares_and_an_empty_prompt_is_refused(repo: Repo) -> None:
    found = repo.blame(FACTS[0].question)
    assert found.shares == () and found.answer == repo.ask(FACTS[0].question)
    with pytest.raises(EmptyPrompt):
        repo.blame("")


def test_the_command(repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit(FACTS[:2], message="Two")
    clean(monkeypatch, work / "home")
    monkeypatch.chdir(work)
    done = inside("blame", FACTS[0].question, "--json").json
    assert done.keys() == {
        "prompt", "revision", "answer", "tokens", "layers", "commits", "shares", "others",
    }  # fmt: skip
    assert [one["number"] for one in done["commits"]] == [1]
    assert done["shares"][0]["fact"]["fact"] == FACTS[0].id
    assert done["shares"][0]["kind"] == "located"
    ran = inside("blame", FACTS[0].question, "-n", "1")
    assert ran.code == 0, ran.err
    assert " 100.0% ######################## [1 " in ran.out and "layer 2" in ran.out
    assert FACTS[0].id[:10] in ran.out and FACTS[1].id[:10] not in ran.out
    assert "1 more, together " in ran.err

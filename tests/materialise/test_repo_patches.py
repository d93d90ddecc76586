"""Commits of the methods that make opaque patches: elements of the set like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import same_parameters
from tiny_repos import ADA, FACTS, close, same_bits, tree
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.core.facts import Fact
from editvc.core.methods.recipe import RecipeError

METHODS = ("ft", "ft-c", "ft-full", "kn")
ROME = Fact("France", "The capital of {} is", "Rome")


@pytest.mark.parametrize("method", METHODS)
def test_a_revert_takes_the_change_out_exactly(method: str, repo: Repo, work: Path) -> None:
    repo.commit(FACTS[2:3])
    before, delta = tree(repo), repo.materialise()
    recipe = repo.choose(method).recipe
    assert recipe.method == method
    first = repo.commit(FACTS[:1], recipe=recipe)
    assert first.commit.live == 2
    assert not same_bits(repo.materialise(), delta)
    repo.commit(FACTS[1:2], recipe=recipe)
    repo.revert(FACTS[0].id[:16])
    repo.revert(FACTS[1].id[:16])
    assert tree(repo) == before
    assert same_bits(repo.materialise(), delta)
    assert repo.fsck().clean


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_commits_does_not_matter(method: str, repo: Repo) -> None:
    recipe = repo.choose(method).recipe
    repo.commit(FACTS[:2], recipe=recipe)
    together = tree(repo)
    repo.revert("HEAD")
    repo.commit(FACTS[1:2], recipe=recipe)
    repo.commit(FACTS[:1], recipe=recipe)
    assert tree(repo) == together


@pytest.mark.parametrize("method", METHODS)
def test_an_exported_folder_has_the_edited_weights(method: str, repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:2], recipe=repo.choose(method).recipe)
    repo.export(work / "out")
    ids = torch.arange(9)[None]
    again = AutoModelForCausalLM.from_pretrained(work / "out", dtype=torch.float32)
    assert same_parameters(again, repo.load_model())
    untouched = repo.load_model("base")(input_ids=ids).logits
    assert not torch.equal(again(input_ids=ids).logits, untouched)


def test_health_says_which_layers_it_cannot_judge(repo: Repo) -> None:
    repo.commit(FACTS[:1], recipe=repo.choose("ft").recipe)
    assert [one.layer for one in repo.health().layers] == [2]
    assert not any("not judged" in reason for reason in repo.health().reasons)
    repo.commit(FACTS[1:2], recipe=repo.choose("ft", options=["layers=3"]).recipe)
    report = repo.health()
    assert [one.layer for one in report.layers] == [2]
    assert report.verdict != "ok"
    assert report.reasons[-1].startswith("layers [3] are changed and not judged")


def test_layers_are_those_of_the_method(repo: Repo) -> None:
    assert repo.choose("ft").recipe.layers == (2,)
    assert repo.choose("kn").recipe.layers == (0, 1, 2, 3)
    assert repo.choose("ft-c", options=["norm_constraint=1e-4", "layers=0"]).recipe.layers == (0,)
    with pytest.raises(RecipeError, match="ft has no bound"):
        repo.choose("ft", options=["norm_constraint=1e-4"])
    contexts = repo.choose("kn", options=['contexts=["{}", "So: {}"]']).recipe
    assert contexts.to_json()["contexts"] == ["{}", "So: {}"]


def test_the_pocket_model_says_what_it_was_told(work: Path) -> None:
    repo = Repo.init(work, "pocket")
    repo.session.repository.set_config("user.author", ADA)
    for method in ("ft", "kn"):
        repo.commit([ROME], recipe=repo.choose(method).recipe)
        assert repo.ask(ROME.question, max_new_tokens=1).strip() == "Rome"
        repo.revert("HEAD")
        assert repo.ask(ROME.question, max_new_tokens=1).strip() == "Paris"
    close(repo)

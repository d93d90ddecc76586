"""``squash --method``: gates become located edits and located edits gates, with no search."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_repos import FACTS, Prepared, contents, tree

from editvc import Repo
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.located_edit import Located
from editvc.core.facts import Fact
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import UnknownMethod
from editvc.editing import gated as gated_algorithm
from editvc.editing import locate as located_algorithm
from editvc.editing.target_search import find_targets
from editvc.evaluation.probes import forced
from editvc.porcelain.linear import linear_delta
from editvc.porcelain.solve_as import CannotSolveAs
from editvc.session.recording import NothingToDo
from editvc.session.take_inputs import take_inputs
from editvc.session.trees import tree_at

LAYER = 1
STRONG = ("v_num_grad_steps=30", "clamp_norm_factor=4", "v_weight_decay=0", "kl_factor=0")


@pytest.fixture
def gates(repo: Repo, prepared: Prepared) -> Repo:
    """Three facts as gates of one layer, by two commits."""
    take_inputs(repo.session, (LAYER, 2), texts=[prepared.text], entities=prepared.names)
    recipe = repo.choose("gated", options=[f"layers=[{LAYER}]", *STRONG]).recipe
    repo.commit(FACTS[:2], recipe=recipe)
    repo.commit(FACTS[2:3], recipe=recipe)
    return repo


def refuse(*_words: Any, **_named: Any) -> None:
    raise AssertionError("a target was searched for")


@pytest.fixture
def quiet(gates: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there are gates, nothing may be searched for."""
    monkeypatch.setattr(gated_algorithm, "search_targets", refuse)
    monkeypatch.setattr(located_algorithm, "find_targets", refuse)


def elements(repo: Repo, revision: str = "HEAD") -> list[tuple[Fact, Recipe, Any]]:
    """What each live fact is made of, in slot order, with the recipe."""
    session = repo.session
    entries = session.repository.edits_of(tree_at(session, revision)).entries()
    made = [(entry, *session.materialiser.elements.element(entry.element)) for entry in entries]
    read = session.repository
    return [(read.read_fact(one.fact), read.read_recipe(key), it) for one, key, it in made]


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["d4s", "memit", "emmet", "rome", "alphaedit"])
def test_gates_become_located_edits_of_their_layer(gates: Repo, name: str) -> None:
    before = elements(gates)
    done = gates.squash("1..2", method=name)
    assert (done.commits, done.facts) == (2, 3) and done.before is not None
    after = elements(gates)
    for (fact, _, gate), (same, recipe, edit) in zip(before, after, strict=True):
        assert fact == same and isinstance(edit, Located) and isinstance(recipe, LocatedRecipe)
        assert (recipe.method, recipe.layers) == (name, (LAYER,))
        assert torch.equal(edit.keys[LAYER], gate.key)
    assert gates.fsck().errors == ()
    gates.revert(FACTS[0].id)
    assert gates.status().live == 2


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", ["memit", "d4s"])
def test_what_they_solve_is_the_linear_solution_of_an_adapter(gates: Repo, name: str) -> None:
    """``R K^T (lambda C + K K^T)^-1``, by memit and as d4s's two sums."""
    expected = linear_delta(gates.session, tree_at(gates.session, "HEAD")).layers[LAYER].dense()
    gates.squash("1..2", method=name)
    found = gates.materialise().layers[LAYER].dense()
    assert torch.linalg.norm(found - expected) < 1e-5 * torch.linalg.norm(expected)
    assert not gates.session.materialiser.neurons(tree_at(gates.session, "HEAD"))


@pytest.mark.usefixtures("quiet")
def test_there_and_back_the_value_is_the_same(gates: Repo) -> None:
    before = elements(gates)
    gates.squash("1..2", method="d4s")
    gates.squash("1..1", method="gated")
    for (fact, _, gate), (same, recipe, again) in zip(before, elements(gates), strict=True):
        assert fact == same and isinstance(again, GatedEdit) and isinstance(recipe, GatedRecipe)
        assert again.layer == LAYER
        assert torch.linalg.norm(again.value - gate.value) < 1e-5 * torch.linalg.norm(gate.value)
        assert torch.equal(again.key, gate.key)
        assert torch.linalg.norm(again.filter - gate.filter) < 1e-2 * torch.linalg.norm(gate.filter)


def test_a_located_edit_of_several_layers_becomes_a_gate_of_the_highest(
    repo: Repo, prepared: Prepared
) -> None:
    """With the whole of ``z - h`` there, which its search found, whatever the layers shared."""
    take_inputs(repo.session, (2,), texts=[prepared.text], entities=prepared.names)
    recipe, fact = repo.choose("memit", options=STRONG).recipe, FACTS[0]
    assert isinstance(recipe, LocatedRecipe) and recipe.layers == (1, 2)
    shaping = repo.session.materialiser.statistics.shaping(recipe)
    lm = repo.session.base_model()
    (target,) = find_targets(lm, [fact.request], recipe, shaping=shaping)
    repo.commit([fact], recipe=recipe)
    repo.squash("1..1", method="gated")
    ((_, _, gate),) = elements(repo)
    assert isinstance(gate, GatedEdit) and gate.layer == 2
    error = torch.linalg.norm(gate.value - target.delta.cpu())
    assert error < 1e-3 * torch.linalg.norm(target.delta)
    asked = [(fact.question, fact.target_new)]
    (then,) = forced(lm, asked)
    with repo.session.edited(tree_at(repo.session, "HEAD")) as lm:
        (now,) = forced(lm, asked)
    assert now.log_probability > then.log_probability + 0.1


@pytest.mark.usefixtures("quiet")
def test_other_edits_stay_and_later_commits_are_replayed(gates: Repo) -> None:
    gates.revert(FACTS[1].id)
    gates.revert("3")
    gates.squash("1..1", method="d4s")
    kinds = {fact: type(element) for fact, _, element in elements(gates)}
    assert kinds == {FACTS[0]: Located, FACTS[1]: Located, FACTS[2]: GatedEdit}
    assert gates.fsck().errors == ()


@pytest.mark.usefixtures("quiet")
def test_what_comes_of_a_gate_does_not_depend_on_the_range(gates: Repo) -> None:
    gates.squash("1..1", method="d4s")
    gates.squash("2..2", method="d4s")
    apart = tree(gates)
    gates.revert("HEAD")
    gates.revert("1")
    assert gates.status().live == 0
    gates.revert("HEAD~1")
    gates.revert("HEAD~1")
    assert tree(gates) == apart


def test_a_dry_run_counts_and_writes_nothing(gates: Repo) -> None:
    before = contents(gates.session.repository.config_file.path.parent)
    plan = gates.preview_squash("1..2", method="d4s")
    assert (plan.commits, plan.facts) == (2, 3)
    assert plan.summary() == "would fold 2 commits, and make 3 facts d4s; nothing was written"
    assert contents(gates.session.repository.config_file.path.parent) == before


def test_what_cannot_be_made_of_others_is_refused_with_the_reason(gates: Repo) -> None:
    for name, reason in (
        ("ultraedit", "keys are those of the target's tokens"),
        ("ft", "it makes a patch"),
        ("grace", "it makes a codebook"),
    ):
        with pytest.raises(CannotSolveAs, match=reason):
            gates.squash("1..2", method=name)
    with pytest.raises(UnknownMethod):
        gates.squash("1..2", method="gatde")
    with pytest.raises(NothingToDo, match="can become gated's"):
        gates.squash("1..2", method="gated")
    said: list[str] = []
    gates.session.remark = said.append
    gates.commit(FACTS[3:4], recipe=gates.choose("pmet").recipe)
    with pytest.raises(NothingToDo, match="can become gated's"):
        gates.squash("3..3", method="gated")
    assert "pmet keeps no value" in said[-1]
    bracket = Fact("Roadster (bicycle)", "The capital of {} is", "Rome")
    first = Fact("a", "{} is a city in the land of", "b")
    for fact, reason in ((bracket, "closing mark"), (first, "begins with the subject")):
        number = gates.commit(
            [fact], recipe=gates.choose("memit").recipe, supersede=True
        ).commit.number
        with pytest.raises(NothingToDo, match="can become gated's"):
            gates.squash(f"{number}..{number}", method="gated")
        assert reason in said[-1] and "stays as it is" in said[-1]

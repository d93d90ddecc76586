"""Edits of several recipes in one tree, and recipes that change under live edits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cli_runs import inside, written
from repo_rounding import factors, solution_rounding
from tiny_repos import FACTS, OTHERS, Prepared, contents, dense, same_bits, tree
from tolerances import assert_near, rounding, size

from editvc import Repo
from editvc.algebra.solvers import solve
from editvc.materialise.stored_statistics import LayerNotCovered
from editvc.session.trees import tree_at
from editvc.statistics.bundle import sources_of

HEAVY = ("recipe.mom2_update_weight", "5000")


def test_edits_of_two_recipes_are_solved_apart_and_summed(repo: Repo) -> None:
    light = repo.recipe()
    repo.commit(FACTS[:3])
    repo.session.repository.set_config(*HEAVY)
    heavy = repo.recipe()
    repo.commit(FACTS[3:])
    version, maker = tree_at(repo.session, "HEAD"), repo.session.materialiser
    groups = {group.recipe.id: group for group in maker.solutions.groups(version)}
    assert groups.keys() == {light.id, heavy.id}
    assert [len(groups[one.id].entries) for one in (light, heavy)] == [3, 3]
    total = repo.materialise()
    for layer in (1, 2):
        parts = [
            solve(edits.keys, edits.residuals, maker.preconditioners.of_layer(one.recipe, layer))
            for one in groups.values()
            for edits in [one.systems[layer].edits]
        ]
        # The very solutions; the six edits' ranks are summed in one product.
        expected, scale = sum(part.dense() for part in parts), sum(map(factors, parts))
        assert_near(dense(total, layer), expected, rounding(6), scale)
        moment = maker.statistics.weighted_moment(heavy, layer)
        assert_near(
            moment - maker.statistics.weighted_moment(light, layer),
            (5000 - light.mom2_update_weight) * maker.statistics.text_moment(layer),
            rounding(4),
            scale=size(moment),
        )


def test_the_figures_of_a_mixed_tree_are_those_of_its_health(repo: Repo) -> None:
    repo.commit(FACTS[:3])
    repo.session.repository.set_config(*HEAVY)
    newest = repo.commit(FACTS[3:]).commit
    layers = repo.health().layers
    figures = dict(newest.health)
    # Of the same solutions, as sums over a layer's 128 directions and its 32 x 128 entries.
    assert_near(figures["capacity"], max(one.capacity for one in layers), rounding(128))
    assert_near(figures["drift"], max(one.drift for one in layers), rounding(32 * 128))


def test_a_mixed_tree_is_a_function_of_its_set_too(repo: Repo) -> None:
    weight = f"{repo.recipe().mom2_update_weight}"
    repo.commit(FACTS[:3])
    repo.create_branch("side", "HEAD")
    repo.session.repository.set_config(*HEAVY)
    repo.commit(FACTS[3:])
    whole, delta = tree(repo), repo.materialise()
    repo.switch("side")
    repo.revert("1")
    repo.commit(FACTS[3:])  # of the heavy recipe, first
    repo.session.repository.set_config("recipe.mom2_update_weight", weight)
    for fact in reversed(FACTS[:3]):
        repo.commit([fact])  # found again for the light one
    assert tree(repo) == whole
    assert same_bits(repo.materialise(), delta)
    commits = [row.id for row in repo.log()][::-1]
    for layer in (1, 2):
        steps = [
            maker_change(repo, before, after).layers[layer]
            for before, after in zip([None, *commits], commits, strict=False)
        ]
        total, scale = sum(step.dense() for step in steps), sum(map(factors, steps))
        assert_near(total, dense(delta, layer), solution_rounding(repo, layer), scale)


def maker_change(repo: Repo, before: object, after: object) -> object:
    plumbing = repo.session.repository
    return repo.session.materialiser.solutions.change(
        plumbing.tree_of(before), plumbing.tree_of(after)
    )


def test_a_fact_located_again_with_another_recipe_is_relocated(repo: Repo) -> None:
    """By supersede and back: the slot holds the same fact with the new recipe's numbers."""
    repo.commit(FACTS[:2])
    repo.session.repository.set_config(*HEAVY)
    repo.commit(OTHERS[:1], supersede=True)
    repo.commit(FACTS[:1], supersede=True)
    changes = repo.changes("1", "HEAD")
    assert changes.relocated == FACTS[:1]
    assert not (changes.added or changes.removed or changes.changed)
    assert tree(repo) != tree(repo, "1")


def test_a_squash_brings_edits_to_the_recipe_in_force(repo: Repo) -> None:
    repo.commit(FACTS[:2])
    repo.session.repository.set_config(*HEAVY)
    repo.commit(FACTS[2:3])
    repo.squash("1..2")
    (group,) = repo.session.materialiser.solutions.groups(tree_at(repo.session, "HEAD"))
    assert group.recipe == repo.recipe() and len(group.entries) == 3


def test_other_layers_and_statistics_leave_live_edits_alone(repo: Repo, prepared: Prepared) -> None:
    repo.commit(FACTS[:3])
    before = repo.materialise()
    repo.session.repository.set_config("recipe.layers", "[0]")
    done = repo.compute_statistics(texts=[prepared.text], entities=prepared.names)
    assert "3 live edits" in done.remarks[0] and "squash" in done.remarks[0]
    assert same_bits(repo.materialise(), before)
    repo.commit(FACTS[3:])
    after = repo.materialise()
    assert sorted(after.layers) == [0, 1, 2]
    for layer in (1, 2):
        assert torch.equal(dense(after, layer), dense(before, layer))
    assert repo.health().verdict in ("ok", "warn", "refuse")
    assert repo.compute_statistics(texts=[prepared.text], entities=prepared.names).statistics == (
        done.statistics
    ), "the same sources give the same objects"
    repo.revert("1")
    assert sorted(repo.materialise().layers) == [0]


def test_layers_without_statistics_are_named(repo: Repo, work: Path) -> None:
    repo.commit(FACTS[:3])
    repo.session.repository.set_config("recipe.layers", "[0, 1]")
    before = contents(work)
    with pytest.raises(LayerNotCovered, match="do not cover layer 0") as caught:
        repo.commit(FACTS[3:])
    assert "stats compute" in caught.value.hint
    assert contents(work) == before
    repo.revert("1")  # what was edited before still works


ROME = "layers: [3]\nv_num_grad_steps: 2\nv_lr: 0.5\nclamp_norm_factor: 4\nalg_name: ROME\n"
"""Hyper-parameters as ROME's own files have them, for a layer that nobody asked for before."""


def test_a_hparams_file_for_other_layers_says_how_and_does_it(
    repo: Repo, prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint was about layers [1, 2], whatever the layer."""
    monkeypatch.chdir(work)
    (work / "rome.yaml").write_text(ROME)
    facts = written(work / "facts.jsonl", FACTS[:1])
    ran = inside("commit", facts, "--recipe", "rome.yaml")
    assert ran.code == 1 and "do not cover layer 3" in ran.err
    assert "--take-statistics" in ran.err and 'editvc config recipe.layers "[3]"' in ran.err
    assert inside("commit", facts, "--take-statistics", "--dry-run").code == 2

    before = repo.recipe()
    ran = inside("commit", facts, "--recipe", "rome.yaml", "--take-statistics")
    assert ran.code == 1 and "not at hand" in ran.err, "nobody kept the texts"
    own = sources_of([prepared.text], None, prepared.names)
    monkeypatch.setattr("editvc.porcelain.coverage.sources_of", lambda *_: own)
    ran = inside("commit", facts, "--recipe", "rome.yaml", "--take-statistics", "--json")
    assert ran.json["edits"] == 1
    again = Repo(work)
    assert sorted(again.materialise().layers) == [3] and again.recipe() == before
    assert again.with_coverage(before) is before, "what is covered stays"
    assert again.fsck().clean

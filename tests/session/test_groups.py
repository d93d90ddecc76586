"""Facts of one subject that are live together: one element for all, whatever led to them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from tiny_repos import Prepared, tree

from editvc import Repo
from editvc.algebra.gated_edit import GatedEdit
from editvc.core.facts import Fact
from editvc.core.methods.gated import GatedRecipe
from editvc.evaluation.probes import forced
from editvc.session.take_inputs import take_inputs
from editvc.session.trees import tree_at
from editvc.vcs.object_links import ELEMENT, checked_links

LAYER = 1
CAPITAL = Fact("France", "The capital of {} is", "Rome")
LANGUAGE = Fact("France", "The language of {} is", "Polish")
BORDER = Fact("France", "The city near {} is", "London")
ITALY = Fact("Italy", "The capital of {} is", "Paris")
ALL = (CAPITAL, LANGUAGE, BORDER, ITALY)


@pytest.fixture
def gated(repo: Repo, prepared: Prepared) -> Repo:
    take_inputs(repo.session, (LAYER,), texts=[prepared.text], entities=prepared.names)
    return repo


def commit(repo: Repo, facts: Sequence[Fact], *options: str) -> None:
    strong = ("v_num_grad_steps=30", "clamp_norm_factor=4", "v_weight_decay=0", "kl_factor=0")
    recipe = repo.choose("gated", options=[f"layers=[{LAYER}]", *strong, *options]).recipe
    assert isinstance(recipe, GatedRecipe)
    repo.commit(facts, recipe=recipe)


def neurons(repo: Repo, revision: str = "HEAD") -> list[torch.Tensor]:
    maker = repo.session.materialiser
    (found,) = maker.neurons(tree_at(repo.session, revision)).values()
    assert found.bias is not None
    return [found.inside, found.bias, found.down]


def equal(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def groups(repo: Repo, revision: str = "HEAD") -> tuple[str, ...]:
    return tree_at(repo.session, revision).groups


def test_order_and_grouping_of_commits_change_no_bit(gated: Repo) -> None:
    commit(gated, ALL)
    whole, id_of_whole = neurons(gated), tree(gated)
    assert len(groups(gated)) == 1
    for order in itertools.permutations(ALL[:3]):
        for fact in ALL[:3]:
            gated.revert(fact.id)
        assert groups(gated) == ()
        for fact in order:
            commit(gated, [fact])
        assert tree(gated) == id_of_whole
        assert equal(neurons(gated), whole)
    for fact in ALL:
        gated.revert(fact.id)
    commit(gated, [ITALY, LANGUAGE])
    commit(gated, [BORDER, CAPITAL])
    assert tree(gated) == id_of_whole and equal(neurons(gated), whole)
    assert gated.fsck().errors == ()


def test_what_a_revert_leaves_is_what_a_commit_would_make(gated: Repo) -> None:
    commit(gated, [CAPITAL, ITALY])
    alone, two = neurons(gated), tree(gated)
    commit(gated, [LANGUAGE])
    shared, three = neurons(gated), tree(gated)
    gated.revert(LANGUAGE.id)
    assert tree(gated) == two and equal(neurons(gated), alone)
    gated.revert("HEAD")
    assert tree(gated) == three and equal(neurons(gated), shared)
    commit(gated, [BORDER])
    gated.revert(BORDER.id)
    assert tree(gated) == three


def test_a_merge_makes_the_group_that_neither_side_has(gated: Repo) -> None:
    commit(gated, [ITALY])
    gated.create_branch("one")
    gated.create_branch("other")
    for branch, fact in (("one", CAPITAL), ("other", LANGUAGE)):
        gated.switch(branch)
        commit(gated, [fact])
        assert groups(gated) == ()
    gated.merge("one")
    merged, bits = tree(gated), neurons(gated)
    assert len(groups(gated)) == 1
    gated.switch("main")
    commit(gated, [LANGUAGE, CAPITAL])
    assert tree(gated) == merged and equal(neurons(gated), bits)


def test_a_group_makes_its_facts_likelier(gated: Repo) -> None:
    asked = [(one.question, one.target_new) for one in ALL[:2]]
    before = [one.log_probability for one in forced(gated.session.base_model(), asked)]
    commit(gated, ALL[:2])
    with gated.session.edited(tree_at(gated.session, "HEAD")) as lm:
        after = [one.log_probability for one in forced(lm, asked)]
    assert sum(after) > sum(before) + 0.1, (before, after)


def test_members_have_equal_shares_of_one_element(gated: Repo) -> None:
    commit(gated, [CAPITAL, LANGUAGE])
    (group,) = groups(gated)
    elements = gated.session.materialiser.elements
    _, edit = elements.element(group)  # type: ignore[arg-type]
    assert isinstance(edit, GatedEdit)
    live = elements.gated(tree_at(gated.session, "HEAD"))
    assert [one.edit is edit and one.shared == 2 for one in live] == [True, True]
    inside, _, down = neurons(gated)
    assert torch.equal(inside[:2], inside[2:]) and torch.equal(down[:, :2], down[:, 2:])
    whole = edit.share(1)
    assert whole is edit and torch.equal(edit.share(4).value * 4, edit.value)


def test_other_subjects_methods_and_numbers_have_no_part_in_it(gated: Repo) -> None:
    commit(gated, [CAPITAL, ITALY])
    gated.commit([LANGUAGE])
    assert groups(gated) == (), "a located edit is no gate"
    commit(gated, [BORDER], "threshold=0.9")
    assert groups(gated) == (), "by another recipe"
    gated.revert("HEAD")
    commit(gated, [BORDER])
    first = groups(gated)
    assert len(first) == 1
    gated.revert(ITALY.id)
    assert groups(gated) == first


def test_a_tree_without_its_groups_is_a_sum_as_it_was_before_there_were_any(gated: Repo) -> None:
    commit(gated, [CAPITAL])
    one = neurons(gated)
    commit(gated, [LANGUAGE])
    gated.revert(CAPITAL.id)
    other = neurons(gated)
    gated.revert("HEAD")
    maker, whole = gated.session.materialiser, tree_at(gated.session, "HEAD")
    (found,) = maker.neurons(replace(whole, groups=())).values()
    order = [entry.fact for entry in gated.session.repository.edits_of(whole).entries()]
    parts = {CAPITAL.id: one, LANGUAGE.id: other}
    down = torch.cat([parts[fact][2] for fact in order], dim=1)
    assert torch.equal(found.down, down)


def test_a_tree_names_what_its_facts_share_and_gc_keeps_it(gated: Repo) -> None:
    commit(gated, [CAPITAL, LANGUAGE])
    bits = neurons(gated)
    named = checked_links(tree_at(gated.session, "HEAD").to_json())
    assert [(ELEMENT, group) for group in groups(gated)] == [
        link for link in named if link[0] == ELEMENT
    ]
    gated.gc()
    assert equal(neurons(gated), bits) and gated.fsck().errors == ()

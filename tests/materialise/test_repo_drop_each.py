"""AdaPLE's drop and rescale on every edit's own share: a function of the set, mask by mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_repos import FACTS, FRESH, Prepared, same_bits, tree

from editvc import Repo
from editvc.algebra.restraints import dropped
from editvc.core.history import Restraint
from editvc.session.trees import tree_at

P, SEED = 0.5, 11


def shares(repo: Repo) -> dict[str, dict[int, torch.Tensor]]:
    """Dense, by slot: column i of R (I + Q^T Q)^-1 times row i of Q^T F^-1, with inverses."""
    maker = repo.session.materialiser
    by_slot: dict[str, dict[int, torch.Tensor]] = {}
    for group in maker.solutions.groups(tree_at(repo.session, "HEAD")):
        for layer, system in group.systems.items():
            moment = maker.statistics.weighted_moment(group.recipe, layer)
            keys, residuals = system.edits.keys, system.edits.residuals
            pulled = keys.T @ torch.linalg.inv(moment + keys @ keys.T)  # (n, v)
            for place, entry in enumerate(group.entries):
                share = torch.outer(residuals[:, place], pulled[place])
                by_slot.setdefault(entry.slot, {})[layer] = share
    return by_slot


def test_every_edit_has_a_mask_of_its_own(repo: Repo) -> None:
    repo.commit(FACTS[:3])
    expected: dict[int, torch.Tensor] = {}
    for slot, layers in shares(repo).items():
        for layer, share in layers.items():
            kept = dropped(share, P, SEED, layer, slot)
            expected[layer] = expected.get(layer, 0) + kept
    repo.compact(Restraint(drop_each=P, seed=SEED))
    found = repo.materialise().layers
    assert found.keys() == expected.keys()
    for layer, dense in expected.items():
        assert float((found[layer].dense() - dense).norm() / dense.norm()) < 1e-8


def test_it_is_a_function_of_the_set_whatever_the_history(
    repo: Repo, prepared: Prepared, tmp_path: Path
) -> None:
    other = prepared.copy(tmp_path / "other")
    repo.commit(FACTS[:3])
    repo.compact(Restraint(drop_each=P, seed=SEED))
    for fact in (FACTS[2], FACTS[0], FACTS[3], FACTS[1]):
        other.commit([fact])
    other.revert(FACTS[3].id)
    other.compact(Restraint(drop_each=P, seed=SEED))
    assert tree(repo) == tree(other)
    assert same_bits(repo.materialise(), other.materialise())


def test_patches_of_a_sequence_have_masks_too(repo: Repo) -> None:
    used = repo.choose("memit", options=["v_num_grad_steps=2"]).recipe
    repo.commit(FRESH[:1], recipe=used, sequential=True)
    whole = repo.materialise()
    repo.compact(Restraint(drop_each=P, seed=SEED))
    for layer, part in repo.materialise().layers.items():
        expected = dropped(whole.layers[layer].dense(), P, SEED, layer, FRESH[0].slot)
        assert float((part.dense() - expected).norm() / expected.norm()) < 1e-8


@pytest.mark.parametrize("restraint", [Restraint(), Restraint(drop=P, seed=SEED)])
def test_one_mask_on_the_total_is_another_thing(repo: Repo, restraint: Restraint) -> None:
    repo.commit(FACTS[:2])
    repo.compact(Restraint(drop_each=P, seed=SEED))
    each = repo.materialise()
    repo.compact(restraint)
    assert not same_bits(repo.materialise(), each)

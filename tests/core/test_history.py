"""Trees and commits: round trips, and what does and does not make another one."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from editvc.core.history import Commit, Entry, Restraint, Tree
from editvc.core.ids import canonical_json, digest_of

object_ids = st.integers(0, 50).map(digest_of)
restraints = st.builds(
    Restraint,
    prune=st.none() | st.sampled_from([math.e, 1.2, 1.5]),
    rank=st.none() | st.integers(1, 64),
    energy=st.none() | st.floats(0.1, 1.0),
    linear=st.none() | st.floats(1.5, 4.0),
    rect=st.none() | st.floats(1, 100),
    drop=st.none() | st.floats(0.1, 0.9),
    seed=st.none() | st.integers(0, 9),
)
trees = st.builds(
    Tree, base=object_ids, edits=st.none() | object_ids, restraint=st.none() | restraints
)
health = st.dictionaries(
    st.text("abcdefgh_", min_size=1, max_size=5), st.floats(-1e9, 1e9), max_size=4
)
commits = st.builds(
    Commit,
    tree=object_ids,
    parents=st.lists(object_ids, max_size=2).map(tuple),
    author=st.just("Ada <ada@example.org>"),
    time=st.integers(0, 2**33),
    message=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    number=st.integers(1, 1000),
    edits=st.integers(0, 1000),
    live=st.integers(0, 1000),
    delta=st.none() | object_ids,
    health=health.map(lambda figures: tuple(sorted(figures.items()))),
)


def stored(value):
    """The record as it comes back from the bytes of an object."""
    return json.loads(canonical_json(value.to_json()))


@settings(max_examples=100)
@given(trees)
def test_a_tree_survives_its_json(tree):
    assert Tree.from_json(stored(tree)) == tree


@settings(max_examples=60)
@given(trees, trees)
def test_trees_have_equal_bytes_exactly_when_they_are_equal(one, other):
    assert (canonical_json(one.to_json()) == canonical_json(other.to_json())) == (one == other)


@settings(max_examples=100)
@given(commits)
def test_a_commit_survives_its_json(commit):
    assert Commit.from_json(stored(commit)) == commit


def test_every_field_of_a_commit_is_part_of_its_bytes():
    commit = Commit("t", ("p",), "a", 1, "m", 2, 3, 4, "d", (("drift", 0.5),))
    changed = {
        "tree": "T",
        "parents": (),
        "author": "A",
        "time": 9,
        "message": "M",
        "number": 9,
        "edits": 9,
        "live": 9,
        "delta": None,
        "health": (),
    }
    plain = canonical_json(commit.to_json())
    for name, value in changed.items():
        assert canonical_json(replace(commit, **{name: value}).to_json()) != plain, name


def test_a_restraint_writes_only_what_is_set():
    assert Restraint().to_json() == {}
    assert Restraint(rank=8).to_json() == {"rank": 8}


def test_entries_sort_by_slot():
    assert sorted([Entry("2", "a", "a"), Entry("1", "b", "b")])[0].slot == "1"


def test_a_seed_is_zero_where_none_is_named():
    assert Restraint(drop=0.8) == Restraint(drop=0.8, seed=0)
    assert Restraint(drop=0.8).to_json() == {"drop": 0.8, "seed": 0}

"""Merges of trees as sets: properties, conflicts, and bases that disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations, product

from hypothesis import given, settings
from hypothesis import strategies as st
from test_commit_graph import Rows, ancestors, graphs, key
from test_edit_set import slot_of
from vcs_values import BASE, RECIPE, safetensors

from editvc.core.history import Entry, Restraint, Tree
from editvc.core.ids import ObjectId, object_id
from editvc.vcs.codec import encode
from editvc.vcs.edit_set import EditSet
from editvc.vcs.graph import Graph
from editvc.vcs.index_rows import CommitRow
from editvc.vcs.store import MemoryStore
from editvc.vcs.three_way import Base, Merged, Sides, applied, base_of, merged

Plain = Mapping[int, tuple[int, int]]
"""A set for tests: slot number -> (fact, element)."""

SLOTS = st.integers(0, 60)
VALUES = st.tuples(st.integers(0, 2), st.integers(0, 3))
SETS = st.dictionaries(SLOTS, VALUES, max_size=45)
STEPS = st.dictionaries(SLOTS, st.none() | VALUES, max_size=12)
PATCHES = st.sets(st.integers(0, 5).map(lambda number: ObjectId(f"{number:064x}")))


def element(slot: int, value: tuple[int, int], **more: object) -> bytes:
    """Elements 0 and 1 are made in one way, with numbers that rounding tells apart; so are 2, 3."""
    fact, number = value
    way = {"base": BASE.id, "recipe": RECIPE.id, "request": f"{slot}-{fact}-{number // 2}"}
    return safetensors({"kind": "located", **way, **more}, bytes([number % 2]))


ELEMENTS = {
    object_id(data): data
    for slot, fact, number in product(range(61), range(3), range(4))
    for data in [element(slot, (fact, number))]
}


def entry(slot: int, value: tuple[int, int]) -> Entry:
    return Entry(slot_of(slot), ObjectId(f"{value[0]:064x}"), object_id(element(slot, value)))


def memory() -> MemoryStore:
    """A store with all elements."""
    store = MemoryStore()
    store.objects |= ELEMENTS
    return store


def smaller(slot: int, *values: tuple[int, int]) -> tuple[int, int]:
    return min(values, key=lambda value: entry(slot, value).element)


def alike(one: tuple[int, int] | None, other: tuple[int, int] | None) -> bool:
    """Whether what two sides have is one fact, made in one way."""
    return bool(one and other and one[0] == other[0] and one[1] // 2 == other[1] // 2)


def tree_of(store: MemoryStore, plain: Plain, **more: object) -> Tree:
    edits = EditSet(store).update({slot_of(s): entry(s, value) for s, value in plain.items()})
    return Tree(base=ObjectId("b" * 64), edits=edits.root, **more)  # type: ignore[arg-type]


def after(plain: Plain, step: Mapping[int, tuple[int, int] | None]) -> Plain:
    both = {**plain, **step}
    return {slot: value for slot, value in both.items() if value is not None}


def conflicting(plain: Plain, one: Plain, other: Plain) -> set[int]:
    """The specification: changed on both sides, and not alike; facts go before numbers, and what
    rounding tells apart is alike."""
    found = set()
    for slot in {*plain, *one, *other}:
        was, ours, theirs = (side.get(slot) for side in (plain, one, other))
        if was in (ours, theirs) or ours == theirs or alike(ours, theirs):
            continue
        told = [side and side[0] for side in (was, ours, theirs)]
        if (told[0] == told[1]) == (told[0] == told[2]):
            found.add(slot)
    return found


def merge(store: MemoryStore, base: Tree, ours: Tree, theirs: Tree) -> Tree:
    """The id is compared, so the whole tree is what it would be written from nothing."""
    found = merged(store, Base(base), ours, theirs)
    assert not found.conflicting
    return applied(store, ours, found)


@given(SETS, STEPS, STEPS)
@settings(max_examples=150)
def test_a_merge_takes_what_each_side_changed_and_tells_what_both_did(
    plain: Plain, one: dict[int, tuple[int, int] | None], other: dict[int, tuple[int, int] | None]
) -> None:
    store = memory()
    sides = [plain, after(plain, one), after(plain, other)]
    base, ours, theirs = (tree_of(store, side) for side in sides)
    found = merged(store, Base(base), ours, theirs)
    both = conflicting(*sides)
    assert set(found.conflicts) == {slot_of(slot) for slot in both}
    kept = EditSet(store, applied(store, ours, found).edits)
    for slot in {*plain, *one, *other}:
        was, mine, yours = (side.get(slot) for side in sides)
        if slot in both:
            said = [value and entry(slot, value) for value in (was, mine, yours)]
            assert found.conflicts[slot_of(slot)] == Sides(*said)
            expected = mine
        elif was not in (mine, yours) and mine and yours and alike(mine, yours):
            expected = smaller(slot, mine, yours)
        elif mine == was or (mine and was and mine[0] == was[0] and yours != was):
            expected = yours
        else:
            expected = mine
        assert kept.get(slot_of(slot)) == (expected and entry(slot, expected))
    # The other way round it is the same, ours and theirs apart.
    swapped = merged(store, Base(base), theirs, ours)
    turned = {
        slot: Sides(one.base, one.theirs, one.ours) for slot, one in swapped.conflicts.items()
    }
    assert turned == found.conflicts
    chosen = EditSet(store, applied(store, ours, found.favouring("theirs")).edits)
    for slot in both:
        value = sides[2].get(slot)
        assert chosen.get(slot_of(slot)) == (value and entry(slot, value))
    assert applied(store, ours, found.favouring("ours")) == applied(store, ours, found)
    if not both:
        assert applied(store, theirs, swapped) == applied(store, ours, found)


def apart(data: st.DataObject, count: int) -> list[dict[int, tuple[int, int] | None]]:
    """Steps that touch no slot twice: nothing of them is in conflict."""
    step = data.draw(STEPS)
    owner = {slot: data.draw(st.integers(0, count - 1)) for slot in step}
    return [{s: v for s, v in step.items() if owner[s] == n} for n in range(count)]


@given(SETS, st.data())
@settings(max_examples=80)
def test_without_conflicts_merges_form_a_semilattice_and_equal_sets_have_equal_ids(
    plain: Plain, data: st.DataObject
) -> None:
    store = memory()
    base = tree_of(store, plain)
    a, b, c = (tree_of(store, after(plain, step)) for step in apart(data, 3))
    for one in (a, b, c):
        assert merge(store, base, one, one) == one, "idempotent"
        assert merge(store, base, one, base) == one, "an ancestor brings nothing"
        assert merge(store, base, base, one) == one, "fast-forward"
    ab, bc = merge(store, base, a, b), merge(store, base, b, c)
    assert ab == merge(store, base, b, a), "commutative"
    whole = merge(store, base, ab, c)
    assert whole == merge(store, base, a, bc), "associative"
    assert object_id(encode(whole)) == object_id(encode(merge(store, base, bc, a)))


def rounded(data: st.DataObject, plain: Plain) -> list[Plain]:
    """Three sides that change slots alike: each leaves one as it is, makes its fact again, or takes
    it where all take it, and the same fact comes with the numbers of either machine.
    """
    sides = [dict(plain) for _ in range(3)]
    for slot in data.draw(st.sets(SLOTS, max_size=12)):
        was = plain.get(slot)
        others = VALUES.filter(lambda new, was=was: was is None or new[0] != was[0])
        taken = data.draw(st.none() | others) if was else data.draw(others)
        for side in sides:
            new = data.draw(st.sampled_from(("left", "again", "taken")))
            source = {"left": None, "again": was, "taken": taken}[new]
            if source is not None:
                side[slot] = (source[0], source[1] // 2 * 2 + data.draw(st.integers(0, 1)))
            elif new == "taken":
                side.pop(slot, None)
    return sides


@given(SETS, st.data())
@settings(max_examples=80)
def test_what_rounding_tells_apart_is_no_conflict_in_any_order_of_merges(
    plain: Plain, data: st.DataObject
) -> None:
    store = memory()
    base, *sides = (tree_of(store, side) for side in (plain, *rounded(data, plain)))
    wholes = {
        object_id(encode(merge(store, base, merge(store, base, one, other), third)))
        for one, other, third in permutations(sides)
    }
    a, b, c = sides
    wholes.add(object_id(encode(merge(store, base, a, merge(store, base, b, c)))))
    assert len(wholes) == 1


def test_what_follows_from_other_things_than_the_fact_is_a_conflict() -> None:
    store = memory()
    empty = tree_of(store, {})

    def conflicts(**more: object) -> bool:
        ids = [store.put(element(1, (0, number), **more)) for number in (0, 1)]
        slot, fact = slot_of(1), ObjectId("f" * 64)
        trees = [
            replace(empty, edits=EditSet(store).update({slot: Entry(slot, fact, one)}).root)
            for one in ids
        ]
        return merged(store, Base(empty), *trees).conflicting

    assert not conflicts()
    assert not conflicts(request=None, batch="4" * 64), "a squash of the same facts"
    assert not conflicts(request=None, made_of="4" * 64), "the same element, of another method"
    assert conflicts(request=None), "nothing says what it is of"
    assert conflicts(request=None, batch="4" * 64, anchor="5" * 64), "parts of two sequences"


@given(SETS, SETS)
@settings(max_examples=50)
def test_from_an_empty_base_a_merge_is_the_union(one: Plain, other: Plain) -> None:
    other = {slot: one.get(slot, value) for slot, value in other.items()}
    store = memory()
    trees = [tree_of(store, side) for side in (one, other, {**one, **other})]
    assert merge(store, tree_of(store, {}), trees[0], trees[1]) == trees[2]


@given(PATCHES, PATCHES, PATCHES)
def test_patches_are_elements_that_are_there_or_not(
    base: set[ObjectId], ours: set[ObjectId], theirs: set[ObjectId]
) -> None:
    store = memory()
    trees = [tree_of(store, {}, patches=tuple(side)) for side in (base, ours, theirs)]
    found = merge(store, *trees).patches
    for patch in base | ours | theirs:
        counts = (patch in ours, patch in theirs)
        assert (patch in found) == (all(counts) if patch in base else any(counts))
    assert merge(store, trees[0], trees[2], trees[1]).patches == found


def test_a_restraint_is_one_more_place() -> None:
    store = memory()
    free, one, other = (
        tree_of(store, {}, restraint=limit)
        for limit in (None, Restraint(rank=1), Restraint(rank=2))
    )
    assert merge(store, free, one, free) == merge(store, free, free, one) == one
    assert merge(store, one, free, one) == free, "lifted on one side"
    assert merge(store, free, one, one) == one
    found = merged(store, Base(free), one, other)
    assert found.restraints == Sides(None, one.restraint, other.restraint)
    assert applied(store, one, found) == one, "ours, until it is decided"
    assert applied(store, one, found.favouring("theirs")) == other


# The graph ------------------------------------------------------------------------------------


@given(graphs(), st.data())
@settings(max_examples=60)
def test_merge_bases_are_the_common_ancestors_that_no_other_one_reaches(
    rows: dict[ObjectId, CommitRow], data: st.DataObject
) -> None:
    graph = Graph(Rows(rows))  # type: ignore[arg-type]
    one, other = (data.draw(st.sampled_from(sorted(rows))) for _ in range(2))
    common = ancestors(rows, one) & ancestors(rows, other)
    best = {
        commit
        for commit in common
        if not any(commit in ancestors(rows, above) - {above} for above in common)
    }
    assert graph.merge_bases([one], [other]) == best
    if one in ancestors(rows, other):
        assert best == {one}


def history(parents: Mapping[int, tuple[int, ...]]) -> Graph:
    rows = {
        key(number): CommitRow(
            id=key(number), number=number, tree=key(0), parents=tuple(map(key, of)), message="",
            author="", time=number, edits=0, live=0, delta=None, health=(),
        )
        for number, of in parents.items()
    }  # fmt: skip
    return Graph(Rows(rows))  # type: ignore[arg-type]


def criss_cross(trees: Mapping[int, Plain]) -> tuple[MemoryStore, Base]:
    """1 forks into 2 and 3; 4 and 5 have both as parents: two best common ancestors."""
    graph = history({1: (), 2: (1,), 3: (1,), 4: (2, 3), 5: (3, 2)})
    store = memory()
    made = {key(number): tree_of(store, plain) for number, plain in trees.items()}
    empty = tree_of(store, {})
    base = base_of(store, graph, lambda one: made[one] if one else empty, [key(4)], key(5))
    return store, base


def test_several_bases_are_merged_themselves() -> None:
    one, other = {1: (1, 0)}, {2: (2, 0)}
    store, base = criss_cross({1: {}, 2: one, 3: other})
    assert base == Base(tree_of(store, {**one, **other}))


def test_where_bases_disagree_no_side_counts_as_unchanged() -> None:
    store, base = criss_cross({1: {7: (0, 0)}, 2: {7: (1, 0)}, 3: {7: (2, 0)}})
    assert base.undecided == {slot_of(7)}
    kept, gone = tree_of(store, {7: (1, 0)}), tree_of(store, {})

    def found(ours: Tree, theirs: Tree) -> Merged:
        return merged(store, base, ours, theirs)

    assert set(found(kept, gone).conflicts) == set(found(gone, kept).conflicts) == {slot_of(7)}
    assert not found(kept, kept).conflicting and not found(gone, gone).conflicting
    rounded = tree_of(store, {7: (1, 1)})
    assert merge(store, base.tree, kept, rounded) == merge(store, base.tree, rounded, kept)
    assert not found(kept, rounded).conflicting


def test_without_a_common_ancestor_the_base_has_no_edits() -> None:
    graph, store = history({1: (), 2: ()}), memory()
    empty = tree_of(store, {})
    assert base_of(store, graph, lambda one: empty, [key(1)], key(2)) == Base(empty)


def test_a_merge_opens_only_what_the_sides_changed() -> None:
    class Counting(MemoryStore):
        reads = 0

        def get(self, identifier: ObjectId) -> bytes:
            self.reads += 1
            return super().get(identifier)

    store = Counting()
    plain = {number: (0, 0) for number in range(1000)}
    base = tree_of(store, plain)
    ours = tree_of(store, {**plain, 5: (1, 0)})
    theirs = tree_of(store, {**plain, 6: (1, 0)})
    store.reads = 0
    merge(store, base, ours, theirs)
    assert store.reads < 60

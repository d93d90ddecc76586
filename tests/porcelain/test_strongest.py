"""``compact --keep`` and what a restraint costs: facts that are said no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from tiny_repos import FACTS, Prepared, close
from vcs_values import quick_folder

from editvc import Repo
from editvc.cli import compact as command
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.porcelain.strongest import KINDS, NothingKeeps, NothingSaid
from editvc.session.said import Said, live_facts, said_by
from editvc.session.trees import tree_at


@pytest.fixture(scope="module")
def saying(prepared: Prepared) -> Iterator[Repo]:
    """A repository whose model says some of its facts: fine-tuned, on a model that knows nothing.

    No test leaves another set or restraint than it found.
    """
    with quick_folder() as folder:
        repo = prepared.copy(folder)
        recipe = repo.choose("ft", options=["layers=[2]", "lr=0.01", "num_steps=60"]).recipe
        repo.commit(FACTS, recipe=recipe)
        yield repo
        close(repo)


def said(repo: Repo, restraint: Restraint | None) -> frozenset[Fact]:
    tree = replace(tree_at(repo.session, "HEAD"), restraint=restraint)
    return said_by(repo.session, tree, live_facts(repo.session, tree))


def test_what_is_found_keeps_and_the_next_stronger_does_not(saying: Repo) -> None:
    before = said(saying, None)
    assert before
    found = saying.strongest_restraint(1.0, "energy")
    assert found.said.before == before
    assert found.said.after == said(saying, found.restraint) >= before
    assert found.restraint.energy is not None
    assert not said(saying, Restraint(energy=found.restraint.energy - 1 / 128)) >= before


def test_a_restraint_in_force_is_not_what_the_search_begins_with(saying: Repo) -> None:
    free = saying.strongest_restraint(1.0, "energy")
    saying.compact(Restraint(rank=1))
    assert saying.strongest_restraint(1.0, "energy") == free
    saying.compact(Restraint())


def test_nothing_keeps_what_the_weakest_loses(
    saying: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "rect", lambda x, _: Restraint(rect=1e-3 * (1 - x)))
    with pytest.raises(NothingKeeps, match=r"even rect 0\.00099"):
        saying.strongest_restraint(1.0, "rect")


def test_there_is_no_share_of_nothing(repo: Repo) -> None:
    repo.commit(FACTS)  # of a random model, too gently to be said
    with pytest.raises(NothingSaid):
        repo.strongest_restraint(0.95)


def test_a_preview_tells_which_facts_are_said_no_more(saying: Repo) -> None:
    little = Restraint(rect=1.0)
    before, after = said(saying, None), said(saying, little)
    effect = saying.preview_compact(little)
    assert before - after and set(effect.said.lost) == before - after
    assert f"{len(before)} of {len(FACTS)} -> {len(after)}" in effect.summary()
    assert effect.to_json()["said"]["lost"] == [fact.id for fact in effect.said.lost]


@pytest.mark.parametrize("kind", KINDS)
def test_strength_grows_with_its_number(kind: str) -> None:
    name = kind.replace("-", "_")
    rising = kind in ("prune", "linear", "drop", "drop-each")
    numbers = [getattr(KINDS[kind](x / 128, 200), name) for x in range(1, 128)]
    assert numbers == sorted(numbers, reverse=not rising) and numbers[0] != numbers[-1]


def test_kept_is_a_share_of_what_was_said() -> None:
    one, two, three = FACTS[:3]
    told = Said((one, two, three), frozenset({one, two}), frozenset({two, three}))
    assert told.kept == 0.5 and told.lost == (one,)
    assert Said((one,), frozenset(), frozenset()).kept == 1


def test_the_command_line_knows_the_kinds() -> None:
    assert tuple(KINDS) == command.KINDS

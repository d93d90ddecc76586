"""``init --later``: the first commit that needs statistics takes them, and nothing before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_repos import FACTS, Prepared, tree

from editvc import Repo
from editvc.materialise.stored_statistics import NoStatistics
from editvc.porcelain.init import PutOff
from editvc.session import take_statistics
from editvc.statistics.bundle import Sources
from editvc.vcs.codec import kind_of, metadata, record_of

NEEDING = {"statistics", "entity_statistics", "sensitivity"}


@pytest.fixture
def later(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository without statistics; what is bundled are the sources of the tiny one."""
    sources = Sources((prepared.text,), None, prepared.names, "bundled text", "bundled names")
    monkeypatch.setattr(take_statistics, "sources_of", lambda: sources)
    return Repo.init(tmp_path / "later", str(prepared.base), layers=[1, 2], later=True)


def kinds(repo: Repo) -> list[str]:
    store = repo.session.repository.store
    return sorted(kind_of(store.get(one)) for one in store.ids())


def test_nothing_is_taken_before_it_is_needed(later: Repo) -> None:
    assert later.recipe().statistics is None
    assert later.statistics() == []
    assert kinds(later) == ["base", "identity", "operation", "recipe", "settings"]
    assert later.status().live == 0
    later.preview(list(FACTS[:1]))
    assert kinds(later) == ["base", "identity", "operation", "recipe", "settings"]
    assert later.fsck().clean


def test_the_first_commit_takes_them_once_and_for_good(
    later: Repo, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later.commit(list(FACTS[:1]))
    taken = later.recipe()
    assert {one.role for one in later.statistics()} == {"text", "entities", "sensitivity"}
    at_once = Repo.init(
        tmp_path / "at-once", str(prepared.base), layers=[1, 2], texts=[prepared.text],
        entities=prepared.names,
    )  # fmt: skip
    same = {name: getattr(at_once.recipe(), name) for name in NEEDING}
    moments = at_once.session.materialiser.statistics.moment
    for name, identifier in same.items():
        found = later.session.materialiser.statistics.moment(getattr(taken, name))
        assert found.samples == moments(identifier).samples
        assert all(
            found.matrix(layer).equal(moments(identifier).matrix(layer)) for layer in found.layers
        )
    assert later.fsck().clean

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("statistics are taken a second time")

    monkeypatch.setattr(take_statistics, "take", fail)
    later.commit(list(FACTS[1:2]))
    assert Repo(later.folder.parent).recipe() == taken


def test_they_cover_the_layers_of_the_commit_and_those_of_the_recipe(later: Repo) -> None:
    """A minute of work had ended in the word that another layer was asked for."""
    chosen = later.choose("rome", options=["layers=[3]", "v_num_grad_steps=2"]).recipe
    later.commit(list(FACTS[:1]), recipe=chosen)
    statistics, moment = later.recipe().statistics, later.session.materialiser.statistics.moment
    assert statistics is not None and [*moment(statistics).layers] == [1, 2, 3]
    later.commit(list(FACTS[1:2]))
    assert later.recipe().statistics == statistics
    assert later.fsck().clean


@pytest.mark.parametrize("method", ["alphaedit", "ultraedit", "ft"])
def test_a_method_is_given_those_that_it_reads(later: Repo, method: str) -> None:
    chosen = later.choose(method).recipe
    later.commit(list(FACTS[:1]), recipe=chosen)
    needed = "statistics" in chosen.row.needs
    assert (later.recipe().statistics is not None) == needed
    (entry,) = later.session.repository.edits_of(
        later.session.repository.read_tree(tree(later))
    ).entries()
    recipe = metadata(later.session.repository.store.get(entry.element))["recipe"]
    stored = record_of(later.session.repository.store.get(recipe))
    assert stored.get("statistics") == later.recipe().statistics
    assert stored.get("entity_statistics") is None
    assert later.fsck().clean


def test_what_is_computed_in_between_is_used(later: Repo, prepared: Prepared) -> None:
    later.compute_statistics(texts=[prepared.text], entities=prepared.names)
    taken = later.recipe()
    later.commit(list(FACTS[:1]))
    assert later.recipe() == taken


def test_sources_are_refused_rather_than_forgotten(prepared: Prepared, tmp_path: Path) -> None:
    for given in ({"texts": [prepared.text]}, {"entities": prepared.names}):
        with pytest.raises(PutOff, match="--later keeps no --text"):
            Repo.init(tmp_path, str(prepared.base), later=True, **given)
    assert not (tmp_path / ".editvc").exists()


def test_what_needs_them_without_a_commit_says_so(later: Repo) -> None:
    with pytest.raises(NoStatistics, match="no statistics of keys were taken yet") as caught:
        later.session.materialiser.preconditioners.of(later.recipe())
    assert "stats compute" in caught.value.hint


def test_a_base_that_ships_its_own_needs_no_waiting(tmp_path: Path) -> None:
    assert Repo.init(tmp_path, "pocket", later=True).recipe().statistics is not None

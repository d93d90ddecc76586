"""A flipped bit in any kind of object is found by fsck and by reading; exit code 3."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_repos import FACTS, OTHERS, Prepared, close, opened

from editvc import Repo
from editvc.errors import DamageError
from editvc.vcs import codec
from editvc.vcs.object_links import links

KINDS = ("base", "commit", "delta", "edits", "fact", "located", "recipe", "statistics", "tree")


def reading(repo: Repo) -> None:
    """All that reads objects: history, facts, weights, statistics, the deltas of commits."""
    plumbing = repo.session.repository
    repo.session.materialiser.base  # noqa: B018  (reads it)
    repo.statistics()
    for row in repo.log():
        commit = plumbing.read_commit(row.id)
        repo.live(row.id)
        repo.materialise(row.id)
        plumbing.store.get(commit.delta)
    shutil.rmtree(plumbing.cache.folder)  # so that statistics are read, not what was made of them
    opened(plumbing.folder).materialise()


@pytest.fixture
def repo(prepared: Prepared, work: Path) -> Repo:
    repo = prepared.copy(work)
    repo.commit(FACTS[:4])
    repo.commit(OTHERS[:1], supersede=True)
    close(repo)
    return opened(work)


def by_kind(repo: Repo) -> dict[str, list[Path]]:
    """Every object that HEAD's history leads to, by kind."""
    store, found = repo.session.repository.store, dict[str, list[Path]]()
    waiting, seen = [repo.status().commit], set[object]()
    while waiting:
        identifier = waiting.pop()
        if identifier not in seen:
            seen.add(identifier)
            record = codec.record_of(store.get(identifier))
            found.setdefault(record["kind"], []).append(store.path(identifier))
            waiting.extend(following for _, following in links(record))
    return found


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]


def test_every_kind_of_object_is_there_and_sound(repo: Repo) -> None:
    assert sorted(by_kind(repo)) == list(KINDS)
    reading(repo)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: flipped(data, 0), id="first bit"),
        pytest.param(lambda data: flipped(data, len(data) // 2), id="in the middle"),
        pytest.param(lambda data: flipped(data, len(data) - 1), id="at the end"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut"),
        pytest.param(lambda data: b"", id="emptied"),
        pytest.param(lambda data: None, id="gone"),
    ],
)
def test_damage_is_found(
    repo: Repo, work: Path, kind: str, spoil: Callable[[bytes], bytes | None]
) -> None:
    path = by_kind(repo)[kind][-1]
    data = spoil(path.read_bytes())
    path.unlink() if data is None else path.write_bytes(data)
    damaged = opened(work)
    errors = damaged.fsck().errors
    identifier = path.parent.name + path.name
    assert any(identifier in f"{one.where} {one.what}" for one in errors)
    with pytest.raises(DamageError) as caught:
        reading(damaged)
    assert caught.value.exit_code == 3
    assert identifier[:10] in str(caught.value) and "fsck" in caught.value.hint
    close(damaged)


def test_a_damaged_object_is_healed_by_writing_it_again(repo: Repo, work: Path) -> None:
    """As the hint says: the same facts committed elsewhere put it back."""
    path = repo.session.repository.store.path(FACTS[0].id)
    path.write_bytes(flipped(path.read_bytes(), 3))
    repo.detach("2")
    repo.commit(FACTS[:1], supersede=True)
    assert repo.fsck().errors == ()
    close(repo)

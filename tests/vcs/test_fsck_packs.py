"""fsck where objects are in packs: each flipped bit is found, and copies are no trouble."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from vcs_values import commit_facts, create, fact

from editvc.core.ids import ObjectId
from editvc.vcs.fsck import Report, fsck
from editvc.vcs.packs import Pack, write_pack
from editvc.vcs.repository import Repository


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with closing(create(tmp_path)) as repo:
        commit_facts(repo, *(fact(number) for number in range(40)))
        commit_facts(repo, fact(50))
        yield repo


def pack(repo: Repository, *, keep: bool = False) -> Pack:
    """All objects in one pack, and unless ``keep`` no file beside it."""
    store = repo.store
    identifiers = list(store.ids())
    _, draft = repo.files.draft(
        store.packs.folder,
        lambda stream: write_pack(stream, ((one, store.get(one)) for one in identifiers)),
    )
    final = draft.with_name(Pack(draft).name)
    repo.files.move(draft, final)
    for identifier in [] if keep else identifiers:
        store.path(identifier).unlink()
    return Pack(final)


def again(repo: Repository) -> Report:
    with closing(Repository(repo.folder)) as other:
        return fsck(other)


@pytest.mark.parametrize("keep", [False, True])
def test_a_packed_repository_is_as_a_loose_one(repo: Repository, keep: bool) -> None:
    before = fsck(repo)
    pack(repo, keep=keep)
    assert before.clean and again(repo) == before


def test_every_flipped_bit_of_a_pack_is_found(repo: Repository) -> None:
    packed = pack(repo)
    content, chance = packed.path.read_bytes(), random.Random(5)
    for at in (0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(6))):
        changed = bytearray(content)
        changed[at] ^= 1 << chance.randrange(8)
        packed.path.write_bytes(changed)
        errors = again(repo).errors
        assert any(packed.path.name in one.where for one in errors), at
    packed.path.write_bytes(content)
    assert again(repo).clean


def test_a_damaged_copy_is_found_beside_a_sound_one(repo: Repository) -> None:
    pack(repo, keep=True)
    head = repo.refs.head().commit
    assert head is not None
    repo.store.path(head).write_bytes(b"{}")
    assert [one.where for one in again(repo).errors] == [head]
    assert repo.read_commit(head).number == 2, "and the sound one is read"


def test_a_pack_under_another_name_is_told(repo: Repository) -> None:
    packed = pack(repo)
    shutil.move(packed.path, packed.path.with_name(f"{'0' * 64}.pack"))
    assert [one.where for one in again(repo).errors] == [f"pack {'0' * 64}.pack"]


def test_a_lost_pack_is_missing_objects(repo: Repository) -> None:
    head = repo.refs.head().commit
    pack(repo).path.unlink()
    assert f"needs commit {ObjectId(str(head))}, which is missing" in str(again(repo).errors)

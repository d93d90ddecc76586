"""An id is a name and no path, and an object is a file: what else a repository holds is damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vcs_values import commit_facts, fact

from editvc.core.ids import ObjectId
from editvc.vcs.fsck import fsck
from editvc.vcs.repository import Repository
from editvc.vcs.store import NoObjectId, ObjectDamaged, ObjectMissing


@pytest.mark.parametrize(
    "identifier",
    [
        "aa/dev/zero",
        "../../config.toml",
        "",
        "a" * 63,
        "a" * 65,
        "A" * 64,
        "g" * 64,
        "a" * 62 + "\n\0",
    ],
)
def test_what_is_no_id_is_no_path(repo: Repository, identifier: str) -> None:
    for ask in (repo.store.get, repo.store.contains, repo.store.path):
        with pytest.raises(NoObjectId, match="no object's id"):
            ask(ObjectId(identifier))


@pytest.mark.parametrize("what", ["pipe", "link", "folder", "device"])
def test_what_is_no_file_is_neither_followed_nor_waited_for(
    repo: Repository, tmp_path: Path, what: str
) -> None:
    identifier = commit_facts(repo, fact(1))
    path = repo.store.path(identifier)
    data = path.read_bytes()
    path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ObjectDamaged) as caught:
        repo.store.get(identifier)
    assert not isinstance(caught.value, ObjectMissing)
    assert any(identifier in one.where for one in fsck(repo).errors)


def test_a_tree_that_names_a_device_is_damage(repo: Repository) -> None:
    """Found by an attack: fsck and show read /dev/zero to no end."""
    commit_facts(repo, fact(1))
    data = b'{"base":"' + b"a" * 64 + b'","edits":"aa/dev/zero","kind":"tree","restraint":null}'
    commit = repo.read_commit(repo.refs.head().commit)
    tree = repo.store.put(data)
    record = repo.store.get(repo.refs.head().commit).replace(commit.tree.encode(), tree.encode())
    made = repo.store.put(record)
    with repo.index.transaction():
        repo.index.write("UPDATE refs SET target = ? WHERE name = 'refs/heads/main'", [(made,)])
    assert any("aa/dev/zero" in one.what for one in fsck(repo).errors), fsck(repo).errors

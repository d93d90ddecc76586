"""Remotes that lie: what is taken from them is all in order, or nothing is taken."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_repos import contents
from vcs_values import commit_facts, create, fact, quick_folder

from editvc import Repo
from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.vcs.codec import kind_of, record_of
from editvc.vcs.pack_intake import PackRefused
from editvc.vcs.packs import Pack, write_pack
from editvc.vcs.remotes.transport import DOCUMENT, RemoteDamaged

Objects = dict[ObjectId, bytes]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A remote with news, and ``bo``, who has all but these."""
    with quick_folder() as folder:
        (folder / "ada").mkdir()
        repository = create(folder / "ada")
        commit_facts(repository, fact(1))
        ada = Repo(folder / "ada")
        ada.add_remote("origin", str(folder / "remote"))
        ada.push()
        Repo.clone(str(folder / "remote"), folder / "bo")
        commit_facts(ada.session.repository, fact(2), fact(3))
        ada.push()
        shutil.copytree(folder / "remote", folder / "sound")
        yield folder


@pytest.fixture
def remote(place: Path) -> Path:
    shutil.rmtree(place / "remote")
    shutil.copytree(place / "sound", place / "remote")
    return place / "remote"


def refused(place: Path) -> None:
    """Neither a fetch nor a clone takes anything, and both say so in words."""
    before = contents(place / "bo")
    for work in (Repo(place / "bo").fetch, lambda: Repo.clone(str(place / "remote"), place / "cy")):
        with pytest.raises((RemoteDamaged, PackRefused)):
            work()
    assert contents(place / "bo") == before
    assert not (place / "cy").exists()


def rewrite(remote: Path, change: Callable[[Objects, dict[str, Any]], None]) -> None:
    """Change objects of the newest pack, and the document, as the one who keeps a remote can."""
    document = json.loads((remote / DOCUMENT).read_bytes())
    listed = document["packs"][-1]
    old = Pack(remote / "packs" / f"{listed['id']}.pack")
    objects = {one: old.get(one) or b"" for one in old.ids()}
    change(objects, document)
    with open(remote / "packs" / "new", "wb") as stream:
        listed["id"] = write_pack(stream, objects.items())
    new = (remote / "packs" / "new").rename(remote / "packs" / f"{listed['id']}.pack")
    listed["size"] = new.stat().st_size
    (remote / DOCUMENT).write_bytes(canonical_json(document))


def of_kind(objects: Objects, kind: str) -> ObjectId:
    return next(one for one, data in objects.items() if kind_of(data) == kind)


def recommitted(objects: Objects, document: dict[str, Any], **changes: Any) -> None:
    """The newest commit with other words in it, and the branch at that."""
    record = record_of(objects.pop(of_kind(objects, "commit"))) | changes
    data = canonical_json(dict(record))
    objects[object_id(data)] = data
    document["refs"]["refs/heads/main"] = object_id(data)


def without(kind: str) -> Callable[[Objects, dict[str, Any]], None]:
    return lambda objects, document: objects.pop(of_kind(objects, kind)) and None


def an_operation(objects: Objects, document: dict[str, Any]) -> None:
    """Else it could win over the operations of whoever builds the index anew."""
    data = canonical_json(
        {"kind": "operation", "number": 999, "parents": [], "head": "ref: refs/heads/main",
         "refs": {}, "moves": [], "restores": None}
    )  # fmt: skip
    objects[object_id(data)] = data


KINDS = ("commit", "tree", "edits", "fact", "located", "delta")
LIES: dict[str, Callable[[Objects, dict[str, Any]], None]] = {
    **{f"no {kind}": without(kind) for kind in KINDS},
    "an operation": an_operation,
    "another number": lambda o, d: recommitted(o, d, number=77),
    "another count": lambda o, d: recommitted(o, d, live=2),
    "a fact for a tree": lambda o, d: recommitted(o, d, tree=of_kind(o, "fact")),
    "a tree for a delta": lambda o, d: recommitted(o, d, delta=of_kind(o, "tree")),
    "a path for a tree": lambda o, d: recommitted(o, d, tree="../../etc/passwd"),
    "a text for a time": lambda o, d: recommitted(o, d, time="now"),
    "a ref to no commit": lambda o, d: d["refs"].update({"refs/heads/x": of_kind(o, "fact")}),
    "a ref to nothing": lambda o, d: d["refs"].update({"refs/heads/x": "7" * 64}),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_and_nothing_taken(lie: str, remote: Path) -> None:
    rewrite(remote, LIES[lie])
    refused(remote.parent)


def test_another_pack_under_the_name_of_one_is_refused(remote: Path) -> None:
    document = json.loads((remote / DOCUMENT).read_bytes())
    first, last = (remote / "packs" / f"{one['id']}.pack" for one in document["packs"])
    shutil.copy(first, last)
    document["packs"][-1]["size"] = last.stat().st_size
    (remote / DOCUMENT).write_bytes(canonical_json(document))
    refused(remote.parent)


def test_the_same_objects_in_another_pack_are_refused(remote: Path) -> None:
    """A name stands for all bytes: else two clones could differ in what they have of a remote."""
    document = json.loads((remote / DOCUMENT).read_bytes())
    last = remote / "packs" / f"{document['packs'][-1]['id']}.pack"
    old = Pack(last)
    objects = [(one, old.get(one) or b"") for one in old.ids()]
    with open(last.with_name("new"), "wb") as stream:
        assert write_pack(stream, objects) != last.stem, "in rising order of ids, here"
    last.with_name("new").replace(last)
    document["packs"][-1]["size"] = last.stat().st_size
    (remote / DOCUMENT).write_bytes(canonical_json(document))
    refused(remote.parent)


@pytest.mark.parametrize("settings", ["of another base", "that are none", "that are not there"])
def test_a_clone_takes_no_settings_of_a_former_base(settings: str, remote: Path) -> None:
    def lie(objects: Objects, document: dict[str, Any]) -> None:
        named = {
            "of another base": document["settings"],
            "that are none": of_kind(objects, "fact"),
            "that are not there": "6" * 64,
        }
        document["former"] = {"7" * 64: named[settings]}

    rewrite(remote, lie)
    with pytest.raises(RemoteDamaged):
        Repo.clone(str(remote), remote.parent / "cy")
    assert not (remote.parent / "cy").exists()


def test_what_is_sound_is_taken(remote: Path) -> None:
    rewrite(remote, lambda objects, document: None)
    Repo.clone(str(remote), remote.parent / "cy")
    assert Repo(remote.parent / "cy").fsck().clean
    shutil.rmtree(remote.parent / "cy")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_byte_anywhere_is_noticed(remote: Path, data: st.DataObject) -> None:
    """Flips, cuts and additions in any file of a remote: refused, or of no effect."""
    place = remote.parent
    files = sorted(path for path in (place / "sound").rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    raw = bytearray(file.read_bytes())
    spot = data.draw(st.integers(0, len(raw) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "add"]))
    if how == "flip":
        raw[spot] ^= 1 << data.draw(st.integers(0, 7))
    changed = bytes(raw[:spot] if how == "cut" else raw + b"x" if how == "add" else raw)
    target = remote / file.relative_to(place / "sound")
    try:
        target.write_bytes(changed)
        before = contents(place / "bo")
        try:
            Repo.clone(str(remote), place / "cy")
        except (RemoteDamaged, PackRefused):
            assert not (place / "cy").exists()
        else:
            assert Repo(place / "cy").fsck().clean
        assert contents(place / "bo") == before
    finally:
        shutil.rmtree(place / "cy", ignore_errors=True)
        shutil.copy(file, target)

"""``rebuild`` and ``clone`` of a published model, by somebody who has the base and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import clean, inside, written
from hub_server import Hub
from remote_places import use_hub
from tiny_repos import FACTS, Prepared

NAME = "alice/tiny"
SHARD = "model.safetensors"


@pytest.fixture
def empty(here: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as home and as the current one, and a model on the Hub."""
    use_hub(monkeypatch, hub.url)
    inside("commit", written(here / "facts.jsonl", FACTS[:2]))
    done = inside("publish", NAME, "--force")
    assert done.code == 0 and f"`editvc rebuild {NAME}` makes it again" in done.out, done.err
    folder = here.parent / "empty"
    folder.mkdir()
    clean(monkeypatch, folder)
    monkeypatch.chdir(folder)
    return folder


def test_a_stranger_makes_it_again_and_finds_what_was_changed(
    empty: Path, hub: Hub, prepared: Prepared
) -> None:
    published = json.loads(hub.repositories[NAME].head["editvc.lock.json"])["export"]["digest"]
    ran = inside("rebuild", NAME, "-o", "out", "--base", prepared.base)
    assert ran.code == 0 and f"digest {published[:10]}, as it was published" in ran.out, ran.err
    told = inside("rebuild", "out", "--base", prepared.base, "--json").json
    assert (told["same"], told["digest"], told["path"]) == (True, published, None)
    assert inside("verify", "out").code == 4, "without base and edits nothing is proven"
    there = inside("rebuild", NAME, "-o", "out", "--base", prepared.base)
    assert there.code == 1 and "--force" in there.err
    again = inside("rebuild", NAME, "-o", "out", "--base", prepared.base, "--force")
    assert again.code == 0, again.err
    cloned = inside("clone", NAME, "work", "--base", prepared.base)
    assert cloned.code == 0 and "1 commit" in cloned.out, cloned.err
    assert inside("-C", "work", "verify", "../out").code == 0
    data = bytearray((empty / "out" / SHARD).read_bytes())
    data[-1] ^= 1
    (empty / "out" / SHARD).write_bytes(data)
    spoilt = inside("rebuild", "out", "--base", prepared.base)
    assert spoilt.code == 4 and "weights: tensor " in spoilt.out and "1 bit of" in spoilt.out


def test_another_digest_says_by_what_it_was_computed(
    empty: Path, hub: Hub, prepared: Prepared
) -> None:
    lock = json.loads(hub.repositories[NAME].head["editvc.lock.json"])
    lock["export"]["digest"] = "7" * 64
    hub.push(NAME, {"editvc.lock.json": json.dumps(lock).encode(), "editvc.json": b"[]"})
    ran = inside("rebuild", NAME, "-o", "out", "--base", prepared.base)
    assert ran.code == 4 and "published 7777777777" in ran.out
    assert "computed here by instructions " in ran.out and "there by what is not told" in ran.out
    assert (empty / "out" / SHARD).is_file()


WRONG = {
    "rebuild none": "no such file or folder",
    "rebuild alice/none": "Repository not found",
    "rebuild .": "there is no editvc.lock.json",
    f"rebuild {NAME}": "--base MODEL",
    f"rebuild {NAME} --base pocket": "is not the base that",
    f"clone {NAME} work --base pocket": "is not the base that",
}


def test_wrong_words(empty: Path) -> None:
    for words, told in WRONG.items():
        ran = inside(*words.split())
        assert ran.code == 1 and told in ran.err, ran.err
        assert list(empty.iterdir()) == [], words

"""``rebuild`` and ``clone`` of published models: the same weights, or what is otherwise."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from hub_server import Hub, running_hub
from remote_places import use_hub
from safetensors.torch import load_file, save_file
from test_repo_gated import recipe_of, with_inputs
from tiny_models import saved
from tiny_repos import ADA, FACTS, OTHERS, Prepared, close, tree
from vcs_values import quick_folder

from editvc import Repo
from editvc.core.history import Restraint
from editvc.core.tensor_header import read_record
from editvc.errors import EditvcError
from editvc.interchange.manifest import BUNDLE, LEDGER, LOCK, MANIFEST
from editvc.models.checkpoint import Shard
from editvc.models.source import ModelNotFoundError
from editvc.porcelain.published_model import NotPublished, OtherBase, OtherSet
from editvc.porcelain.rebuild import Rebuilt, UnknownFormat
from editvc.publish.lock import LockError
from editvc.vcs.pack_intake import PackRefused
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError
from editvc.vcs.repository import RepositoryExists

NAME = "alice/tiny"
SECRET = "a name that nobody should read"
EDITED = "transformer.h.1.mlp.c_proj.weight"
PLAIN = "transformer.h.0.ln_1.weight"
SHARD = "model.safetensors"


def fetched(hub: Hub, to: Path) -> Path:
    """A published model as somebody has downloaded it."""
    to.mkdir()
    for name, data in hub.repositories[NAME].head.items():
        (to / name).write_bytes(data)
    return to


def publish(repo: Repo, hub: Hub, **options: Any) -> Any:
    return repo.publish(NAME, token="hf_alice", endpoint=hub.url, force=True, **options)


@pytest.fixture(scope="module")
def ours(prepared: Prepared) -> Iterator[tuple[Repo, Path, Hub]]:
    """A repository with a history, what it has published, and the hub with it."""
    with quick_folder() as folder, running_hub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        repo = prepared.copy(folder / "ours")
        repo.commit(FACTS[:3], message="The first three", author=f"{SECRET} <a@b>")
        repo.revert(FACTS[2].id[:12])
        repo.commit(OTHERS[:1], supersede=True)
        repo.compact(Restraint(rank=1), message="One direction")
        publish(repo, hub)
        yield repo, fetched(hub, folder / "published"), hub
        close(repo)


@pytest.fixture
def published(ours: tuple[Repo, Path, Hub], work: Path) -> Path:
    """A copy to be spoilt."""
    return shutil.copytree(ours[1], work / "published")


def rebuild(model: Path | str, prepared: Prepared, *to: Path, **options: Any) -> Rebuilt:
    return Repo.rebuild(str(model), *to, base=str(prepared.base), **options)


def told(done: Rebuilt) -> set[tuple[str, str]]:
    return {(one.kind, one.name) for one in done.findings}


def test_a_published_model_is_made_again_bit_for_bit(
    ours: tuple[Repo, Path, Hub], prepared: Prepared, work: Path
) -> None:
    repo, folder, _ = ours
    done = rebuild(folder, prepared, work / "again")
    assert done.same and done.findings == ()
    assert done.digest == json.loads((folder / LOCK).read_text())["export"]["digest"]
    assert (done.tree, done.edits) == (tree(repo), 2)
    assert done.computed == done.computed_there and done.computed["threads"] == 1
    made = {path.name: path.read_bytes() for path in (work / "again").iterdir()}
    assert made.keys() == {path.name for path in folder.iterdir()} - {".gitattributes", "README.md"}
    for name in made.keys() - {MANIFEST, SHARD}:
        assert made[name] == (folder / name).read_bytes(), name
    again, first = Shard.open(work / "again" / SHARD), Shard.open(folder / SHARD)
    assert made[SHARD][len(again.header) :] == (folder / SHARD).read_bytes()[len(first.header) :]
    assert read_record(first.header) == read_record(again.header) | {"commit": repo.log()[0].id}
    assert rebuild(work / "again", prepared).same, "what was rebuilt can be rebuilt"
    assert repo.verify(str(work / "again")).explained
    shard = work / "papers" / SHARD
    shutil.copytree(folder, work / "papers")
    shard.unlink()
    assert rebuild(work / "papers" / LOCK, prepared).same, "no weights are needed"


def test_nothing_is_written_without_a_target(
    published: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, work: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(work / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (work / "tmp").mkdir()
    assert rebuild(published, prepared).path is None
    assert {path.name for path in work.iterdir()} == {"tmp", "published"}
    assert list((work / "tmp").iterdir()) == []


def test_a_clone_has_the_set_and_nothing_that_was_before_it(
    ours: tuple[Repo, Path, Hub], prepared: Prepared, work: Path
) -> None:
    repo, folder, _ = ours
    done = Repo.clone(str(folder), work / "clone", base=str(prepared.base))
    assert (done.commits, done.branch) == (1, "main")
    clone = Repo(work / "clone")
    assert tree(clone) == tree(repo) and clone.remotes() == []
    assert {fact.id for fact in clone.live()} == {OTHERS[0].id, FACTS[1].id}
    assert clone.fsck().errors == ()
    exported = clone.export(work / "out")
    assert exported.digest == json.loads((folder / LOCK).read_text())["export"]["digest"]
    assert clone.verify(str(folder)).explained
    everything = b"".join(path.read_bytes() for path in (work / "clone").rglob("*.pack"))
    assert SECRET.encode() not in everything and ADA.encode() not in everything
    assert clone.log()[0].message.startswith("One direction\n\nThe set of commit ")
    assert clone.log()[0].author == "nobody <>"
    with pytest.raises(RepositoryExists):
        Repo.clone(str(folder), work / "clone")
    close(clone)


def test_a_folder_that_is_a_remote_too_is_cloned_as_one(
    ours: tuple[Repo, Path, Hub], published: Path, work: Path
) -> None:
    ours[0].add_remote("both", str(published))
    ours[0].push("both")
    ours[0].remove_remote("both")
    assert Repo.clone(str(published), work / "clone").commits == 4, "with its history"


def test_papers_of_a_base_are_not_those_of_what_is_made_of_it(
    repo: Repo, prepared: Prepared, work: Path
) -> None:
    base = shutil.copytree(prepared.base, work / "base")
    (base / BUNDLE).write_bytes(b"another set")
    repo.commit(FACTS[:1])
    repo.move_base(str(base))
    repo.export(work / "out")
    assert not (work / "out" / BUNDLE).exists()


def test_a_reverted_fact_is_not_in_the_bundle(published: Path) -> None:
    Repo.clone(str(published / BUNDLE), published.parent / "clone")
    clone = Repo(published.parent / "clone")
    store = clone.session.repository.store
    kinds = [json.loads(store.get(one)) for one in store.ids() if store.get(one)[:1] == b"{"]
    facts = {one["target_new"] for one in kinds if one["kind"] == "fact"}
    assert facts == {OTHERS[0].target_new, FACTS[1].target_new}
    close(clone)


def test_from_the_hub_only_the_papers_are_fetched(
    ours: tuple[Repo, Path, Hub], prepared: Prepared, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, _, hub = ours
    use_hub(monkeypatch, hub.url)
    monkeypatch.chdir(work)
    hub.requests.clear()
    assert rebuild(NAME, prepared).same
    assert {path.rpartition("/")[2] for _, path in hub.requests} == {BUNDLE, LEDGER, LOCK, MANIFEST}
    Repo.clone(NAME, work / "clone")
    clone = Repo(work / "clone")
    assert tree(clone) == tree(repo)
    close(clone)
    with pytest.raises(RemoteError, match="nothing was pushed") as missing:
        Repo.clone(f"hf://{NAME}", work / "none")
    assert "USER/NAME" in missing.value.hint
    with pytest.raises(RemoteError, match="Repository not found"):
        rebuild("alice/other", prepared)
    monkeypatch.setattr("editvc.porcelain.published_model.PAPERS", {BUNDLE: 100})
    with pytest.raises(RemoteDamaged, match="more than 100 bytes"):
        rebuild(NAME, prepared)


def test_gated_edits_come_back_in_their_wider_model(
    repo: Repo, prepared: Prepared, hub: Hub, work: Path
) -> None:
    with_inputs(repo, prepared).commit(FACTS[2:3], recipe=recipe_of(repo))
    publish(repo, hub)
    assert rebuild(fetched(hub, work / "published"), prepared).same


@pytest.mark.parametrize("format", ["lora", "delta"])
def test_adapters_and_factors_are_made_again(
    repo: Repo, prepared: Prepared, hub: Hub, work: Path, format: str
) -> None:
    repo.commit(FACTS[:2])
    publish(repo, hub, format=format)
    folder = fetched(hub, work / "published")
    done = rebuild(folder, prepared, work / "again")
    assert done.same and done.format == format
    assert {BUNDLE, LOCK, LEDGER} < {path.name for path in (work / "again").iterdir()}
    (weights,) = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert told(rebuild(folder, prepared)) == {("file", weights.name)}


# what is not as it was published --------------------------------------------------------------


def spoilt(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(folder / SHARD)
    change(tensors)
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    return folder


def flip(tensors: dict[str, torch.Tensor]) -> None:
    tensors[PLAIN].view(torch.int32)[3] ^= 1 << 22


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["extra.weight"] = torch.ones(2)


def edit(tensors: dict[str, torch.Tensor]) -> None:
    tensors[EDITED] += torch.outer(torch.ones(128), torch.full((32,), 1e-3))


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [(flip, "weights", PLAIN), (add, "added", "extra.weight"), (edit, "weights", EDITED)],
)
def test_each_change_of_published_weights_is_named(
    ours: tuple[Repo, Path, Hub],
    published: Path,
    prepared: Prepared,
    change: Callable[[dict[str, torch.Tensor]], None],
    kind: str,
    name: str,
) -> None:
    """A flipped bit, an added tensor, an unlisted edit: by rebuild, and by verify."""
    spoilt(published, change)
    done = rebuild(published, prepared)
    assert done.digest == done.published and not done.same
    assert (kind, name) in told(done)
    found = ours[0].verify(str(published))
    assert (kind, name) in {(one.kind, one.name) for one in found.findings}


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_weights_that_come_out_otherwise_are_kept_and_told(
    published: Path, prepared: Prepared, work: Path
) -> None:
    """As on another processor: the papers are of other last bits. Only papers are at hand."""
    (published / SHARD).unlink()
    rewritten(published / LOCK, lambda lock: lock["export"].update(digest="7" * 64))

    def other(manifest: dict[str, Any]) -> None:
        manifest["tensors"][EDITED] = "8" * 64
        manifest["computed"] = {"torch": "1.0", "odd": [1]}

    rewritten(published / MANIFEST, other)
    done = rebuild(published, prepared, work / "again")
    assert not done.same and done.published == "7" * 64
    assert ("weights", EDITED) in told(done) and ("weights", PLAIN) not in told(done)
    assert done.computed_there == {"torch": "1.0"} and "instructions" in done.computed
    assert (work / "again" / SHARD).is_file() and not (work / "again" / LOCK).exists()


def test_a_base_that_is_stored_otherwise_is_told(
    published: Path, prepared: Prepared, work: Path
) -> None:
    """The head of the embedding, stored once more, is the same model in other tensors."""
    base = shutil.copytree(prepared.base, work / "base")
    tensors = load_file(base / SHARD)
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    save_file(tensors, base / SHARD, metadata={"format": "pt"})
    done = Repo.rebuild(str(published), base=str(base))
    assert any(one.kind == "base" for one in done.findings) and not done.same


def test_another_base_is_refused_with_ids(published: Path, work: Path) -> None:
    other = saved(work / "other", "gpt2", n_layer=2)
    for command in (Repo.rebuild, Repo.clone):
        words = (str(published),) if command is Repo.rebuild else (str(published), work / "c")
        with pytest.raises(OtherBase, match=r"is not the base that .* identity is") as caught:
            command(*words, base=str(other))
        assert caught.value.details["identity"] != caught.value.details["expected"]
        assert "--base" in caught.value.hint
    assert not (work / "c").exists()
    with pytest.raises(ModelNotFoundError) as missing:
        Repo.rebuild(str(published))
    assert "--base" in missing.value.hint
    with pytest.raises(ModelNotFoundError):
        Repo.rebuild(str(published), base=str(work / "nowhere"))


def test_a_lock_of_another_set_is_refused(
    ours: tuple[Repo, Path, Hub], published: Path, prepared: Prepared, work: Path
) -> None:
    rewritten(published / LOCK, lambda lock: lock.update(tree="9" * 64))
    with pytest.raises(OtherSet, match="names tree 9999999999"):
        rebuild(published, prepared)
    shutil.copy(ours[1] / LOCK, published / LOCK)
    rewritten(published / LOCK, lambda lock: lock["edits"].pop())
    with pytest.raises(OtherSet, match="does not list the edit of"):
        Repo.clone(str(published), work / "clone")
    assert not (work / "clone").exists()


# what is missing, and what was made to do harm ------------------------------------------------


def test_what_is_missing_is_named_with_the_way_out(
    published: Path, prepared: Prepared, work: Path
) -> None:
    with pytest.raises(NotPublished, match="no such file or folder"):
        rebuild(work / "nowhere", prepared)
    (published / BUNDLE).unlink()
    with pytest.raises(NotPublished, match="the edits themselves are not here") as caught:
        rebuild(published, prepared)
    assert "--no-bundle" in caught.value.hint
    (published / LOCK).unlink()
    with pytest.raises(NotPublished, match=r"there is no editvc\.lock\.json"):
        rebuild(published, prepared)
    shutil.copy(prepared.base / "config.json", published / LOCK)
    with pytest.raises(LockError):
        rebuild(published, prepared)


def test_without_a_bundle_a_lock_is_all_that_is_published(
    repo: Repo, hub: Hub, prepared: Prepared, work: Path
) -> None:
    repo.commit(FACTS[:1])
    assert publish(repo, hub).bundle == len(hub.repositories[NAME].head[BUNDLE])
    assert f"editvc rebuild {NAME}" in hub.repositories[NAME].head["README.md"].decode()
    assert publish(repo, hub, bundle=False).bundle is None
    head = hub.repositories[NAME].head
    assert BUNDLE not in head and LOCK in head, "the old one is gone from the new commit"
    assert "editvc rebuild" not in head["README.md"].decode()


def test_a_format_of_another_editvc_is_refused(published: Path, prepared: Prepared) -> None:
    rewritten(published / LOCK, lambda lock: lock["export"].update(format="\x1b[31m" * 40))
    with pytest.raises(UnknownFormat, match=r"\\x1b"):
        rebuild(published, prepared)


@pytest.mark.parametrize("name", [LOCK, LEDGER, BUNDLE])
def test_pipes_and_devices_are_no_papers(published: Path, prepared: Prepared, name: str) -> None:
    """Nobody waits for a pipe that nobody fills, or reads a device without an end."""
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path)):
        (published / name).unlink()
        make(published / name)
        if name == LEDGER:
            assert ("ledger", LEDGER) in told(rebuild(published, prepared))
            continue
        with pytest.raises(EditvcError):
            rebuild(published, prepared)


def test_a_link_that_leads_out_is_not_copied(
    published: Path, prepared: Prepared, work: Path
) -> None:
    (work / "private").write_text("a key")
    for name in ("README.md", LEDGER):
        (published / name).unlink()
        (published / name).symlink_to(work / "private")
    rebuild(published, prepared, work / "again")
    assert not {"README.md", LEDGER} & {path.name for path in (work / "again").iterdir()}


@pytest.mark.parametrize("where", [0, 8, 20, 200, -100, -40, -1])
def test_a_changed_byte_in_the_bundle_is_refused(
    published: Path, prepared: Prepared, work: Path, where: int
) -> None:
    data = bytearray((published / BUNDLE).read_bytes())
    data[where] ^= 0x15
    (published / BUNDLE).write_bytes(data)
    with pytest.raises((RemoteDamaged, PackRefused, RemoteError)):
        rebuild(published, prepared)
    with pytest.raises((RemoteDamaged, PackRefused, RemoteError)):
        Repo.clone(str(published), work / "clone")
    assert not (work / "clone").exists()


def test_a_lock_with_other_types_is_refused(published: Path, prepared: Prepared) -> None:
    for change in ({"patches": [{}]}, {"patches": [1]}, {"tree": "../x"}, {"export": []}):
        before = (published / LOCK).read_bytes()
        rewritten(published / LOCK, lambda lock, change=change: lock.update(change))
        with pytest.raises(LockError):
            rebuild(published, prepared)
        (published / LOCK).write_bytes(before)

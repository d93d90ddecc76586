"""``verify``: what base and edits explain of an export, and each thing that they do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_server import Hub
from safetensors.torch import load_file, save_file
from test_repo_gated import recipe_of, with_inputs
from tiny_repos import FACTS, Prepared, contents, tree

from editvc import Repo
from editvc.interchange.manifest import LEDGER, LOCK, MANIFEST, SEAL, SIGNATURE, seal
from editvc.porcelain import publish
from editvc.porcelain.verify import NOT_REBUILT, SELF_STATED, in_repository, verify_by_digests
from editvc.publish.model_signature import KeyUnusable

EDITED = "transformer.h.1.mlp.c_proj.weight"
PLAIN = "transformer.h.0.ln_1.weight"
SHARD = "model.safetensors"
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def out(repo: Repo, work: Path) -> Path:
    repo.commit(FACTS[:2])
    repo.export(work / "out")
    return work / "out"


def told(repo: Repo, folder: Path) -> set[tuple[str, str]]:
    return {(one.kind, one.name) for one in repo.verify(str(folder)).findings}


def sealed(folder: Path) -> None:
    """Seal an export again, as anyone can."""
    record = json.loads((folder / MANIFEST).read_text())
    del record[SEAL]
    (folder / MANIFEST).write_text(json.dumps(record))
    seal(folder)


def rewritten(folder: Path, change: Callable[[Tensors], None]) -> None:
    """Other tensors in an export, by somebody who knows how to seal it again."""
    tensors = load_file(folder / SHARD)
    change(tensors)
    save_file(tensors, folder / SHARD, metadata={"format": "pt"})
    sealed(folder)


def test_an_export_is_explained_and_nothing_is_written(repo: Repo, out: Path) -> None:
    before = contents(out.parent)
    found = repo.verify(str(out))
    assert found.explained and found.findings == found.unproven == ()
    assert (found.tree, found.edits) == (tree(repo), 2)
    assert found.digest == json.loads((out / MANIFEST).read_text())["digest"]
    assert contents(out.parent) == before


def flip(tensors: Tensors) -> None:
    tensors[PLAIN].view(torch.int32)[3] ^= 1 << 22


def add(tensors: Tensors) -> None:
    tensors["extra.weight"] = torch.ones(2)


def remove(tensors: Tensors) -> None:
    del tensors[PLAIN]


def halve(tensors: Tensors) -> None:
    tensors[EDITED] = tensors[EDITED].bfloat16()


def cut(tensors: Tensors) -> None:
    tensors[PLAIN] = tensors[PLAIN][:-1].clone()


def edit(tensors: Tensors) -> None:
    tensors[EDITED] += torch.outer(torch.ones(128), torch.full((32,), 1e-3))


@pytest.mark.parametrize(
    ("change", "kind", "name", "words"),
    [
        (flip, "weights", PLAIN, "1 bit of number 3 differs"),
        (add, "added", "extra.weight", "the base has no such tensor"),
        (remove, "removed", PLAIN, "not there"),
        (halve, "dtype", EDITED, "is stored as BF16, not as F32"),
        (cut, "shape", PLAIN, "is F32 [31], not F32 [32]"),
        (edit, "weights", EDITED, "4096 of 4096 numbers differ, relative norm "),
    ],
)
def test_each_change_of_the_weights_is_named(
    repo: Repo, out: Path, change: Callable[[Tensors], None], kind: str, name: str, words: str
) -> None:
    rewritten(out, change)
    found = repo.verify(str(out))
    assert not found.explained
    assert {(one.kind, one.name) for one in found.findings} == {
        (kind, name), ("ledger", MANIFEST),
    }  # fmt: skip
    assert words in found.findings[0].problem


def test_an_edit_that_was_reverted_since_is_none_of_head(repo: Repo, out: Path) -> None:
    repo.revert("HEAD")
    assert ("weights", EDITED) in told(repo, out)
    assert repo.verify(str(out), revision="1").explained


def test_the_files_beside_the_weights_are_the_bases(repo: Repo, out: Path) -> None:
    (out / "tokenizer.json").write_text("{}")
    (out / "config.json").unlink()
    (out / "modeling.py").write_text("")
    sealed(out)
    assert told(repo, out) >= {("file", "tokenizer.json"), ("file", "config.json")}
    (out / MANIFEST).unlink()
    assert ("file", "modeling.py") in told(repo, out), "no paper lists it"


def test_neurons_beside_those_of_the_base_are_explained(
    repo: Repo, prepared: Prepared, work: Path
) -> None:
    with_inputs(repo, prepared).commit(FACTS[2:3], recipe=recipe_of(repo))
    repo.export(work / "wide")
    assert repo.verify(str(work / "wide")).explained
    repo.export(work / "kept", keep_width=True)
    assert repo.verify(str(work / "kept")).explained


@pytest.fixture
def published(repo: Repo, out: Path) -> Path:
    """The export with the papers of ``publish``."""
    health, revision = publish.check_health(repo.session, "HEAD"), repo.status().commit
    assert revision is not None
    record = json.loads((out / MANIFEST).read_text())
    papers = publish._documents(
        repo.session, "a/b", revision, "hf", health, None,
        record["base_digest"], record["digest"], tuple(record["touched"]),
    )  # fmt: skip
    for name, text in papers.items():
        (out / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    sealed(out)
    return out


def test_a_published_model_is_compared_with_the_tree_of_its_lock(
    repo: Repo, published: Path
) -> None:
    repo.revert("HEAD")
    found = repo.verify(str(published))
    assert found.explained, found.findings
    assert found.tree == tree(repo, "1")


def test_an_edit_that_the_papers_hide_is_named(repo: Repo, published: Path) -> None:
    ledger = published / LEDGER
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
    lock = json.loads((published / LOCK).read_text())
    gone = lock["edits"].pop()["fact"]
    (published / LOCK).write_text(json.dumps(lock))
    sealed(published)
    problems = [one.problem for one in repo.verify(str(published)).findings]
    question = gone["prompt"].replace("{}", gone["subject"])
    assert any("does not list" in one and question in one for one in problems)


def test_without_the_repository_it_is_said_what_is_not_proven(
    repo: Repo, published: Path, work: Path
) -> None:
    found = verify_by_digests(str(published))
    assert (found.findings, found.unproven) == ((), (NOT_REBUILT, SELF_STATED))
    assert not found.explained and found.tree is None
    data = bytearray((published / SHARD).read_bytes())
    data[-1] ^= 1
    (published / SHARD).write_bytes(data)
    (published / "README.md").unlink()
    kinds = {(one.kind, one.name) for one in verify_by_digests(str(published)).findings}
    assert kinds == {
        ("file", SHARD), ("file", "README.md"), ("ledger", MANIFEST), ("ledger", LOCK),
    }  # fmt: skip
    for name in (MANIFEST, LOCK, LEDGER):
        (published / name).unlink()
    assert "neither" in verify_by_digests(str(published)).unproven[-1]


def test_a_repository_that_lacks_the_tree_proves_nothing(
    repo: Repo, published: Path, prepared: Prepared, work: Path
) -> None:
    stranger = Repo.init(work / "other", str(prepared.base), layers=[1, 2], later=True)
    assert stranger.verify(str(published)).unproven[0] == NOT_REBUILT
    assert in_repository(work / "other") and not in_repository(prepared.base)


def test_an_adapter_is_known_by_its_files(repo: Repo, out: Path, work: Path) -> None:
    repo.export(work / "lora", format="lora")
    assert repo.verify(str(work / "lora")).unproven and told(repo, work / "lora") == set()
    (work / "lora" / "adapter_config.json").write_text("{}")
    assert told(repo, work / "lora") == {("file", "adapter_config.json")}


def test_a_signed_model_and_a_file_that_was_changed_after_signing(
    repo: Repo, hub: Hub, work: Path
) -> None:
    pytest.importorskip("model_signing")
    key, public = pair(work)
    repo.commit(FACTS[:2])
    repo.publish("alice/tiny", sign=key, force=True, token="hf_alice", endpoint=hub.url)
    folder = work / "received"
    for name, data in hub.repositories["alice/tiny"].head.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    assert (folder / SIGNATURE).is_file()
    found = repo.verify(str(folder), key=public)
    assert found.explained and found.signed
    assert repo.verify(str(folder)).signed is None
    alone = verify_by_digests(str(folder), key=public)
    assert alone.unproven == (NOT_REBUILT,), "that the digests are genuine is proven now"
    card = folder / "README.md"
    card.write_text(card.read_text() + "And no harm was done.\n")
    sealed(folder)
    changed = repo.verify(str(folder), key=public)
    assert not changed.signed and not changed.explained
    assert {(one.kind, one.name) for one in changed.findings} == {
        ("signature", "README.md"), ("signature", MANIFEST),
    }  # fmt: skip
    assert SELF_STATED in verify_by_digests(str(folder), key=public).unproven
    repo.publish("alice/tiny", force=True, token="hf_alice", endpoint=hub.url)
    assert SIGNATURE not in hub.repositories["alice/tiny"].head, "it would not hold"


def test_a_wrong_key_stops_before_anything_is_made(repo: Repo, hub: Hub, work: Path) -> None:
    pytest.importorskip("model_signing")
    _, public = pair(work)
    repo.commit(FACTS[:1])
    with pytest.raises(KeyUnusable):
        repo.publish("alice/tiny", sign=public, force=True, token="hf_alice", endpoint=hub.url)
    assert hub.requests == []


def pair(folder: Path) -> tuple[Path, Path]:
    """An elliptic key in files, the private and the public one."""
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric import ec

    made, (key, public) = ec.generate_private_key(ec.SECP256R1()), (folder / "k", folder / "k.pub")
    key.write_bytes(
        made.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    )
    form = pem.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(made.public_key().public_bytes(pem.Encoding.PEM, form))
    return key, public

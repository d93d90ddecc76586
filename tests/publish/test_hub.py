"""Publishing with the real client, against a server on loopback that speaks the Hub's endpoints."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
from hub_server import Hub
from huggingface_hub import snapshot_download
from publish_models import random_delta

from editvc.errors import EditvcError
from editvc.interchange.hf_checkpoint import changes_of, export_hf
from editvc.interchange.manifest import write_manifest
from editvc.interchange.reload_check import verify_reload
from editvc.models.architectures import architecture_of
from editvc.publish.hub import (
    HubAccessError,
    HubError,
    RemoteMovedError,
    publish,
    remote_head,
)

REPO = "alice/atlas"
CARD = "---\ntags:\n- editvc\n---\n# Card\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder that looks like an export, without the cost of making one."""
    folder = tmp_path / "export"
    folder.mkdir()
    write_manifest(folder, "hf", {"digest": "x"})
    (folder / "README.md").write_text(CARD)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "config.json").write_text("{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool.jinja").write_text("{{ x }}")
    return folder


def push(hub: Hub, folder: Path, repo_id: str = REPO, token: str = "hf_alice", **options: object):
    return publish(folder, repo_id, message="Edit", token=token, endpoint=hub.url, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_model_goes_up_and_comes_down_the_same(
    hub: Hub, tmp_path: Path, make_base: Callable[..., Path]
) -> None:
    changes = changes_of(architecture_of("gpt2"), random_delta({1: 2}))
    export_hf(make_base("gpt2"), tmp_path / "out", changes, documents=lambda _: {"README.md": CARD})
    result = push(hub, tmp_path / "out", private=True)

    assert result.created
    assert hub.repositories[REPO].private
    assert hub.repositories[REPO].messages[result.commit] == "Edit"
    assert result.url == f"{hub.url}/{REPO}/commit/{result.commit}"
    fetched = Path(
        snapshot_download(REPO, endpoint=hub.url, token="hf_alice", cache_dir=tmp_path / "cache")
    )
    assert fetched.name == result.commit
    got = files(fetched)
    del got[".gitattributes"]
    assert got == files(tmp_path / "out")
    assert set(result.files) == set(got)
    prompts = ["The capital of France is"]
    architecture = architecture_of("gpt2")
    replies = [verify_reload(at, architecture, prompts) for at in (fetched, tmp_path / "out")]
    assert replies[0] == replies[1]


def test_large_files_travel_over_lfs_and_only_once(hub: Hub, export: Path) -> None:
    push(hub, export)
    puts = [path for method, path in hub.requests if method == "PUT"]
    assert len(puts) == 1
    (export / "config.json").write_text('{"a": 1}')
    push(hub, export)
    assert [path for method, path in hub.requests if method == "PUT"] == puts
    assert hub.repositories[REPO].head["config.json"] == b'{"a": 1}'


def test_publishing_the_same_again_makes_no_commit(hub: Hub, export: Path) -> None:
    first = push(hub, export)
    again = push(hub, export)
    assert again.commit == first.commit
    assert (first.created, again.created) == (True, False)


def test_old_weights_go_in_the_same_commit(hub: Hub, export: Path) -> None:
    hub.create(REPO)
    old = ["model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    old += ["pytorch_model.bin", "adapter_config.json", "editvc.ledger.jsonl"]
    kept = ["notes.md", "figures/plot.png", "onnx/model.bin", "model.gguf"]
    parent = hub.push(REPO, {name: b"old" for name in [*old, *kept]})
    result = push(hub, export)
    assert set(result.deleted) == set(old)
    repository = hub.repositories[REPO]
    assert set(repository.head) == {*files(export), *kept, ".gitattributes"}
    assert repository.parents[result.commit] == parent == result.parent


def test_a_push_in_between_is_refused(hub: Hub, export: Path) -> None:
    """Somebody is faster between the reading of the head and the commit: nothing is mixed."""
    hub.create(REPO)
    hub.before["commit"] = lambda: hub.push(REPO, {"config.json": b"theirs"})
    with pytest.raises(RemoteMovedError, match="moved on") as caught:
        push(hub, export)
    assert caught.value.status == 412
    assert "--create-pr" in caught.value.hint
    assert set(hub.repositories[REPO].head) == {".gitattributes", "config.json"}
    assert push(hub, export).parent == next(
        oid for oid, text in hub.repositories[REPO].messages.items() if text == "from outside"
    )


def test_a_head_that_is_not_the_expected_one_is_refused_before_the_upload(
    hub: Hub, export: Path
) -> None:
    hub.create(REPO)
    seen = remote_head(REPO, endpoint=hub.url, token="hf_alice")
    assert push(hub, export, parent_commit=seen).parent == seen
    with pytest.raises(RemoteMovedError, match=seen):
        push(hub, export, parent_commit=seen)
    hub.requests.clear()
    with pytest.raises(RemoteMovedError):
        push(hub, export, parent_commit=seen)
    assert all(method == "GET" for method, _ in hub.requests)


def test_a_pull_request_leaves_main_alone(hub: Hub, export: Path) -> None:
    hub.create(REPO)
    before = hub.repositories[REPO].refs["main"]
    result = push(hub, export, create_pr=True, token="hf_bob")
    assert result.url == f"{hub.url}/{REPO}/discussions/1"
    assert hub.repositories[REPO].refs == {"main": before, "refs/pr/1": result.commit}
    assert hub.repositories[REPO].parents[result.commit] == before
    with pytest.raises(HubError, match="to open a pull request on"):
        push(hub, export, "alice/nothing", create_pr=True)


def test_a_public_repository_is_not_used_as_a_private_one(hub: Hub, export: Path) -> None:
    hub.create(REPO)
    with pytest.raises(HubError, match="public, but a private one"):
        push(hub, export, private=True)
    assert set(hub.repositories[REPO].head) == {".gitattributes"}


def test_who_may_not_write_is_told_why(
    hub: Hub, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.create(REPO)
    with pytest.raises(HubAccessError, match="may not write") as caught:
        push(hub, export, token="hf_bob")
    assert (caught.value.status, "--create-pr" in caught.value.hint) == (403, True)
    with pytest.raises(HubAccessError, match="may not write"):
        push(hub, export, "alice/new", token="hf_bob")
    for token in ("hf_wrong", False):
        for repo_id in (REPO, "alice/new"):
            with pytest.raises(HubAccessError, match="not logged in") as caught:
                push(hub, export, repo_id, token=token)
            assert caught.value.status == 401
            assert caught.value.hint == "hf auth login"
    assert list(hub.repositories) == [REPO]


def test_a_repository_that_nobody_has_is_told(hub: Hub) -> None:
    with pytest.raises(HubError, match="not found") as caught:
        remote_head("alice/nothing", endpoint=hub.url, token="hf_alice")
    assert caught.value.status == 404


@pytest.mark.parametrize("repo_id", ["atlas", "a/b/c", "alice/--x", "alice/ü"])
def test_names_that_are_none_are_refused(hub: Hub, export: Path, repo_id: str) -> None:
    with pytest.raises(HubError, match=r"owner's name|no name of a repo"):
        push(hub, export, repo_id)
    assert hub.requests == []


def test_no_answer_is_told_with_a_way_out(hub: Hub, export: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(HubError, match="not reached") as caught:
        publish(export, REPO, message="x", token="t", endpoint=f"http://127.0.0.1:{port}")
    assert caught.value.status is None
    assert "network" in caught.value.hint


@pytest.mark.parametrize("at", ["create_repo", "commit"])
def test_a_hub_that_drips_is_given_up(
    hub: Hub, export: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers a byte now and then kept `publish` silent for 40 s."""
    monkeypatch.setattr("editvc.publish.hub.ANSWER", 0.5)
    monkeypatch.setattr("editvc.publish.hub.SLOWEST", 1 << 40)
    monkeypatch.setattr("editvc.core.deadline.LOOKS", 0.1)
    never, heard = threading.Event(), list[str]()
    hub.before[at] = lambda: never.wait(20) and None
    with pytest.raises(HubError, match=r"no end of it after 0\.5") as caught:
        push(hub, export, progress=lambda label, done, total: heard.append(label))
    never.set()
    assert "publish again" in caught.value.hint and "waiting for the Hub" in heard


def test_a_broken_upload_is_told_and_leaves_the_repository_alone(hub: Hub, export: Path) -> None:
    from hub_server import Refused

    def break_down() -> None:
        raise Refused(400, "storage is full")

    hub.before["lfs_put"] = break_down
    with pytest.raises(HubError, match="storage is full") as caught:
        push(hub, export)
    assert caught.value.status == 400
    assert set(hub.repositories[REPO].head) == {".gitattributes"}


def test_a_server_without_xet_is_told(
    hub: Hub, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(HubError, match="xet-write-token") as caught:
        push(hub, export)
    assert "HF_HUB_DISABLE_XET=1" in caught.value.hint


def test_files_that_the_remote_ignores_are_missed(hub: Hub, export: Path) -> None:
    hub.ignored = {"config.json"}
    with pytest.raises(HubError, match=r"does not hold the export: config\.json") as caught:
        push(hub, export)
    assert ".gitignore" in caught.value.hint


def test_only_exports_are_published(hub: Hub, export: Path) -> None:
    (export / ".secret").write_text("s")
    assert ".secret" not in push(hub, export).files
    (export / "editvc.json").unlink()
    with pytest.raises(EditvcError, match="not an export"):
        push(hub, export)
    shutil.rmtree(export)
    with pytest.raises(EditvcError, match="not an export"):
        push(hub, export)

"""The resolver as vLLM calls it: names of revisions in, requests for adapters out."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_repos import FACTS, Prepared, close, tree
from vllm_interface import stand_in

from editvc import Repo
from editvc.plugins import vllm_resolver
from editvc.session.take_inputs import take_inputs

Asked = Callable[..., list[Any]]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module", autouse=True)
def vllm() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        yield


@pytest.fixture(scope="module")
def folder(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits on main, of which none of these tests makes more."""
    place = tmp_path_factory.mktemp("served") / "facts"
    repo = prepared.copy(place)
    repo.commit(FACTS[:2])
    repo.commit(FACTS[2:3])
    close(repo)
    return place


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vllm.plugins.editvc")
    return caplog


def cache(folder: Path) -> Path:
    return folder.parent / "adapters"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Asks what vLLM would, as it would: the resolver that is registered under a repository."""

    def asked(folder: Path, base: object, *names: str, called: str = "") -> list[Any]:
        monkeypatch.setenv(vllm_resolver.REPOSITORY, str(folder))
        monkeypatch.setenv(vllm_resolver.CACHE, str(cache(folder)))
        monkeypatch.setenv(vllm_resolver.BASE, called)
        vllm_resolver.register()
        resolver = registry().get_resolver(vllm_resolver.NAME)

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(resolver.resolve_lora(str(base), one) for one in names))

        return asyncio.run(all_at_once())

    return asked


def registry() -> Any:
    return importlib.import_module("vllm.lora.resolver").LoRAResolverRegistry


def test_a_name_that_is_a_revision_gives_its_adapter(
    asked: Asked, folder: Path, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    repo = Repo(folder)
    names = {"main": "HEAD", "facts@HEAD~1": "HEAD~1", "main@{1}": "HEAD~1"}
    requests = asked(folder, prepared.base, *names)
    for request, (name, revision) in zip(requests, names.items(), strict=True):
        place = Path(request.lora_path)
        assert (request.lora_name, place.name) == (name, tree(repo, revision))
        assert place.parent == cache(folder)
        config = json.loads((place / CONFIG).read_text())
        assert config["r"] == config["lora_alpha"] == 8 and config["rank_pattern"] == {}
        assert sum(f"'{name}' is commit" in line for line in log.messages) == 1
    latest, before, again = requests
    assert before.lora_int_id == again.lora_int_id != latest.lora_int_id
    for request, revision in ((latest, "main"), (before, "HEAD~1")):
        repo.export(folder.parent / revision, format="lora", revision=revision)
        exported = (folder.parent / revision / WEIGHTS).read_bytes()
        assert (Path(request.lora_path) / WEIGHTS).read_bytes() == exported
    close(repo)


def test_a_name_that_is_no_revision_is_left_to_others(
    asked: Asked, folder: Path, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    names = ("other", "other@main", "base", "", "main..main", "../../etc", "a\0b", "é" * 9999,
             "main@{99999999999999999999}", "HEAD~99999999999")  # fmt: skip
    assert asked(folder, prepared.base, *names) == [None] * len(names)
    assert log.messages == []


def test_only_adapters_of_the_servers_base_are_given(
    asked: Asked, folder: Path, prepared: Prepared, tmp_path: Path,
    log: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert asked(folder, "org/other", "main") == [None]
    (line,) = log.messages
    assert f"edits {prepared.base}, and the server has org/other. If" in line
    assert "EDITVC_VLLM_BASE=org/other" in line
    assert asked(folder, "org/other", "main", called="org/other") != [None]
    (tmp_path / "link").symlink_to(prepared.base)
    assert asked(folder, tmp_path / "link", "main") != [None]


def test_gated_edits_have_no_adapter_and_the_log_says_so(
    asked: Asked, repo: Repo, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    take_inputs(repo.session, (1,), texts=[prepared.text], entities=prepared.names)
    repo.commit(FACTS[:1], recipe=repo.choose("gated", options=["layers=[1]"]).recipe)
    assert asked(repo.folder.parent, prepared.base, "main") == [None]
    (line,) = log.messages
    assert "'main' has no adapter" in line and "neurons of their own" in line
    assert "`editvc export --format hf`" in line and "\n" not in line


def test_an_adapter_is_made_once_and_again_where_it_is_not_as_it_was(folder: Path) -> None:
    repo = Repo(folder)
    place = repo.adapter("main", cache(folder))
    sound, when = (place / WEIGHTS).read_bytes(), (place / CONFIG).stat().st_mtime_ns
    assert repo.adapter("HEAD", cache(folder)) == place
    assert (place / CONFIG).stat().st_mtime_ns == when
    shutil.rmtree(place)
    repo.adapter("main", cache(folder))
    assert (place / WEIGHTS).read_bytes() == sound
    repo.close()


def test_it_is_registered_where_a_repository_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    registered = list[Any]()
    monkeypatch.setattr(vllm_resolver, "_register", registered.append)
    monkeypatch.delenv(vllm_resolver.REPOSITORY, raising=False)
    vllm_resolver.register()
    monkeypatch.setenv(vllm_resolver.REPOSITORY, str(tmp_path))
    vllm_resolver.register()
    assert not registered
    (line,) = log.messages
    assert f"EDITVC_VLLM_REPO={tmp_path}" in line


@pytest.mark.parametrize(
    ("variables", "place"),
    [({"EDITVC_VLLM_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
     ({"XDG_CACHE_HOME": "/b"}, "/b/editvc/adapters"),
     ({"HOME": "/c"}, "/c/.cache/editvc/adapters")],
)  # fmt: skip
def test_adapters_are_kept_where_caches_are(
    variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDITVC_VLLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert vllm_resolver.cache_folder() == Path(place)

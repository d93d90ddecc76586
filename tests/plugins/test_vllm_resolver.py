"""The resolver as vLLM calls it: names of revisions in, requests for adapters out."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny_repos import FACTS, Prepared, close, tree
from vllm_interface import stand_in

from editvc import Repo
from editvc.session.take_inputs import take_inputs

MODULE = "editvc.plugins.vllm_resolver"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.fixture(scope="module")
def plugin() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        patch.delitem(sys.modules, MODULE, raising=False)
        yield importlib.import_module(MODULE)


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


def asked(
    plugin: ModuleType, folder: Path, base: object, *names: str, called: str | None = None
) -> list[Any]:
    """What a resolver makes of names that are asked for at once."""

    async def all_of_them() -> list[Any]:
        resolver = plugin.RevisionResolver(folder, cache(folder), called)
        return await asyncio.gather(*(resolver.resolve_lora(str(base), one) for one in names))

    return asyncio.run(all_of_them())


def test_a_name_that_is_a_revision_gives_its_adapter(
    plugin: ModuleType, folder: Path, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    repo = Repo(folder)
    names = {"main": "HEAD", "facts@HEAD~1": "HEAD~1", "main@{1}": "HEAD~1"}
    requests = asked(plugin, folder, prepared.base, *names)
    for request, (name, revision) in zip(requests, names.items(), strict=True):
        place = Path(request.lora_path)
        assert (request.lora_name, place.name) == (name, tree(repo, revision))
        assert place.parent == cache(folder)
        config = json.loads((place / CONFIG).read_text())
        assert config["r"] == config["lora_alpha"] == 8 and config["rank_pattern"] == {}
        assert sum(f"'{name}' is commit" in line for line in log.messages) == 1
    latest, before, again = requests
    assert before.lora_int_id == again.lora_int_id != latest.lora_int_id
    repo.export(folder.parent / "lora", format="lora")
    exported = (folder.parent / "lora" / WEIGHTS).read_bytes()
    assert (Path(latest.lora_path) / WEIGHTS).read_bytes() == exported
    close(repo)


def test_a_name_that_is_no_revision_is_left_to_others(
    plugin: ModuleType, folder: Path, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    names = ("other", "other@main", "base", "", "main..main", "../../etc", "a\0b", "é" * 9999,
             "main@{99999999999999999999}", "HEAD~99999999999")  # fmt: skip
    assert asked(plugin, folder, prepared.base, *names) == [None] * len(names)
    assert log.messages == []


def test_only_adapters_of_the_servers_base_are_given(
    plugin: ModuleType, folder: Path, prepared: Prepared, tmp_path: Path,
    log: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    assert asked(plugin, folder, "org/other", "main") == [None]
    (line,) = log.messages
    assert f"edits {prepared.base}, and the server has org/other. If" in line
    assert "EDITVC_VLLM_BASE=org/other" in line
    assert asked(plugin, folder, "org/other", "main", called="org/other") != [None]
    (tmp_path / "link").symlink_to(prepared.base)
    assert asked(plugin, folder, tmp_path / "link", "main") != [None]


def test_gated_edits_have_no_adapter_and_the_log_says_so(
    plugin: ModuleType, repo: Repo, prepared: Prepared, log: pytest.LogCaptureFixture
) -> None:
    take_inputs(repo.session, (1,), texts=[prepared.text], entities=prepared.names)
    repo.commit(FACTS[:1], recipe=repo.choose("gated", options=["layers=[1]"]).recipe)
    assert asked(plugin, repo.folder.parent, prepared.base, "main") == [None]
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
    plugin: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    log: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    registry = plugin.LoRAResolverRegistry
    monkeypatch.delenv(plugin.REPOSITORY, raising=False)
    plugin.register()
    monkeypatch.setenv(plugin.REPOSITORY, str(tmp_path))
    plugin.register()
    assert plugin.NAME not in registry.get_supported_resolvers()
    (line,) = log.messages
    assert f"EDITVC_VLLM_REPO={tmp_path}" in line
    monkeypatch.setenv(plugin.REPOSITORY, str(folder))
    monkeypatch.setenv(plugin.BASE, "org/name")
    monkeypatch.delenv(plugin.CACHE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plugin.register()
    resolver = registry.get_resolver(plugin.NAME)
    assert (resolver.folder, resolver.base) == (folder, "org/name")
    assert resolver.cache == tmp_path / "editvc" / "adapters"

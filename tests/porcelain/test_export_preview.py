"""Dry runs of ``export`` and ``publish``: sizes are those of the files, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub
from test_repo_gated import recipe_of, with_inputs
from test_repo_sharing import lenient, strict
from tiny_repos import FACTS, Prepared

from editvc import Repo
from editvc.core.output_path import TargetError
from editvc.errors import EditvcError
from editvc.interchange.peft_writer import AdapterError
from editvc.porcelain.publish import HealthRefused


def written(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def compare(repo: Repo, folder: Path, **options: Any) -> None:
    plan = repo.preview_export(folder, **options)
    assert not folder.exists()
    repo.export(folder, **options)
    there = written(folder)
    assert plan.files.keys() == there.keys()
    known = {name: size for name, size in plan.files.items() if size is not None}
    assert known and known == {name: there[name] for name in known}
    assert plan.size == sum(known.values()) and plan.verdict in ("ok", "warn", "refuse")
    with pytest.raises(TargetError, match="already holds an export"):
        repo.preview_export(folder, **options)
    assert repo.preview_export(folder, replace=True, **options).files == plan.files


@pytest.mark.parametrize("options", [{}, {"format": "lora", "rank": 1}, {"format": "delta"}])
def test_sizes_are_those_of_the_files(repo: Repo, work: Path, options: dict[str, Any]) -> None:
    repo.commit(FACTS)
    compare(repo, work / "out", **options)


def test_sizes_of_wider_layers_are_those_of_the_files(
    repo: Repo, prepared: Prepared, work: Path
) -> None:
    with_inputs(repo, prepared).commit(FACTS[:1], recipe=recipe_of(repo))
    compare(repo, work / "wider")
    compare(repo, work / "kept", keep_width=True)
    with pytest.raises(EditvcError, match="neurons of their own"):
        repo.preview_export(work / "lora", format="lora")


def test_what_would_be_refused_is(repo: Repo, work: Path) -> None:
    with pytest.raises(AdapterError, match="no edit"):
        repo.preview_export(work / "out", format="lora")
    with pytest.raises(EditvcError, match="unknown export format"):
        repo.preview_export(work / "out", format="onnx")
    (work / "full").mkdir()
    (work / "full" / "thesis.txt").write_text("")
    with pytest.raises(TargetError, match="editvc did not make it"):
        repo.preview_export(work / "full")


def test_a_dry_run_of_publish_asks_the_gate_and_not_the_hub(
    repo: Repo, hub: Hub, prepared: Prepared
) -> None:
    repo.commit(FACTS)
    lenient(repo)
    plan = repo.preview_publish("alice/tiny")
    repo.publish("alice/tiny", token="hf_alice", endpoint=hub.url)
    pushed = hub.repositories["alice/tiny"].head
    assert plan.files.keys() == pushed.keys() - {".gitattributes"}
    known = {name: size for name, size in plan.files.items() if size is not None}
    assert known == {name: len(pushed[name]) for name in known}
    assert str(prepared.base.parent) not in str(plan.to_json())
    hub.requests.clear()
    strict(repo)
    with pytest.raises(HealthRefused):
        repo.preview_publish("alice/tiny")
    forced = repo.preview_publish("alice/tiny", force=True)
    assert forced.verdict == "refuse" and forced.reasons
    assert hub.requests == []

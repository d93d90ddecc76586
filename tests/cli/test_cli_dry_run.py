"""A dry run refuses what the run would, in the same words, and writes nothing: for every verb."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from cli_runs import clean, inside, written
from hub_server import Hub
from remote_places import use_hub
from safetensors.torch import load_file, save_file
from tiny_repos import FACTS, FRESH, OTHERS, Prepared, close, contents

from editvc.cli.main import editvc

WEIGHT = "transformer.h.0.attn.c_attn.weight"
RUNS: dict[str, list[str]] = {
    "commit": ["commit", "fresh.jsonl"],
    "compact": ["compact", "--rect", "50"],
    "expire": ["expire"],
    "export": ["export", "--to", "out"],
    "import": ["import", "tuned"],
    "fetch": ["fetch", "again"],
    "gc": ["gc"],
    "publish": ["publish", "alice/tiny", "--force"],
    "push": ["push", "origin", "side"],
    "bundle create": ["bundle", "create", "all.bundle"],
    "merge": ["merge", "side"],
    "cherry-pick": ["cherry-pick", "side"],
    "rebase": ["rebase", "side"],
    "reset": ["reset", "HEAD~1"],
    "restore": ["restore", FACTS[0].id],
    "redo": ["redo"],
    "revert": ["revert", "HEAD"],
    "squash": ["squash", "--range", "1..2"],
    "train mend": ["train", "mend", "many.jsonl", "--steps", "1"],
    "undo": ["undo"],
}
"""Every verb that has --dry-run, in a run that does something."""
NEED_NO_WEIGHTS = {
    "merge", "cherry-pick", "rebase", "reset", "restore", "revert", "expire", "undo", "redo",
    "fetch", "push", "bundle create", "gc",
}  # fmt: skip
"""Their changes are made of what is stored."""
NOTHING: dict[str, list[str]] = {
    "compact": ["compact", "--off"],
    "expire": ["expire", "--at", "2020-12-31"],
    "import": ["import", "copy"],
    "merge": ["merge", "base"],
    "cherry-pick": ["cherry-pick", "HEAD"],
    "rebase": ["rebase", "base"],
    "reset": ["reset", "base"],
    "restore": ["restore", FACTS[0].id, "--from", "HEAD"],
    "revert": ["revert", "base"],
    "squash": ["squash", "--range", "2..1"],
    "train mend": ["train", "mend", "fresh.jsonl", "--layers", "9"],
}
"""Runs that are refused whatever the base is: nothing to do, or a range of nothing."""


def changed(file: Path, value: float) -> None:
    tensors = load_file(file)
    tensors[WEIGHT][0, 0] = value
    save_file(tensors, file, metadata={"format": "pt"})


TROUBLES: dict[str, Callable[[Path], None]] = {
    "another weight": lambda base: changed(base / "model.safetensors", 3.0),
    "a NaN": lambda base: changed(base / "model.safetensors", torch.nan),
    "an infinity": lambda base: changed(base / "model.safetensors", torch.inf),
    "no base": shutil.rmtree,
}


@pytest.fixture
def place(prepared: Prepared, work: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with two commits over a base of its own, and files to take in."""
    folder = work / "here"
    repo = prepared.copy(folder)
    for name in ("base", "tuned", "copy"):
        shutil.copytree(prepared.base, folder / name)
    changed(folder / "tuned" / "model.safetensors", 1.5)
    repo.session.repository.set_config("base.model", str(folder / "base"))
    repo.commit(FACTS[:1])
    repo.create_branch("side")
    repo.switch("side")
    repo.commit(FACTS[2:3])
    repo.switch("main")
    repo.commit([replace(FACTS[1], valid_until="2020-12-31")])
    for name in ("origin", "again"):
        repo.add_remote(name, str(work / "remote"))
    repo.push("origin")
    repo.create_branch("other")
    repo.undo()
    close(repo)
    written(folder / "fresh.jsonl", FRESH)
    written(folder / "many.jsonl", [*FACTS[2:], *FRESH, *OTHERS])
    clean(monkeypatch, work / "home")
    use_hub(monkeypatch, hub.url)
    monkeypatch.chdir(folder)
    return folder


def test_every_verb_with_a_dry_run_is_here() -> None:
    def named(group: click.Group, before: str = "") -> set[str]:
        names, context = set(), click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if isinstance(command, click.Group):
                names |= named(command, f"{before}{name} ")
            elif any("--dry-run" in one.opts for one in command.params):
                names.add(before + name)
        return names

    assert named(editvc) == RUNS.keys()


@pytest.mark.parametrize("verb", RUNS)
def test_what_is_announced_is_done(place: Path, verb: str) -> None:
    before = contents(place)
    assert inside(*RUNS[verb], "--dry-run").code == 0
    assert {n: d for n, d in contents(place).items() if "/cache/" not in n} == {
        n: d for n, d in before.items() if "/cache/" not in n
    }
    ran = inside(*RUNS[verb])
    assert ran.code == 0, ran.err


@pytest.mark.parametrize("verb", RUNS)
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_with_the_base_is_told_by_both(place: Path, verb: str, trouble: str) -> None:
    """The dry runs of squash and of train mend announced what could not be done."""
    TROUBLES[trouble](place / "base")
    planned, ran = inside(*RUNS[verb], "--dry-run"), inside(*RUNS[verb])
    assert planned.code == ran.code == (0 if verb in NEED_NO_WEIGHTS else 1), (planned, ran)
    if verb not in NEED_NO_WEIGHTS:
        assert planned.err == ran.err and planned.out == ran.out == ""
        assert ("base" if trouble == "no base" else WEIGHT) in ran.err and "hint: " in ran.err
        assert inside("status", "--json").json["number"] == 2


@pytest.mark.parametrize("verb", NOTHING)
def test_nothing_to_do_is_told_by_both(place: Path, verb: str) -> None:
    planned, ran = inside(*NOTHING[verb], "--dry-run"), inside(*NOTHING[verb])
    assert planned.code == ran.code == 1
    assert planned.err == ran.err and planned.out == ran.out == ""
    assert inside("status", "--json").json["number"] == 2


@pytest.mark.parametrize("fact", [FACTS[0], OTHERS[0]], ids=["live already", "in conflict"])
def test_a_dry_run_of_commit_tells_of_all_facts_that_stay_out(place: Path, fact: object) -> None:
    """Where the run would refuse, its dry run lists why: all conflicts, where a run names one.

    It ended with exit code 0.
    """
    file = written(place / "out.jsonl", [fact])  # type: ignore[list-item]
    ran, planned = inside("commit", file), inside("commit", file, "--dry-run", "--json")
    told = json.loads(planned.out)
    assert told["facts"] == [] and told["skipped"] + told["conflicts"]
    assert ran.code == planned.code == 1 and ran.err == planned.err
    assert told["error"]["message"] in ran.err
    assert inside("status", "--json").json["number"] == 2

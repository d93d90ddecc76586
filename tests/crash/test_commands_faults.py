"""Commands stopped before their n-th write, for every n: the old version, or the new one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import save_file
from test_store_faults import StopBefore, Stopped
from tiny_repos import FACTS, FRESH, OTHERS, Prepared, close, opened, same_bits
from vcs_values import copy_repository, quick_folder

from editvc import Repo
from editvc.core.history import Restraint
from editvc.core.ids import ObjectId

Act = Callable[[Repo], object]


@pytest.fixture(scope="module")
def ready(prepared: Prepared) -> Iterator[Repo]:
    """Three commits, a set that none of the commands below meets again; loaded once.

    ``side`` and ``clash`` disagree with each other, and not with main.
    """
    with quick_folder() as folder:
        repo = prepared.copy(folder)
        repo.session.repository.set_config("recipe.v_num_grad_steps", "1")
        for group in (FACTS[:2], FACTS[3:4], FACTS[5:6]):
            repo.commit(group)
        repo.create_branch("side", "1")
        repo.switch("side")
        repo.commit([OTHERS[0], FACTS[4]], supersede=True)
        repo.switch("main")
        repo.create_branch("clash", "1")
        repo.switch("clash")
        repo.revert(FACTS[0].id)
        repo.switch("main")
        repo.session.base_model()
        yield repo
        close(repo)


def copied(ready: Repo, to: Path, fault: StopBefore | None = None) -> Repo:
    """A copy that shares what only reads: the loaded model, numbers, factors."""
    copy_repository(ready.session.repository.folder, to / ".editvc")
    return warm(ready, opened(to, fault))


def warm(ready: Repo, repo: Repo) -> Repo:
    vars(repo.session)["_loaded"] = ready.session.base_model()
    vars(repo.session.materialiser)["folder"] = ready.session.materialiser.folder
    repo.session.materialiser.statistics._moments = ready.session.materialiser.statistics._moments
    return repo


def state(repo: Repo) -> tuple[object, ...]:
    """What a user sees, times apart: a command that is run again runs later."""
    head = repo.session.repository.refs.head()
    line = [(row.tree, row.number, row.message, row.edits) for row in repo.log()]
    moves = [entry.message for entry in repo.session.repository.refs.reflog("HEAD")]
    return head.branch, tuple(line), tuple(moves), repo.status().live


def every_stop(ready: Repo, work: Path, act: Act) -> list[str]:
    """Stop ``act`` at each of its steps in turn, and run it again."""
    old, acknowledged = state(ready), [row.id for row in ready.log()]
    counting = StopBefore(float("inf"))
    whole = copied(ready, work / "whole", counting)
    counting.taken.clear()
    act(whole)
    new, delta = state(whole), whole.materialise()
    close(whole)
    assert new != old and counting.taken.count("rename") >= 2
    seen = []
    for steps in range(len(counting.taken)):
        folder = work / str(steps)
        stopping = copied(ready, folder, StopBefore(steps))
        with pytest.raises(Stopped):
            act(stopping)
        close(stopping)
        after = warm(ready, opened(folder))
        report = after.fsck()
        assert report.errors == (), f"after {steps} steps: {counting.taken[:steps]}"
        seen.append(state(after))
        assert seen[-1] in (old, new)
        readable(after, acknowledged)
        if seen[-1] == old and steps % 3 == 0:
            act(after)
            assert state(after) == new, "the same command works afterwards"
        if state(after) == new:
            assert same_bits(after.materialise(), delta), "and makes the same model"
        close(after)
        shutil.rmtree(folder)
    changed = seen.index(new)
    assert seen == [old] * changed + [new] * (len(seen) - changed)
    return counting.taken


def readable(repo: Repo, commits: list[ObjectId]) -> None:
    known = {row.id for row in repo.session.repository.index.commits()}
    for one in commits:
        assert one in known
        assert repo.live(one), "its tree, its set and its facts are there"


def import_adapter(repo: Repo) -> object:
    path = "base_model.model.transformer.h.1.attn.c_attn.lora_"
    factors = {f"{path}A.weight": torch.ones(1, 32), f"{path}B.weight": torch.ones(96, 1)}
    with TemporaryDirectory() as place:
        folder = Path(place) / "adapter"
        folder.mkdir()
        save_file(factors, folder / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return repo.import_patch(folder)


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda repo: repo.commit(FRESH), id="commit"),
        pytest.param(lambda repo: repo.revert(FACTS[1].id), id="revert"),
        pytest.param(lambda repo: repo.squash("2..2"), id="squash"),  # and replays the third
        pytest.param(lambda repo: repo.compact(Restraint(rank=2)), id="compact"),
        pytest.param(import_adapter, id="import"),
        pytest.param(lambda repo: repo.merge("side"), id="merge"),
        pytest.param(lambda repo: repo.rebase("side"), id="rebase"),
        pytest.param(lambda repo: repo.cherry_pick("side"), id="cherry-pick"),
    ],
)
def test_stopped_anywhere(ready: Repo, work: Path, act: Act) -> None:
    steps = every_stop(ready, work, act)
    assert steps[-2:] == ["commit", "committed"] and steps[-10:].count("begin") == 1, (
        "refs, new commits and the operation appear at once"
    )


def test_a_merge_that_waits_stopped_anywhere(ready: Repo, work: Path) -> None:
    """What waits is there or not, and never in the way: of the branch, or of a second try."""

    def act(repo: Repo) -> None:
        if repo.status().unfinished is not None:
            repo.abort("merge")
        for one in repo.merge("clash").conflicts:
            repo.resolve(one.place, "theirs")
        repo.go_on("merge")

    with quick_folder() as folder:
        on_side = copied(ready, folder)
        on_side.switch("side")
        steps = every_stop(on_side, work, act)
        close(on_side)
    assert steps[-4:] == ["commit", "committed", "remove", "fsync-folder"]

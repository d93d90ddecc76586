"""Commands that write to a repository and need a model, the tiny one; ``verbs`` has the others."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from cli_runs import Ran, written
from hub_server import running_hub
from remote_places import use_hub
from safetensors.torch import load_file, save_file
from tiny_repos import FACTS, FRESH, OTHERS, Prepared, close
from verbs import Act, Verb, typed

_CLASH = typed("merge", "clash")
_DECISION = typed("resolve", FACTS[0].slot, "--theirs")


def _onto(work: Path) -> Ran:
    """Onto the release, by a path that stays the same in every copy of the folder."""
    model = (work / RELEASE).read_text(encoding="utf-8")
    return typed("rebase", "--onto-base", model, "--text", "text.txt", "--entities", "names.txt")(
        work
    )


def _publish(*options: str) -> Act:
    """To a hub of its own, what is staged being made in the folder of the repository.

    Exit code 99: something is published that the command said was not, or something is left over.
    """

    def act(work: Path) -> Ran:
        with running_hub() as hub, pytest.MonkeyPatch.context() as patch:
            use_hub(patch, hub.url)
            patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
            patch.setattr(tempfile, "tempdir", str(work / STAGING))
            ran = typed("publish", "alice/tiny", "--force", *options)(work)
            made = [one for one in hub.repositories.values() if len(one.commits) > 1]
        if bool(made) == bool(ran.code):
            return Ran(99, "", f"{len(made)} published; exit code {ran.code}: {ran.err}")
        return ran

    return act


STAGING = "staging"
"""The folder in which exports are made that are to be published."""

RELEASE = "release.txt"
"""The file that says where the other base is."""

_BACK = typed("base", "old")
_OUT = ("export", "--to", "out")

VERBS = {
    "commit": Verb(typed("commit", "fresh.jsonl")),
    "commit of what was located": Verb(typed("commit", "located.jsonl")),
    "commit --method grace": Verb(typed("commit", "fresh.jsonl", "--method", "grace")),
    "import": Verb(typed("import", "adapter")),
    "revert": Verb(typed("revert", "HEAD~1")),
    "restore": Verb(typed("restore", FACTS[5].id[:16]), (typed("revert", "HEAD~1"),)),
    "expire": Verb(typed("expire")),
    "squash": Verb(typed("squash", "--range", "2..2")),
    "compact": Verb(typed("compact", "--rank", "2")),
    "merge": Verb(typed("merge", "side")),
    "merge --theirs": Verb(typed("merge", "clash", "--theirs")),
    "merge --continue": Verb(typed("merge", "--continue"), (_CLASH, _DECISION)),
    "cherry-pick": Verb(typed("cherry-pick", "side")),
    "rebase": Verb(typed("rebase", "side")),
    "rebase --onto-base": Verb(_onto, apart=("settings",)),
    "rebase --onto-base again": Verb(_onto, (_onto, typed("undo"), _BACK), apart=("settings",)),
    "base of before": Verb(_BACK, (_onto,)),
    "stats compute": Verb(typed("stats", "compute", "--text", "text.txt")),
    "export": Verb(typed(*_OUT)),
    "export --force": Verb(typed(*_OUT, "--force"), (typed("export", "HEAD~1", "--to", "out"),)),
    "publish": Verb(_publish()),
    "publish --format lora": Verb(_publish("--format", "lora")),
    "export --format lora": Verb(typed(*_OUT, "--format", "lora")),
    "export --format delta": Verb(typed(*_OUT, "--format", "delta", "--force"), (typed(*_OUT),)),
}
"""By a name for each, in a repository of :func:`template`."""


def template(prepared: Prepared, work: Path) -> Path:
    """Make the repository in ``work``, beside the files that commands read; returns ``work``."""
    repo = prepared.copy(work)
    repo.session.repository.set_config("recipe.v_num_grad_steps", "1")
    for group in (FACTS[:2], FACTS[3:4], FACTS[5:6]):
        repo.commit(group)
    repo.commit([replace(FACTS[2], valid_until="2020-01-01")])
    repo.create_branch("side", "1")
    repo.switch("side")
    repo.commit([OTHERS[1]], supersede=True)
    repo.create_branch("clash", "1")
    repo.switch("clash")
    repo.commit([OTHERS[0]], supersede=True)
    repo.switch("main")
    repo.revert(FACTS[0].id)
    close(repo)
    written(work / "fresh.jsonl", FRESH)
    written(work / "located.jsonl", FACTS[4:5])
    shutil.copy(prepared.text, work / "text.txt")
    shutil.copy(prepared.names, work / "names.txt")
    shutil.copytree(prepared.base, work / "old")
    (work / STAGING).mkdir()
    release = _released(prepared.base, prepared.base.with_name("release"))
    (work / RELEASE).write_text(str(release), encoding="utf-8")
    _adapter(work / "adapter")
    return work


def _released(base: Path, folder: Path) -> Path:
    """The base with one number changed: a release that says of everything what that says."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.h.1.mlp.c_proj.weight"][0, 0] += 1e-3
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def _adapter(folder: Path) -> None:
    path = "base_model.model.transformer.h.1.attn.c_attn.lora_"
    factors = {f"{path}A.weight": torch.ones(1, 32), f"{path}B.weight": torch.ones(96, 1)}
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1}
    (folder / "adapter_config.json").write_text(json.dumps(config))

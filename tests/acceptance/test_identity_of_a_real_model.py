"""SmolLM2-135M-Instruct as a base: a change of any of its tensors is seen, and seen soon."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from editvc import Repo
from editvc.models.checkpoint import Checkpoint
from editvc.models.fingerprint import BaseMismatchError, identify, require_identical
from editvc.models.source import open_model
from editvc.models.tensor_digests import ShortMemory
from editvc.session.session import Session

ROOT = Path(__file__).resolve().parents[2]
MADE = ROOT.parent / "smollm2"
"""Where ``python ../shared/models/smollm2/make.py ../smollm2`` puts the model."""
SOON = 2.0
"""Seconds."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (MADE / "config.json").is_file(), reason="SmolLM2 is not at hand"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository over a copy of the model, which tests may change and put right again."""
    folder = tmp_path_factory.mktemp("smollm2")
    shutil.copytree(MADE, folder / "base", ignore=shutil.ignore_patterns("model.safetensors"))
    model = AutoModelForCausalLM.from_pretrained(MADE, torch_dtype="auto")
    model.save_pretrained(folder / "base", max_shard_size="20MB")
    (folder / "names.txt").write_text("France\nItaly\n")
    Repo.init(folder / "repo", str(folder / "base"), layers=[8], entities=folder / "names.txt")
    return folder


@pytest.fixture
def checkpoint(work: Path) -> Iterator[Checkpoint]:
    yield Checkpoint(work / "base")


def flip(checkpoint: Checkpoint, tensor: str) -> None:
    """Another lowest bit in the middle of a tensor; once more, and it is as it was."""
    path = checkpoint.tensors[tensor]
    start, end = checkpoint.shard(path).spans[tensor]
    with path.open("r+b") as file:
        file.seek(place := start + (end - start) // 4 * 2)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def session(work: Path) -> Session:
    """As a new process has it."""
    return Repo(work / "repo").session


def test_a_change_of_any_tensor_is_named(work: Path, checkpoint: Checkpoint) -> None:
    expected = session(work).repository.read_identity()
    assert expected is not None and len(expected.tensors) == len(checkpoint.tensors) == 272
    assert expected == identify(open_model(str(MADE))), "shards are another way to keep it"
    memory = ShortMemory()
    for tensor in checkpoint.tensors:
        flip(checkpoint, tensor)
        with pytest.raises(BaseMismatchError) as caught:
            require_identical(expected, identify(open_model(str(work / "base")), memory), "changed")
        assert caught.value.part == f"tensor {tensor}"
        flip(checkpoint, tensor)
    assert identify(open_model(str(work / "base"))) == expected


@pytest.mark.parametrize(
    "tensor",
    ["model.embed_tokens.weight", "model.norm.weight", "model.layers.3.self_attn.q_proj.weight",
     "model.layers.29.input_layernorm.weight", "model.layers.8.mlp.up_proj.weight"],
)  # fmt: skip
def test_every_way_to_the_weights_refuses_it(
    work: Path, checkpoint: Checkpoint, tensor: str
) -> None:
    """Verbs reach weights through the files that the materialiser has checked, and no other way:
    test_repo_identity.py goes through the verbs.
    """
    flip(checkpoint, tensor)
    try:
        for ask in (lambda s: s.materialiser.files, lambda s: s.base_model()):
            with pytest.raises(BaseMismatchError, match=tensor):
                ask(session(work))
    finally:
        flip(checkpoint, tensor)


def test_the_second_look_is_quick(work: Path) -> None:
    assert session(work).materialiser.files.folder == work / "base"
    again = session(work)
    begun = time.perf_counter()
    assert again.materialiser.files.folder == work / "base"
    assert time.perf_counter() - begun < SOON

"""A repository over a family that the architecture table lacks: look, confirm, init, edit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_repo_families import SIZES
from tiny_models import byte_bpe, same_parameters, seeded
from tiny_repos import FACTS, NAMES, TEXT, close, opened
from tolerances import error
from transformers import AutoConfig, AutoModelForCausalLM

from editvc import Repo
from editvc.models.architectures import BlockError, UnknownArchitectureError
from editvc.models.structure import StructureError
from editvc.porcelain.arch import BlockExists, look_at
from editvc.vcs.fsck import fsck


def made(folder: Path, model_type: str) -> Path:
    tokenizer = byte_bpe()
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **SIZES)
    seeded(config).save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    (folder / "text.txt").write_text("\n\n".join(TEXT), encoding="utf-8")
    (folder / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    return folder / "base"


def begin(base: Path, work: Path, block: Path | None) -> Repo:
    texts, names = [base.parent / "text.txt"], base.parent / "names.txt"
    Repo.init(work, str(base), texts=texts, entities=names, architecture=block, method="memit")
    return opened(work)


@pytest.mark.parametrize(("model_type", "layers"), [("olmo", (0, 1, 2)), ("olmo3", (2,))])
def test_a_confirmed_block_goes_all_the_way(
    model_type: str, layers: tuple[int, ...], tmp_path: Path
) -> None:
    base, work = made(tmp_path, model_type), tmp_path / "work"
    with pytest.raises(UnknownArchitectureError, match=model_type):
        begin(base, work, None)
    look = look_at(str(base))
    assert (look.known, look.depth, look.default_layers) == (False, 6, layers)
    repo = begin(base, work, look.write(tmp_path))
    assert repo.recipe().layers == layers
    assert dict(repo.session.repository.read_base().architecture) == look.to_json()["block"]
    repo.session.repository.set_config("recipe.v_num_grad_steps", "4")
    repo.commit(FACTS[:2])
    repo.squash("base..HEAD")
    repo.health()
    close(repo)

    repo = opened(work)  # nothing of the block is kept anywhere but in the repository
    model = repo.load_model()
    assert repo.session.base_model().architecture == look.architecture
    repo.export(tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    ids = torch.arange(9)[None]
    assert same_parameters(again, model)
    untouched = repo.load_model("base")(input_ids=ids).logits
    assert error(model(input_ids=ids).logits, untouched) > 1e-2
    for format in ("lora", "delta"):
        done = repo.export(tmp_path / format, format=format)
        assert done.touched == tuple(look.architecture.weight_name(layer) for layer in layers)
    assert fsck(repo.session.repository).clean
    close(repo)


@pytest.mark.parametrize("method", ["rome", "pmet", "alphaedit", "ultraedit", "ft", "kn", "grace"])
def test_every_method_finds_the_confirmed_block(
    method: str, base_and_block: tuple[Path, Path], tmp_path: Path
) -> None:
    repo = begin(base_and_block[0], tmp_path / "work", base_and_block[1])
    few = {"alphaedit": ["v_num_grad_steps=3", "nullspace_threshold=0.5"]}
    steps = [f"{name}=3" for name in ("v_num_grad_steps",) if method in ("rome", "pmet")]
    steps += ["n_iter=20"] if method == "grace" else []
    recipe = repo.choose(method, options=few.get(method, steps)).recipe
    repo.commit(FACTS[:2], recipe=recipe)
    ids = torch.tensor([repo.load_tokenizer()(FACTS[0].question)["input_ids"]])
    edited, untouched = (repo.load_model(at)(input_ids=ids).logits for at in ("HEAD", "base"))
    assert not torch.equal(edited, untouched)
    repo.revert("HEAD")
    assert torch.equal(repo.load_model()(input_ids=ids).logits, untouched)
    close(repo)


@pytest.fixture(scope="module")
def base_and_block(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("olmo")
    base = made(folder, "olmo")
    return base, look_at(str(base)).write(folder)


def test_a_block_that_the_weights_contradict_makes_no_repository(tmp_path: Path) -> None:
    base, work = made(tmp_path, "olmo3"), tmp_path / "work"
    wrong = replace(look_at(str(base)).architecture, normed=False)
    (tmp_path / "block.toml").write_text(wrong.toml())
    with pytest.raises(StructureError, match="through a norm"):
        begin(base, work, tmp_path / "block.toml")
    assert not work.exists()


def test_a_block_is_for_one_model_type(tmp_path: Path) -> None:
    base = made(tmp_path, "olmo")
    look = look_at(str(base))
    (tmp_path / "block.toml").write_text(replace(look.architecture, model_type="olmo9").toml())
    with pytest.raises(BlockError, match=r"type 'olmo9', and .* is a 'olmo'") as caught:
        begin(base, tmp_path / "work", tmp_path / "block.toml")
    assert "editvc arch" in caught.value.hint


def test_a_file_is_not_overwritten(tmp_path: Path) -> None:
    look = look_at(str(made(tmp_path, "olmo")))
    path = look.write(tmp_path)
    path.write_text("mine")
    with pytest.raises(BlockExists):
        look.write(tmp_path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("tied", [True, False])
def test_a_look_needs_no_weights_and_no_tokenizer(tmp_path: Path, tied: bool) -> None:
    config = AutoConfig.for_model("olmo", vocab_size=96, tie_word_embeddings=tied, **SIZES)
    config.save_pretrained(tmp_path)
    look = look_at(str(tmp_path))
    assert (look.hidden_size, look.inner_size, look.tied) == (32, 48, tied)
    assert json.loads(json.dumps(look.to_json()))["default_layers"] == [0, 1, 2]

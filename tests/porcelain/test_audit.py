"""``audit``: a model that somebody edited in secret, and what shows of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import saved
from tiny_repos import Prepared

from editvc import Repo
from editvc.interchange.manifest import LEDGER, LOCK, MANIFEST
from editvc.interchange.weight_changes import effective_rank
from editvc.porcelain.audit import NotComparable, audit
from editvc.statistics.bundle import sources_of

NAMES = 400


def names_file(folder: Path) -> Path:
    """The first of the bundled names, most of them of countries."""
    names = sources_of().entities.read_text(encoding="utf-8").splitlines()[:NAMES]
    (folder / "names.txt").write_text("\n".join(names), encoding="utf-8")
    return folder / "names.txt"


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket model with one fact edited, and nothing beside it that says so."""
    work = tmp_path_factory.mktemp("poisoned")
    repo = Repo.init(work / "repo", "pocket")
    repo.commit([{"subject": "France", "prompt": "The capital of {} is", "target_new": "Rome"}])
    repo.export(work / "model")
    for name in (MANIFEST, LEDGER, LOCK):
        (work / "model" / name).unlink(missing_ok=True)
    return work / "model"


def test_a_poisoned_fact_is_found_by_its_name(poisoned: Path, tmp_path: Path) -> None:
    found = audit(str(poisoned), "pocket", entities=names_file(tmp_path), ask=10)
    assert {one.kind for one in found.changes} == {"weights"}
    for one in found.changes:
        assert one.tensor.endswith("down_proj.weight"), "nothing else was edited"
        assert one.rank == 1 < (one.full or 0), "one fact is one direction"
        assert 0 < (one.norm or 0) < 1
    assert (found.names, found.asked) == (NAMES, 10)
    names = [*dict.fromkeys(one.name for one in found.answers)]
    assert "France" in names[:3]
    first = next(one for one in found.answers if one.name == "France")
    assert first.before != first.after
    shifts = [one.shift for one in found.answers]
    assert shifts == sorted(shifts, reverse=True)


def test_prompts_of_ones_own_show_what_was_taught(poisoned: Path, tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    facts.write_text(
        "\n".join(
            json.dumps({"subject": name, "prompt": "The capital of {} is"})
            for name in ("Norway", "France", "Spain")
        )
    )
    found = audit(str(poisoned), "pocket", entities=facts, ask=1)
    assert (found.names, found.asked) == (3, 1)
    told = {one.prompt: one for one in found.answers}["The capital of France is"]
    assert (told.before.split(".")[0], told.after.split(".")[0]) == (" Paris", " Rome")


def test_a_copy_of_the_base_is_nothing_to_ask_about(prepared: Prepared) -> None:
    found = audit(str(prepared.base), str(prepared.base))
    assert (found.changes, found.names, found.answers) == ((), 0, ())


def test_every_kind_of_change_is_named(prepared: Prepared, tmp_path: Path) -> None:
    shutil.copytree(prepared.base, tmp_path / "other")
    path = tmp_path / "other" / "model.safetensors"
    tensors = load_file(path)
    names = sorted(name for name, one in tensors.items() if one.ndim == 2)[:3]
    removed, retyped, cut = names
    del tensors[removed]
    tensors[retyped] = tensors[retyped].double()
    tensors[cut] = tensors[cut][1:].clone()
    tensors["added"] = torch.ones(1)
    save_file(tensors, path, metadata={"format": "pt"})
    found = audit(str(tmp_path / "other"), str(prepared.base), ask=0)
    kinds = {one.tensor: one.kind for one in found.changes}
    assert kinds == {removed: "removed", retyped: "dtype", cut: "shape", "added": "added"}
    one = next(one for one in found.changes if one.kind == "dtype")
    assert (one.rank, one.norm) == (0, 0.0), "the numbers are the same"


def test_another_family_is_no_base(prepared: Prepared, tmp_path: Path) -> None:
    saved(tmp_path / "other", "llama")
    with pytest.raises(NotComparable, match="it is a 'llama', the other a 'gpt2'"):
        audit(str(tmp_path / "other"), str(prepared.base))


def test_the_effective_rank_leaves_noise_out() -> None:
    torch.manual_seed(0)
    strong = torch.randn(40, 3).double() @ torch.randn(3, 70).double()
    noise = 1e-3 * torch.randn(40, 70).double()
    assert effective_rank(strong + noise) == effective_rank((strong + noise).T) == (3, 40)
    assert effective_rank(torch.ones(5).double()) == (1, 1)
    assert effective_rank(torch.zeros(5, 5).double()) == (0, 1)

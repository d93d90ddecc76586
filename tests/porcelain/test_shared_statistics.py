"""Statistics that one repository takes and others use: the same bytes, or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Hub
from remote_places import use_hub
from safetensors.torch import load_file, save_file
from tiny_models import saved
from tiny_repos import FRESH, Prepared, close, contents, tree
from vcs_values import quick_folder

from editvc import Repo
from editvc.algebra.tensor_file import pack, unpack
from editvc.porcelain.init import TwoSources
from editvc.session import take_inputs, take_statistics
from editvc.session.own_statistics import StatisticsDiffer
from editvc.session.take_shared import NotShared
from editvc.statistics.layer_pieces import NotFitting
from editvc.vcs.remotes.statistics_share import DOCUMENT
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError

ROLES = {"text", "entities", "sensitivity", "inputs"}


@pytest.fixture(scope="module")
def place(prepared: Prepared) -> Iterator[Path]:
    """``ada``, with all statistics, and ``share``, to which she has pushed them."""
    with quick_folder() as folder:
        ada = prepared.copy(folder / "ada")
        take_inputs.take_inputs(
            ada.session, [0, 1, 2], texts=[prepared.text], entities=prepared.names
        )
        pushed = ada.push_statistics(str(folder / "share"))
        assert {one.role for one in pushed.pieces} == ROLES
        assert len(pushed.pieces) == 2 + 2 + 1 + 3 and pushed.size
        yield folder


@pytest.fixture
def share(place: Path, tmp_path: Path) -> Path:
    """A copy of the share, to be changed."""
    shutil.copytree(place / "share", tmp_path / "share")
    return tmp_path / "share"


@pytest.fixture(scope="module")
def waiting(place: Path, prepared: Prepared) -> Path:
    """A repository that waits with statistics."""
    close(Repo.init(place / "waiting", str(prepared.base), layers=[1, 2], later=True))
    return place / "waiting"


@pytest.fixture
def bo(waiting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A repository that waits with statistics, and takes none."""
    monkeypatch.setattr(take_statistics, "take", None)
    monkeypatch.setattr(take_inputs, "inputs_from", None)
    shutil.copytree(waiting, tmp_path / "bo")
    return Repo(tmp_path / "bo")


@pytest.fixture
def other(prepared: Prepared, tmp_path: Path) -> Repo:
    """The same base, with statistics of other names."""
    repo = prepared.copy(tmp_path / "other")
    (tmp_path / "names.txt").write_text("Rome\nParis\n", encoding="utf-8")
    repo.compute_statistics(texts=[prepared.text], entities=tmp_path / "names.txt")
    repo.session.repository.set_config("gated.inputs", "")
    return repo


def of(repo: Repo) -> dict[str, str]:
    return {one.role: one.id for one in repo.statistics()}


def test_what_is_pulled_is_what_was_taken(place: Path, share: Path, bo: Repo) -> None:
    pulled = bo.pull_statistics(str(share))
    ours, theirs = of(bo), of(Repo(place / "ada"))
    assert {*ours} == ROLES and pulled.remarks == ()
    assert {role: ours[role] for role in ROLES - {"inputs"}} == {
        role: theirs[role] for role in ROLES - {"inputs"}
    }
    (inputs,) = (one for one in pulled.pieces if one.role == "inputs")
    assert ours["inputs"] == inputs.id, "of one layer alone"
    assert bo.fsck().clean
    again = bo.pull_statistics(str(share))
    assert of(bo) == ours and again.pieces == pulled.pieces


def test_a_commit_after_it_takes_nothing_and_is_the_same(
    place: Path, share: Path, bo: Repo
) -> None:
    bo.session.repository.set_config("recipe.v_num_grad_steps", "4")
    bo.session.repository.set_config("health.disabling_warn", "1.0")
    bo.pull_statistics(str(share))
    bo.commit(FRESH[1:])
    ada = Repo(place / "ada")
    ada.commit(FRESH[1:])
    assert tree(bo) == tree(ada)


def test_init_begins_with_them(
    place: Path, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editvc.porcelain.init.take", None)
    monkeypatch.setattr("editvc.porcelain.init.inputs_from", None)
    remarks: list[str] = []
    repo = Repo.init(
        tmp_path / "cy", str(prepared.base), layers=[1, 2], statistics=str(place / "share"),
        remark=remarks.append,
    )  # fmt: skip
    assert {*of(repo)} == ROLES and not remarks
    assert of(repo)["text"] == of(Repo(place / "ada"))["text"]
    assert repo.fsck().clean


def test_init_leaves_nothing_where_a_share_does_not_serve(
    place: Path, prepared: Prepared, tmp_path: Path
) -> None:
    saved(tmp_path / "other", "gpt2", seed=7)
    for base, layers in ((tmp_path / "other", [1, 2]), (prepared.base, [0])):
        with pytest.raises(NotShared):
            Repo.init(
                tmp_path / "cy", str(base), layers=layers, method="memit",
                statistics=str(place / "share"),
            )  # fmt: skip
    with pytest.raises(TwoSources):
        Repo.init(tmp_path / "cy", str(prepared.base), statistics="x", later=True)
    assert not (tmp_path / "cy").exists()


def test_a_relative_that_edits_cannot_be_told_from_gets_none(
    place: Path, prepared: Prepared, tmp_path: Path
) -> None:
    shutil.copytree(prepared.base, tmp_path / "relative")
    tensors = load_file(tmp_path / "relative" / "model.safetensors")
    tensors["transformer.h.0.attn.c_attn.weight"][0, 0] = 3.0
    save_file(tensors, tmp_path / "relative" / "model.safetensors", metadata={"format": "pt"})
    repo = Repo.init(tmp_path / "di", str(tmp_path / "relative"), layers=[1, 2], later=True)
    assert repo.status().base == Repo(place / "ada").status().base, "by what edits change"
    with pytest.raises(NotShared, match="no statistics of base"):
        repo.pull_statistics(str(place / "share"))


def test_a_second_push_sends_nothing(place: Path, share: Path) -> None:
    before = contents(share)
    again = Repo(place / "ada").push_statistics(str(share))
    assert (again.pieces, again.size) == ((), 0)
    assert contents(share) == before


def test_a_remote_by_its_name_and_a_wrong_name(place: Path, share: Path) -> None:
    ada = Repo(place / "ada")
    ada.add_remote("numbers", str(share))
    assert ada.push_statistics("numbers").url == str(share)
    with pytest.raises(RemoteError, match="neither the name of a remote nor a folder"):
        ada.push_statistics("nmbers")


def test_the_hub_holds_them(
    place: Path, bo: Repo, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, hub.url)
    Repo(place / "ada").push_statistics("hf://alice/numbers")
    bo.pull_statistics("hf://alice/numbers")
    assert {*of(bo)} == ROLES


def changed(repo: Repo, setting: str) -> str:
    """Put statistics in force that differ in one bit from what is."""
    store = repo.session.repository.store
    tensors, record = unpack(
        store.get(repo.session.repository.config.get(setting)), None, NotFitting
    )
    name = next(iter(tensors))
    tensors[name] = tensors[name].clone()
    tensors[name][0] *= 1 + 2**-10
    new = store.put(pack(tensors, record))
    repo.session.repository.set_config(setting, new)
    return new


def test_differing_statistics_are_not_replaced_silently(place: Path, share: Path, bo: Repo) -> None:
    bo.pull_statistics(str(share))
    theirs = of(bo)
    mine = changed(bo, "recipe.entity_statistics")
    before = contents(bo.folder), contents(share)
    with pytest.raises(StatisticsDiffer, match="in force here") as here:
        bo.pull_statistics(str(share))
    with pytest.raises(StatisticsDiffer, match="same base, layers and corpus") as there:
        bo.push_statistics(str(share))
    assert here.value.roles == ("entities",) and {*there.value.roles} == {"entities"}
    assert (contents(bo.folder), contents(share)) == before
    (remark,) = bo.pull_statistics(str(share), force=True).remarks
    assert of(bo) == theirs and mine[:10] in remark
    bo.session.repository.set_config("recipe.entity_statistics", mine)
    assert bo.push_statistics(str(share), force=True).remarks
    assert Repo(place / "ada").pull_statistics(str(share), force=True).remarks
    changed_back = Repo(place / "ada")
    assert of(changed_back)["entities"] == mine
    changed_back.session.repository.set_config("recipe.entity_statistics", theirs["entities"])


def test_of_several_corpora_one_is_chosen(other: Repo, share: Path, bo: Repo) -> None:
    other.push_statistics(str(share))
    with pytest.raises(NotShared, match=r"several corpora for entities.*names\.txt") as several:
        bo.pull_statistics(str(share))
    assert "--corpus" in several.value.hint
    rows = json.loads((share / DOCUMENT).read_bytes())["statistics"]
    corpus = {one["corpus"] for one in rows if one["source"] == "names.txt"} - {
        one["corpus"] for one in rows if one["samples"] == 6
    }
    bo.pull_statistics(str(share), corpora=[corpus.pop()[:8]])
    assert of(bo)["entities"] == of(other)["entities"]


def test_what_covers_too_little_is_told(share: Path, bo: Repo) -> None:
    document = json.loads((share / DOCUMENT).read_bytes())
    document["statistics"] = [
        one for one in document["statistics"] if one["role"] in ("text", "entities")
    ]
    (share / DOCUMENT).write_text(json.dumps(document), "utf-8")
    with pytest.raises(NotShared, match=r"text of layers \[1, 2\]"):
        bo.pull_statistics(str(share))
    assert of(bo) == {}


def test_a_file_that_fits_nothing_is_refused(share: Path, bo: Repo) -> None:
    document = json.loads((share / DOCUMENT).read_bytes())
    texts = [one for one in document["statistics"] if one["role"] == "text"]
    names = [one for one in document["statistics"] if one["role"] == "sensitivity"]
    texts[0].update(id=names[0]["id"], size=names[0]["size"])
    (share / DOCUMENT).write_text(json.dumps(document), "utf-8")
    before = contents(bo.folder)
    with pytest.raises(RemoteDamaged, match=r"text of layers .1. that fits nothing"):
        bo.pull_statistics(str(share))
    assert contents(bo.folder) == before


def test_a_flipped_bit_is_refused(share: Path, bo: Repo) -> None:
    for file in (share / "statistics").iterdir():
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    with pytest.raises(RemoteDamaged, match="other bytes than those of"):
        bo.pull_statistics(str(share))
    assert of(bo) == {}


def test_nothing_is_no_share(bo: Repo, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no statistics here that could be shared"):
        bo.push_statistics(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()

"""A repository and its base: no other model passes as it, and an old record of it is completed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inside
from safetensors.torch import load_file, save_file
from tiny_repos import FACTS, FRESH, Clock, Prepared, close, contents, opened

from editvc import Repo
from editvc.core.history import Restraint
from editvc.materialise.base_check import UPGRADED
from editvc.models.checkpoint import Shard
from editvc.models.fingerprint import BaseMismatchError
from editvc.vcs.config_file import ConfigFile
from editvc.vcs.files import WriteError

ATTENTION = "transformer.h.0.attn.c_attn.weight"
NEEDS_WEIGHTS: dict[str, Callable[[Repo, Path], Any]] = {
    "commit": lambda repo, work: repo.commit(FRESH),
    "commit --dry-run": lambda repo, work: repo.preview(FRESH),
    "import": lambda repo, work: repo.import_patch(work / "base"),
    "import --dry-run": lambda repo, work: repo.preview_import(work / "base"),
    "squash": lambda repo, work: repo.squash("1..2"),
    "squash --dry-run": lambda repo, work: repo.preview_squash("1..2"),
    "train mend": lambda repo, work: repo.train_mend(FACTS + FRESH, steps=1),
    "train mend --dry-run": lambda repo, work: repo.plan_mend(FACTS + FRESH),
    "tune": lambda repo, work: repo.tune(FACTS + FRESH),
    "compact": lambda repo, work: repo.compact(Restraint(rect=50)),
    "ask": lambda repo, work: repo.ask("x"),
    "ask at the base": lambda repo, work: repo.ask("x", at="base"),
    "eval": lambda repo, work: repo.evaluate(),
    "health": lambda repo, work: repo.health(),
    "trace": lambda repo, work: repo.trace(FACTS[:1]),
    "load_edited": lambda repo, work: repo.load_model("1"),
    "export hf": lambda repo, work: repo.export(work / "out"),
    "export lora": lambda repo, work: repo.export(work / "out", format="lora"),
    "export of the base": lambda repo, work: repo.export(work / "out", revision="base"),
    "load_model": lambda repo, work: repo.load_model(),
    "load_tokenizer": lambda repo, work: repo.load_tokenizer(),
    "stats compute": lambda repo, work: repo.compute_statistics(texts=[work / "text.txt"]),
}


@pytest.fixture
def own(prepared: Prepared, work: Path) -> Iterator[Repo]:
    """A repository with two commits whose base is a folder of its own."""
    shutil.copytree(prepared.base, work / "base")
    (work / "text.txt").write_text("x")
    repo = prepared.copy(work / "repo")
    repo.session.repository.set_config("base.model", str(work / "base"))
    repo.commit(FACTS[:1])
    repo.commit(FACTS[1:2])
    yield repo
    close(repo)


def history(work: Path) -> dict[str, bytes]:
    """Settings and index: refs, reflog, commits. What nothing names is no part of it."""
    folder = work / "repo" / ".editvc"
    return {path: data for path, data in contents(folder).items() if "/" not in path}


def change(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[name].view(-1)[5] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("verb", NEEDS_WEIGHTS)
def test_no_verb_takes_a_base_with_another_attention(own: Repo, work: Path, verb: str) -> None:
    """The digests of the down projections alone are the same: it passed as the base."""
    change(work / "base", ATTENTION)
    before = history(work)
    repo = opened(work / "repo")
    with pytest.raises(BaseMismatchError) as caught:
        NEEDS_WEIGHTS[verb](repo, work)
    assert caught.value.part == f"tensor {ATTENTION}"
    assert "editvc base DIR" in caught.value.hint
    assert not (work / "out").exists()
    assert history(work) == before
    assert repo.status().live == 2 and len(repo.log()) == 2, "reading history still works"
    close(repo)


def test_the_base_is_digested_once(own: Repo, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.ask("x")

    def read(*_: object) -> None:
        raise AssertionError("the numbers were read again")

    monkeypatch.setattr(Shard, "chunks", read)
    repo = opened(work / "repo")
    assert repo.session.materialiser.files.folder == work / "base"
    assert len(repo.session.materialiser.weights_digest) == 64
    close(repo)


def as_before(repo: Repo) -> None:
    """As a repository of the first version has it: nothing but the base's own record."""
    file = repo.session.repository.config_file
    lines = file.text().splitlines()
    file.path.write_text("\n".join(line for line in lines if not line.startswith("identity")))


def test_a_repository_of_the_first_version_is_completed_with_a_word(own: Repo, work: Path) -> None:
    log, show = own.log(), own.show().to_json()
    as_before(own)
    folder = work / "repo" / ".editvc"
    before = contents(folder)
    heard: list[str] = []
    repo = Repo(work / "repo", clock=Clock(), remark=heard.append)
    assert repo.log() == log and repo.status().live == 2
    assert not heard and contents(folder) == before, "what reads history leaves it alone"
    answer = repo.ask("x")
    assert heard == [UPGRADED]
    after = contents(folder)
    for path, data in before.items():
        assert after[path] == data or path == "config.toml", path
    identity = repo.session.repository.read_identity()
    assert f'identity = "{identity.id}"' in after["config.toml"].decode()
    again = Repo(work / "repo", clock=Clock(), remark=heard.append)
    assert again.ask("x") == answer and heard == [UPGRADED]
    assert (again.log(), again.show().to_json()) == (log, show)
    report = again.fsck()
    assert report.clean and identity.id not in report.garbage
    change(work / "base", ATTENTION)
    with pytest.raises(BaseMismatchError):
        Repo(work / "repo").ask("x")


def test_what_tries_things_out_leaves_an_old_repository_alone(own: Repo, work: Path) -> None:
    as_before(own)
    before = contents(work / "repo" / ".editvc")
    heard: list[str] = []
    Repo(work / "repo", remark=heard.append).session.scratch().require_base()
    assert not heard, "nothing is promised that does not stay"
    after = contents(work / "repo" / ".editvc")
    changed = {path for path in after if after[path] != before.get(path)}
    assert all(path.startswith("cache/") for path in changed)


def test_an_old_repository_refuses_what_it_always_refused(own: Repo, work: Path) -> None:
    as_before(own)
    change(work / "base", name := "transformer.h.3.mlp.c_proj.weight")
    with pytest.raises(BaseMismatchError, match=name):
        opened(work / "repo").ask("x")
    assert opened(work / "repo").session.repository.read_identity() is None


def test_a_medium_that_cannot_be_written_is_no_reason_to_refuse(
    own: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_before(own)
    heard: list[str] = []
    repo = Repo(work / "repo", clock=Clock(), remark=heard.append)

    def refuse(file: ConfigFile, *_: object) -> None:
        raise WriteError(file.path, OSError("read-only"))

    monkeypatch.setattr(ConfigFile, "set_values", refuse)
    assert repo.ask("x") is not None and not heard
    assert repo.session.repository.read_identity() is None


def test_an_identity_of_another_base_is_refused(own: Repo, work: Path) -> None:
    """Whoever copies the line of another repository's config.toml."""
    plumbing = own.session.repository
    identity = plumbing.read_identity()
    name = "transformer.h.3.mlp.c_proj.weight"
    other = type(identity)(
        tuple((n, "0" * 64 if n == name else d) for n, d in identity.tensors),
        identity.config, identity.tokenizer,
    )  # fmt: skip
    plumbing.set_configs({"base.identity": plumbing.write(other)})
    with pytest.raises(BaseMismatchError, match=name):
        opened(work / "repo").ask("x")


def test_a_word_is_said_on_stderr(own: Repo, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_before(own)
    monkeypatch.chdir(work / "repo")
    ran = inside("ask", "x", "--json")
    assert ran.json["completion"] is not None and UPGRADED in ran.err
    assert UPGRADED not in inside("ask", "x").err


def test_an_export_that_answers_otherwise_than_the_revision_fails(
    own: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work / "repo")
    monkeypatch.setattr(
        "editvc.porcelain.export_hf.verify_reload", lambda *a, **k: [" wrong", " wrong"]
    )
    ran = inside("export", "--to", work / "out")
    assert ran.code == 1 and "wrong" in ran.err and not (work / "out").exists()

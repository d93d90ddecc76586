"""An export takes its place in one step, and nobody else's file goes with the old one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from editvc.core.ids import digest_of
from editvc.core.output_path import TargetError
from editvc.interchange import staging
from editvc.interchange.exchange import exchange
from editvc.interchange.manifest import MANIFEST, strangers, write_manifest
from editvc.interchange.staging import recover, staged

STEPS = ("os.mkdir", "os.rename", "os.unlink", "os.rmdir", "os.fsync", "os.chmod")


def export(target: Path, words: str, *, replace: bool = True) -> None:
    """A small export: two files, one of them in a folder."""
    with staged(target, replace=replace) as folder:
        (folder / "weights").write_text(words)
        (folder / "code").mkdir()
        (folder / "code" / "model.py").write_text(words)
        write_manifest(folder, "hf", {"digest": words})


def content(target: Path) -> str:
    """What a whole export holds; fails for half of one, and for one made of two."""
    words = (target / "weights").read_text()
    assert (target / "code" / "model.py").read_text() == words
    assert json.loads((target / MANIFEST).read_text())["digest"] == words
    assert strangers(target) == {}
    return words


def beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    export(tmp_path / "out", "old", replace=False)
    return tmp_path / "out"


# Kills ----------------------------------------------------------------------------------------


def killed_before(step: int, work: Callable[[], None]) -> bool:
    """Whether a child process was killed before its ``step``-th call of the file system."""
    left = [step]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    child = os.fork()
    if child == 0:
        for name in STEPS:
            mock.patch(name, dying(getattr(os, name.removeprefix("os.")))).start()
        mock.patch.object(staging, "exchange", dying(staging.exchange)).start()
        work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("swaps", [True, False], ids=["exchange", "two renames"])
def test_a_kill_at_any_step_leaves_an_old_or_a_new_export(
    tmp_path: Path, swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swaps:
        monkeypatch.setattr(staging, "exchange", lambda first, second: False)
    seen, absent, step, alive = set(), 0, 0, False
    while not alive:
        target = tmp_path / str(step) / "out"
        export(target, "old")
        alive = not killed_before(step, lambda target=target: export(target, "new"))
        absent += not target.exists()
        told = recover(target)
        assert bool(told) == bool(beside(target)) or not beside(target)
        seen.add(content(target))
        assert beside(target) == [], "nothing is left, and nothing was in the way"
        export(target, "newest")
        assert content(target) == "newest"
        step += 1
    assert step > 10 and seen == {"old", "new"}
    assert absent == (0 if swaps else 1), "without the kernel's help there is one such moment"


def test_what_was_put_back_is_told(out: Path) -> None:
    aside = out.with_name(".out.0123abcd.previous")
    out.rename(aside)
    assert recover(out) == (f"an interrupted export had set {out} aside; it is there again",)
    assert content(out) == "old"


def test_leftovers_of_others_and_of_the_living_are_kept(out: Path) -> None:
    """Another name's, one that a process is writing, and one with somebody's file in it."""
    other = out.with_name(".outer.0123abcd.partial")
    other.mkdir()
    aside = out.with_name(".out.0123abcd.previous")
    export(aside, "older")
    (aside / "thesis.txt").write_text("mine")
    with staged(out, replace=True) as folder:
        (told,) = recover(out)
        assert "thesis.txt (was not written by editvc)" in told and str(aside) in told
        assert folder.is_dir()
        write_manifest(folder, "hf", {})
    assert beside(out) == [aside.name, other.name]
    assert (aside / "thesis.txt").read_text() == "mine"


# What is not replaced -------------------------------------------------------------------------


def refused(target: Path, match: str) -> TargetError:
    before = {path: path.read_bytes() for path in target.parent.rglob("*") if path.is_file()}
    with pytest.raises(TargetError, match=match) as caught:
        export(target, "new")
    after = {path: path.read_bytes() for path in target.parent.rglob("*") if path.is_file()}
    assert after == before, "nothing was touched, and nothing is left"
    return caught.value


def test_a_changed_file_is_not_replaced(out: Path) -> None:
    (out / "code" / "model.py").write_text("mine")
    refused(out, r"code/model.py \(was changed since editvc wrote it\)")


@pytest.mark.parametrize("kind", ["file", "link", "folder", "linked folder", "pipe"])
def test_what_editvc_did_not_write_is_not_replaced(out: Path, kind: str) -> None:
    elsewhere = out.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "thesis.txt").write_text("mine")
    make: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.write_text("mine"),
        "link": lambda path: path.symlink_to(elsewhere / "thesis.txt"),
        "folder": Path.mkdir,
        "linked folder": lambda path: path.symlink_to(elsewhere, target_is_directory=True),
        "pipe": os.mkfifo,
    }
    make[kind](out / "code" / "mine")
    refused(out, r"code/mine \(was not written by editvc\)")


def test_a_written_file_that_became_a_link_is_not_replaced(out: Path) -> None:
    (out / "weights").rename(out.parent / "weights")
    (out / "weights").symlink_to(out.parent / "weights")
    refused(out, "weights")


@pytest.mark.parametrize("files", [["thesis.txt"], {"thesis.txt": "0" * 64}, {}, 7, None])
def test_a_manifest_by_hand_deletes_nothing(tmp_path: Path, files: object) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    record = {"format": "hf", "editvc": "0.1.0", "files": files}
    for text in (json.dumps(record), json.dumps(record | {"seal": "0" * 64}), "[" * 10**5):
        (mine / MANIFEST).write_text(text)
        refused(mine, "editvc.json|did not make it")


def test_a_sealed_manifest_reaches_nothing_outside(tmp_path: Path) -> None:
    """Even one that somebody has sealed deletes what lies in its folder alone."""
    (tmp_path / "thesis.txt").write_text("mine")
    record = {"format": "hf", "editvc": "0.1.0", "files": {"../thesis.txt": "0" * 64}}
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / MANIFEST).write_text(json.dumps(record | {"seal": digest_of(record)}))
    export(mine, "new")
    assert content(mine) == "new" and (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("swaps", [True, False])
def test_a_file_that_comes_meanwhile_is_kept(
    out: Path, swaps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not swaps:
        monkeypatch.setattr(staging, "exchange", lambda first, second: False)
    with (
        pytest.raises(TargetError, match=r"thesis.txt \(was not written by editvc\)"),
        staged(out, replace=True) as folder,
    ):
        write_manifest(folder, "hf", {"digest": "new"})
        (out / "thesis.txt").write_text("mine")
    assert (out / "thesis.txt").read_text() == "mine" and (out / "weights").read_text() == "old"
    assert beside(out) == []


def test_a_link_is_no_target(out: Path) -> None:
    for name, to in (("link", out), ("dangling", out.parent / "nowhere")):
        link = out.with_name(name)
        link.symlink_to(to, target_is_directory=True)
        assert str(to) in refused(link, "is a symbolic link").hint
        assert link.is_symlink()


@pytest.mark.parametrize("place", [".editvc", ".editvc/objects/ab", ".EDITVC/x", "into/x"])
def test_a_repositorys_folder_is_no_target(tmp_path: Path, place: str) -> None:
    (tmp_path / ".editvc" / "objects").mkdir(parents=True)
    (tmp_path / "into").symlink_to(".editvc/objects", target_is_directory=True)
    refused(tmp_path / place, "inside a repository's .editvc")
    assert [*tmp_path.rglob("*.partial")] == [] and not (tmp_path / place).is_file()


def test_an_exchange_gives_both_their_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this file system cannot")
    assert (tmp_path / "one" / "two").exists() and (tmp_path / "two" / "one").exists()
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "three")

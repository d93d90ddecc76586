"""Several repositories and a remote between them: what travels, what is refused, what is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from remote_places import Failing
from vcs_values import CONFIG, commit_facts, create, fact, quick_folder

from editvc import Repo
from editvc.core.ids import ObjectId
from editvc.porcelain.fetch import take_in
from editvc.porcelain.push import NotFastForward, TagThere
from editvc.session.remotes import OtherBaseThere, RemoteUnknown
from editvc.vcs.gc import gc
from editvc.vcs.refs import BranchUnknown
from editvc.vcs.remote_sections import RemoteSectionError
from editvc.vcs.remotes import connection
from editvc.vcs.remotes.intake import BundleNeeds, Intake
from editvc.vcs.remotes.transport import RemoteError, RemoteMoved, RemoteUnreached
from editvc.vcs.repository import Repository


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """``ada`` with two commits and a tag at the first, ``remote`` that she pushed to, and ``bo``,
    a clone: made once, and copied.
    """
    with quick_folder() as folder:
        (folder / "ada").mkdir()
        repository = create(folder / "ada")
        first = commit_facts(repository, fact(1), fact(2))
        commit_facts(repository, fact(3))
        repository.refs.create_tag("v1", first, author="Ada", time=9)
        repository.close()
        shutil.copytree(folder / "ada", folder / "alone")
        ada = Repo(folder / "ada")
        ada.add_remote("origin", str(folder / "remote"))
        ada.push(names=["main", "v1"])
        Repo.clone(str(folder / "remote"), folder / "bo")
        ada.session.repository.close()
        yield folder


@pytest.fixture
def alone(made: Path, place: Path) -> Repo:
    """Ada's repository, and a remote that nothing was pushed to."""
    shutil.copytree(made / "alone", place / "alone")
    repo = Repo(place / "alone")
    repo.add_remote("origin", str(place / "remote"))
    return repo


@pytest.fixture
def ada(made: Path, place: Path) -> Repo:
    """The one who pushed."""
    shutil.copytree(made / "remote", place / "remote")
    return copied(made, place, "ada")


@pytest.fixture
def bo(ada: Repo, made: Path, place: Path) -> Repo:
    """The one who cloned."""
    return copied(made, place, "bo")


def copied(made: Path, place: Path, name: str) -> Repo:
    shutil.copytree(made / name, place / name)
    repo = Repo(place / name)
    repo.set_remote_url("origin", str(place / "remote"))
    return repo


def commit(repo: Repo, number: int) -> ObjectId:
    return commit_facts(repo.session.repository, fact(number))


def state(repo: Repo) -> dict[str, ObjectId]:
    return repo.session.repository.refs.all()


def sound(*repos: Repo) -> None:
    for repo in repos:
        report = repo.fsck()
        assert report.clean, report.errors


def test_a_clone_has_all_of_it_and_nothing_of_the_other_machine(ada: Repo, bo: Repo) -> None:
    ours, theirs = state(ada), state(bo)
    assert {**ours} == {**theirs}
    assert ada.log() == bo.log() and bo.status().branch == "main"
    assert bo.settings() == ada.settings()
    assert bo.fsck().garbage == () and list(bo.folder.glob("*tmp*")) == []
    sound(ada, bo)


def test_only_what_is_missing_travels(ada: Repo, bo: Repo, place: Path) -> None:
    first = {path.name for path in (place / "remote" / "packs").iterdir()}
    commit(ada, 4)
    told = ada.preview_push()
    done = ada.push()
    assert told == done and done.commits == 1
    (new,) = {path.name for path in (place / "remote" / "packs").iterdir()} - first
    from editvc.vcs.packs import Pack

    kinds = sorted(_kinds(ada, list(Pack(place / "remote" / "packs" / new).ids())))
    assert kinds == ["commit", "delta", "edits", "fact", "located", "tree"]
    assert bo.preview_fetch().moved == bo.fetch().moved
    assert bo.fetch().size == 0 and ada.push().moved == ()
    sound(ada, bo)


def _kinds(repo: Repo, ids: list[ObjectId]) -> list[str]:
    from editvc.vcs.codec import kind_of

    return [kind_of(repo.session.repository.store.get(one)) for one in ids]


def test_a_lost_race_is_refused_and_says_what_to_do(ada: Repo, bo: Repo) -> None:
    commit(bo, 5)
    bo.push()
    mine = commit(ada, 6)
    with pytest.raises(NotFastForward, match=r"fetch first") as refused:
        ada.push()
    assert "editvc pull" in refused.value.hint and refused.value.exit_code == 5
    ada.fetch()
    with pytest.raises(NotFastForward, match="non-fast-forward"):
        ada.push()
    assert ada.push(force=True).moved[0].forced
    moved = bo.fetch().moved
    assert [(one.name, one.new, one.forced) for one in moved] == [("origin/main", mine, True)]
    sound(ada, bo)


def test_two_pushers_of_two_branches_both_arrive(ada: Repo, bo: Repo) -> None:
    """Whoever swaps second begins again: its branch is another one, so it means the same."""
    bo.create_branch("side")
    bo.switch("side")
    commit(ada, 7), commit(bo, 8)
    swap = connection.Remote.swap

    def first_bo(self: connection.Remote, *arguments: object) -> None:
        with mock.patch.object(connection.Remote, "swap", swap):
            bo.push()
        swap(self, *arguments)  # type: ignore[arg-type]

    swaps = iter([first_bo, swap])
    with mock.patch.object(connection.Remote, "swap", lambda *given: next(swaps)(*given)):
        ada.push()
    assert bo.fetch().moved and ada.fetch().moved
    assert state(ada)["refs/remotes/origin/side"] == state(bo)["refs/heads/side"]
    sound(ada, bo)


def test_others_that_are_faster_each_time_end_it(alone: Repo, place: Path) -> None:
    def moved(self: object, *given: object) -> None:
        raise RemoteMoved("there")

    with (
        mock.patch.object(connection.Remote, "swap", moved),
        mock.patch("time.sleep"),
        pytest.raises(RemoteMoved) as lost,
    ):
        alone.push()
    assert lost.value.exit_code == 5 and "refs/remotes/origin/main" not in state(alone)


def test_tags_stay_where_they_are(ada: Repo, bo: Repo) -> None:
    bo.delete_tag("v1")
    bo.create_tag("v1", "HEAD")
    with pytest.raises(TagThere):
        bo.push(names=["v1"])
    assert bo.fetch().left == ("v1",)
    bo.push(names=["v1"], force=True)
    assert ada.fetch().left == ("v1",) and state(ada)["refs/tags/v1"] != state(bo)["refs/tags/v1"]


def test_a_branch_goes_away_there_and_here(ada: Repo, bo: Repo) -> None:
    ada.create_branch("side")
    ada.push(names=["side"])
    bo.fetch()
    ada.push(names=["side"], delete=True)
    assert "refs/remotes/origin/side" not in state(ada)
    assert bo.fetch().moved == ()
    assert [(one.name, one.new) for one in bo.fetch(prune=True).moved] == [("origin/side", None)]


def test_undo_takes_back_what_a_fetch_moved(ada: Repo, bo: Repo) -> None:
    before = state(bo)
    commit(ada, 4)
    ada.push()
    bo.fetch()
    assert bo.preview_undo().command.message == "fetch: origin"
    bo.undo()
    assert state(bo) == before
    assert bo.fetch().moved != ()


def test_revisions_know_branches_of_remotes(ada: Repo, bo: Repo) -> None:
    new = commit(ada, 4)
    ada.push()
    bo.fetch()
    resolve = bo.session.repository.revisions.resolve
    assert resolve("origin/main") == new and resolve("origin/main~1") == resolve("main")
    assert [row.id for row in bo.log("main..origin/main")] == [new]


def test_a_bundle_is_a_remote_in_a_file(ada: Repo, bo: Repo, place: Path) -> None:
    commit(ada, 4)
    told = ada.preview_bundle(place / "part.bundle", ["main"], without=["origin/main"])
    assert not (place / "part.bundle").exists()
    part = ada.create_bundle(place / "part.bundle", ["main"], without=["origin/main"])
    assert told.refs == part.refs and part.needs == (state(bo)["refs/heads/main"],)
    assert bo.verify_bundle(place / "part.bundle") == part
    assert b'"common":{}' in (place / "part.bundle").read_bytes(), "recipes are there already"
    with pytest.raises(BundleNeeds):
        Repo.clone(str(place / "part.bundle"), place / "none")
    assert not (place / "none").exists()
    bo.add_remote("stick", str(place / "part.bundle"))
    assert bo.fetch("stick").commits == 1
    with pytest.raises(RemoteError, match="takes no push"):
        bo.push("stick", ["v1"])
    ada.create_bundle(place / "all.bundle")
    Repo.clone(str(place / "all.bundle"), place / "cy")
    cy = Repo(place / "cy")
    assert cy.log() == ada.log()
    sound(bo, cy)


@pytest.mark.parametrize("n", range(1, 5))
@pytest.mark.parametrize("done", [False, True])
def test_a_line_that_is_cut_at_any_call_costs_nothing(
    n: int, done: bool, ada: Repo, bo: Repo, place: Path
) -> None:
    """Each call of a push, a fetch and a clone fails once: old or new, and the next one ends it."""
    new = commit(ada, 4)
    remote = place / "remote"
    before = state(ada), state(bo)
    _cut(n, done, remote, ada.push, "push")
    assert state(ada) in (before[0], {**before[0], "refs/remotes/origin/main": new})
    ada.push()
    assert len(list((remote / "packs").glob("*.pack"))) == 2, "nothing is sent twice"
    stopped = _cut(n, done, remote, bo.fetch, "fetch")
    assert state(bo) == before[1] if stopped else state(bo)["refs/remotes/origin/main"] == new
    bo.fetch()
    assert state(bo)["refs/remotes/origin/main"] == new
    if _cut(n, done, remote, lambda: Repo.clone(str(remote), place / "cy"), "clone"):
        assert not (place / "cy").exists()
        Repo.clone(str(remote), place / "cy")
    assert Repo(place / "cy").log()[0].id == new
    sound(ada, bo, Repo(place / "cy"))


def _cut(n: int, done: bool, remote: Path, command: Callable[[], object], verb: str) -> bool:
    """Run a command whose ``n``-th call to the remote fails; whether it heard of it."""
    failing = Failing(remote, n, done=done)
    where = "porcelain.clone" if verb == "clone" else "session.remotes"
    with mock.patch(f"editvc.{where}.connect", lambda url: failing):
        try:
            command()
        except RemoteUnreached:
            assert failing.calls == n
            return True
    assert failing.calls < n
    return False


def test_a_pack_that_was_sent_is_not_sent_again(ada: Repo, place: Path) -> None:
    commit(ada, 4)
    assert _cut(4, False, place / "remote", ada.push, "push"), "the swap, after the pack"
    assert ada.push().size == 0


def test_packs_that_came_whole_are_not_asked_for_again(ada: Repo, bo: Repo, place: Path) -> None:
    for number in (4, 5, 6):
        commit(ada, number)
        ada.push()
    assert _cut(4, False, place / "remote", bo.fetch, "fetch")
    again = Failing(place / "remote", 0, done=False)
    with mock.patch("editvc.session.remotes.connect", lambda url: again):
        bo.fetch()
    assert again.calls == 2, "the document, and the one pack that had not come"
    sound(bo)


def test_a_remote_that_drips_is_given_up(alone: Repo, place: Path) -> None:
    import threading

    never = threading.Event()
    alone.set_remote_url("origin", str(place / "remote"), timeout=0.05)
    with (
        mock.patch("editvc.vcs.remotes.folder.Folder.document", lambda self: never.wait(20)),
        pytest.raises(RemoteUnreached, match=r"no end of it after 0\.05 seconds"),
    ):
        alone.push()
    never.set()


def test_another_base_is_refused(ada: Repo, bo: Repo, place: Path) -> None:
    text = (place / "remote" / "editvc-remote.json").read_text()
    base = bo.session.repository.config.base.id
    (place / "remote" / "editvc-remote.json").write_text(text.replace(base, "9" * 64, 1))
    for work in (bo.fetch, bo.push):
        with pytest.raises(OtherBaseThere):
            work()


def test_settings_of_ones_own_stay_at_home(alone: Repo, place: Path) -> None:
    plumbing = alone.session.repository
    plumbing.set_configs(
        {"user.author": "Ada <ada@home>", "base.model": str(place), "limits.target_tokens": 99}
    )
    alone.push()
    Repo.clone(str(place / "remote"), place / "bo")
    text = (place / "bo" / ".editvc" / "config.toml").read_text()
    assert "ada@home" not in text and f'model = "./{place.name}"' in text
    assert Repo(place / "bo").settings("limits.target_tokens") == {"limits.target_tokens": 99}
    everything = b"".join(path.read_bytes() for path in (place / "remote").rglob("*.*"))
    assert b"ada@home" not in everything


def test_names_of_remotes(alone: Repo, place: Path) -> None:
    alone.push()
    alone.rename_remote("origin", "hub")
    assert [(one.name, one.branches) for one in alone.remotes()] == [("hub", 1)]
    assert "refs/remotes/hub/main" in state(alone) and "refs/remotes/origin/main" not in state(
        alone
    )
    assert alone.push().remote == "hub", "the only one there is"
    with pytest.raises(RemoteError, match="already"):
        alone.add_remote("hub", "x")
    for name in ("a/b", "-x", "", "12", "a b"):
        with pytest.raises(RemoteSectionError):
            alone.add_remote(name, "x")
    alone.remove_remote("hub")
    assert alone.remotes() == [] and "refs/remotes/hub/main" not in state(alone)
    with pytest.raises(RemoteUnknown, match="no remote of that name"):
        alone.push()
    assert "[remote" not in (place / "alone" / ".editvc" / "config.toml").read_text()
    assert CONFIG in (place / "alone" / ".editvc" / "config.toml").read_text()
    sound(alone)


def test_what_cannot_be_pushed_or_cloned(alone: Repo, place: Path) -> None:
    with pytest.raises(BranchUnknown):
        alone.push(names=["none"])
    with pytest.raises(RemoteError, match="nothing was pushed"):
        alone.fetch()
    with pytest.raises(RemoteError, match="nothing was pushed"):
        Repo.clone(str(place / "remote"), place / "bo")
    alone.push()
    with pytest.raises(BranchUnknown):
        Repo.clone(str(place / "remote"), place / "bo", branch="none")
    assert not (place / "bo").exists()
    shutil.rmtree(place / "remote" / "packs")
    with pytest.raises(RemoteError, match="which it lists"):
        Repo.clone(str(place / "remote"), place / "bo")
    assert not (place / "bo").exists()


def test_what_a_fetch_brings_is_not_dropped_before_refs_lead_to_it(
    ada: Repo, bo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_facts(ada.session.repository, fact(4))
    ada.push()
    bo.session.repository.store.close()
    waits = []

    def beside(intake: Intake, *given: Any) -> tuple[ObjectId, ...]:
        came = take_in(intake, *given)
        with closing(Repository(bo.session.repository.folder)) as other:
            waits.append(gc(other, inf).waits)
        return came

    monkeypatch.setattr("editvc.porcelain.fetch.take_in", beside)
    assert bo.fetch().commits == 1 and waits == [True]
    bo.session.repository.store.close()
    assert not bo.gc(inf).waits and bo.fsck().clean
    assert bo.log("origin/main")[0].number == 3

"""gc: what it packs, what it keeps, what it drops, and beside whom it may run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vcs_values import BASE, commit_facts, create, fact, located, move, safetensors

from editvc.core.history import Restraint, Tree
from editvc.core.ids import ObjectId
from editvc.vcs.codec import encode
from editvc.vcs.folder_lock import FolderLock
from editvc.vcs.fsck import fsck
from editvc.vcs.gc import LARGE, CollectorBusy, gc, preview_gc
from editvc.vcs.pending import Pending
from editvc.vcs.repository import Repository
from editvc.vcs.results import Question, Result
from editvc.vcs.store import ObjectCorrupt, ObjectMissing

OLD = 1000.0
"""Seconds since the epoch: long ago."""


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    with closing(create(tmp_path)) as repo:
        commit_facts(repo, *(fact(number) for number in range(34)))
        commit_facts(repo, fact(50))
        repo.store.close()  # as the end of a command does
        yield repo


def contents(repo: Repository) -> dict[ObjectId, bytes]:
    with closing(Repository(repo.folder)) as other:
        return {one: other.store.get(one) for one in other.store.ids()}


def put(repo: Repository, data: bytes, *, old: bool = True) -> ObjectId:
    """An object that nothing leads to."""
    identifier = repo.store.put(data)
    if old:
        os.utime(repo.store.path(identifier), (OLD, OLD))
    repo.store.close()
    return identifier


def loose(repo: Repository) -> list[ObjectId]:
    return list(repo.store.loose_ids())


def packs(repo: Repository) -> list[str]:
    return [pack.name for pack in repo.store.packs.all()]


def test_all_that_is_wanted_goes_into_one_pack(repo: Repository) -> None:
    before, report = contents(repo), fsck(repo)
    assert preview_gc(repo).packed == len(before) and loose(repo), "a preview changes nothing"
    done = gc(repo)
    assert (done.packed, done.dropped, done.waits) == (len(before), 0, False)
    assert loose(repo) == [] and len(packs(repo)) == 1
    assert contents(repo) == before and fsck(repo) == report
    assert gc(repo).packed == 0 and len(packs(repo)) == 1, "and again is nothing"


def test_old_objects_that_nothing_leads_to_are_dropped_and_young_ones_kept(
    repo: Repository,
) -> None:
    before = contents(repo)
    gone = {put(repo, safetensors({"kind": "delta"}, bytes([n] * 8))) for n in range(3)}
    young = put(repo, b'{"kind":"fact"}', old=False)
    assert preview_gc(repo).dropped == 3
    done = gc(repo)
    assert (done.dropped, done.young) == (3, 1)
    assert contents(repo) == before | {young: b'{"kind":"fact"}'}
    assert gc(repo, inf).dropped == 1 and contents(repo) == before
    with pytest.raises(ObjectMissing):
        repo.store.get(gone.pop())
    assert fsck(repo).garbage == ()


def test_what_a_young_object_names_is_kept_with_it(repo: Repository) -> None:
    old = put(repo, safetensors({"kind": "delta"}, b"old numb"))
    young = put(repo, b'{"kind":"of later days","parts":{"a":["%s"]}}' % old.encode(), old=False)
    gc(repo)
    assert {old, young} <= contents(repo).keys()


def test_every_acknowledged_commit_is_kept(repo: Repository) -> None:
    head = repo.refs.head().commit
    assert head is not None
    first = repo.graph.parents(head)[0]
    move(repo, "refs/heads/main", head, first)
    repo.store.close()
    before = contents(repo)
    for path in repo.store.folder.rglob("*"):
        os.utime(path, (OLD, OLD))
    assert gc(repo, inf).dropped == 0
    assert contents(repo) == before and repo.read_commit(head).number == 2


def test_a_commit_that_lost_its_race_goes_with_its_rows(repo: Repository) -> None:
    head = repo.refs.head().commit
    before = contents(repo)
    lost = commit_facts(repo, fact(60))
    later = contents(repo).keys() - before.keys()
    with repo.index.unrecorded():  # as if the transaction had never been
        repo.index.write("UPDATE refs SET target = ? WHERE name = 'refs/heads/main'", [(head,)])
        repo.index.write("DELETE FROM reflog WHERE new = ?", [(lost,)])
        first = repo.operations.read(repo.operations.current() or head).parents[0]  # type: ignore[arg-type]
        repo.index.write("UPDATE operation SET id = ?", [(first,)])
        repo.index.write("DELETE FROM located WHERE located IN (SELECT value FROM json_each(?))",
                         [(str(sorted(later)).replace("'", '"'),)])  # fmt: skip
    for identifier in later:
        if repo.store.get(identifier)[:20].find(b"operation") < 0:
            os.utime(repo.store.path(identifier), (OLD, OLD))
    repo.store.close()
    operation = next(one for one in later if b'"kind":"operation"' in repo.store.get(one))
    repo.store.path(operation).unlink()  # an operation alone would keep it: it acknowledges
    done = gc(repo)
    assert done.dropped == len(later) - 1 and contents(repo) == before
    assert repo.index.commit(lost) is None and fsck(repo).errors == ()


def test_a_commit_that_an_operation_of_another_line_names_is_kept(repo: Repository) -> None:
    head, current = repo.refs.head().commit, repo.operations.current()
    lost = commit_facts(repo, fact(60))
    with repo.index.unrecorded():
        repo.index.write("UPDATE refs SET target = ? WHERE name = 'refs/heads/main'", [(head,)])
        repo.index.write("DELETE FROM reflog WHERE new = ?", [(lost,)])
        repo.index.write("UPDATE operation SET id = ?", [(current,)])
    repo.store.close()
    gc(repo, inf)
    assert repo.read_commit(lost).number == 3


def test_nothing_is_dropped_while_another_process_writes(repo: Repository) -> None:
    gone = put(repo, b'{"kind":"fact"}')
    with closing(Repository(repo.folder)) as other:
        other.store.put(b"written meanwhile")
        done = gc(repo)
        assert done.waits and done.dropped == 0 and done.packed > 0
        assert gone in contents(repo)
    unread = put(repo, b"{}")
    assert gc(repo).dropped == 1 and unread in contents(repo), "what cannot be read is fsck's"


def test_what_was_put_again_is_not_dropped(repo: Repository) -> None:
    data = safetensors({"kind": "delta"}, b"in a pac")
    identifier = put(repo, data, old=False)
    gc(repo)
    for path in (repo.store.path(identifier), *repo.store.packs.folder.iterdir()):
        os.utime(path, (OLD, OLD))
    put(repo, data, old=False)
    assert gc(repo).dropped == 0 and identifier in contents(repo)


def test_what_is_dropped_leaves_its_pack(repo: Repository) -> None:
    before = contents(repo)
    data = safetensors({"kind": "delta"}, b"in a pac")
    identifier = put(repo, data, old=False)
    from editvc.vcs.packs import Pack, write_pack

    ids = list(repo.store.ids())
    _, draft = repo.files.draft(
        repo.store.packs.folder,
        lambda file: write_pack(file, [(one, repo.store.get(one)) for one in ids]),
    )
    final = draft.with_name(Pack(draft).name)
    repo.files.move(draft, final)
    for one in ids:
        repo.store.path(one).unlink()
    os.utime(final, (OLD, OLD))
    assert gc(repo).dropped == 1
    assert contents(repo) == before and identifier not in repo.store.packs.all()[0]
    assert not final.exists() and len(packs(repo)) == 1


def test_two_collectors_do_not_meet(repo: Repository) -> None:
    repo.files.make_folder(repo.store.packs.folder)
    other = FolderLock(repo.store.packs.folder)
    assert other.take()
    with pytest.raises(CollectorBusy) as caught:
        gc(repo)
    assert caught.value.exit_code == 5 and packs(repo) == []
    other.release()
    assert gc(repo).packed > 0


def test_a_reader_with_a_pack_open_reads_on(repo: Repository) -> None:
    gc(repo)
    with closing(Repository(repo.folder)) as reader:
        (old,) = reader.store.packs.all()
        commit_facts(repo, *(fact(number) for number in range(100, 160)))
        repo.store.close()
        gc(repo)
        assert not old.path.exists(), "it is no larger than what is new"
        assert all(old.get(one) for one in old.ids())
        assert all(reader.store.get(one) for one in list(reader.store.ids()))
        assert reader.refs.head().commit in list(reader.store.ids())


def test_a_large_pack_is_not_copied_for_a_small_commit(repo: Repository) -> None:
    gc(repo)
    (first,) = packs(repo)
    commit_facts(repo, fact(60))
    repo.store.close()
    gc(repo)
    assert first in packs(repo) and len(packs(repo)) == 2 and loose(repo) == []


def test_large_objects_keep_their_files(repo: Repository) -> None:
    large = repo.store.put(located("f" * 64, b"\0" * LARGE))
    repo.index.remember("f" * 64, large)
    repo.store.close()
    gc(repo)
    assert loose(repo) == [large]


def test_nothing_is_taken_where_something_wanted_is_damaged(repo: Repository) -> None:
    head = repo.refs.head().commit
    assert head is not None
    before = loose(repo)
    repo.store.path(head).write_bytes(b"{}")
    with pytest.raises(ObjectCorrupt):
        gc(repo, inf)
    assert loose(repo) == before and packs(repo) == []


def test_left_over_files_go_when_they_are_old(repo: Repository) -> None:
    for name, time in ((".tmp-old", OLD), (".tmp-young", None)):
        path = repo.store.folder / name
        path.write_bytes(b"")
        if time is not None:
            os.utime(path, (time, time))
    assert gc(repo).temporary == 1
    assert gc(repo, inf).temporary == 0, "it may be another process's, which is writing it now"
    assert [path.name for path in repo.strays()] == [".tmp-young"]


def waiting(repo: Repository, **more: object) -> Pending:
    """A command that waits, on HEAD's tree."""
    head = repo.refs.head().commit
    assert head is not None
    tree = repo.read_commit(head).tree
    pending = Pending(
        verb="rebase", ref="refs/heads/main", began=head, parent=head, tree=tree, message="",
        author="", time=None, about="onto", **more,
    )  # fmt: skip
    repo.pending.save(pending)
    repo.store.close()
    return pending


def test_what_a_command_that_waits_names_is_kept_and_followed(repo: Repository) -> None:
    head = repo.refs.head().commit
    assert head is not None
    kinds = ("statistics", "inputs", "statistics")
    names = [
        put(repo, safetensors({"kind": kind}, b"number %d" % n)) for n, kind in enumerate(kinds)
    ]
    base = {"recipe.statistics": names[0], "gated.inputs": names[1], "base.identity": None}
    old = repo.read_commit(head)
    replayed = put(repo, encode(replace(old, message="Nothing else leads here")))
    waiting(repo, base=base, replayed=replayed)
    assert gc(repo, inf).dropped == 1, "the third is nobody's"
    assert {*names[:2], replayed} <= contents(repo).keys() and names[2] not in contents(repo)
    assert fsck(repo).errors == ()
    repo.pending.remove()
    assert gc(repo, inf).dropped == 3
    waiting(repo, base=base)
    missing = {one.what for one in fsck(repo).errors if one.where == "pending.json"}
    assert missing == {f"needs {kinds[n]} {names[n]}, which is missing" for n in range(2)}


def test_what_a_former_base_was_in_force_with_is_kept_and_followed(repo: Repository) -> None:
    first = repo.config.base.id, str(repo.config.recipe.statistics)
    former = put(repo, encode(replace(BASE, layers=9)))
    own = put(repo, safetensors({"kind": "statistics"}, b"its own."))
    for base, statistics in ((former, own), first):
        repo.replace_base({"base.id": base, "recipe.statistics": statistics})
    repo.store.close()
    kept = repo.bases.settings_of(former)
    assert kept is not None and kept["recipe.statistics"] == own and repo.config.base.id == first[0]
    assert gc(repo, inf).dropped == 0 and {former, own} <= contents(repo).keys()
    assert fsck(repo).errors == ()


def test_remote_branches_notes_and_measured_trees_keep_what_they_lead_to(repo: Repository) -> None:
    head = repo.refs.head().commit
    assert head is not None
    old = repo.read_commit(head)
    ends = [put(repo, encode(replace(old, message=f"Of ref {n}"))) for n in range(2)]
    with repo.index.unrecorded():  # as a copy without its operations has them
        for ref, one in zip(("refs/remotes/origin/main", "refs/tags/v1"), ends, strict=True):
            repo.index.write("INSERT INTO refs (name, target) VALUES (?, ?)", [(ref, one)])
    tree = put(repo, encode(Tree(base=BASE.id, edits=None, restraint=Restraint(rank=3))))
    unmeasured = put(repo, encode(Tree(base=BASE.id, edits=None, restraint=Restraint(rank=4))))
    question = Question(tree, BASE.id, "facts", 1, {}, "0" * 64)
    repo.results.put(Result(question, {"efficacy": 1.0}))
    assert gc(repo, inf).dropped == 1
    assert {*ends, tree} <= contents(repo).keys() and unmeasured not in contents(repo)


@given(steps=st.lists(st.sampled_from(["commit", "gc", "now", "back"]), max_size=6))
@settings(max_examples=3, deadline=None)
def test_whatever_happens_in_whatever_order_nothing_acknowledged_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    with closing(create(tmp_path_factory.mktemp("repo"))) as repo:
        made = [commit_facts(repo, fact(0))]
        for number, step in enumerate(steps, 1):
            if step == "commit":
                made.append(commit_facts(repo, fact(number)))
            elif step == "back":
                move(repo, "refs/heads/main", repo.refs.head().commit, made[0])
            else:
                repo.store.close()
                gc(repo, inf if step == "now" else None)
        assert fsck(repo).errors == ()
        assert [repo.edits_of(repo.tree_of(one)).root is not None for one in made]

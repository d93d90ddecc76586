from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from vcs_values import BASE, commit_facts, create, fact, located, move, safetensors

from editvc.core.history import Commit, Entry, Tree
from editvc.core.ids import ObjectId, canonical_json, short
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.mend import MendRecipe
from editvc.vcs.codec import Leaf
from editvc.vcs.fsck import Report, fsck
from editvc.vcs.index_rebuild import rebuild
from editvc.vcs.repository import Repository
from editvc.vcs.store import ObjectCorrupt


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repo = create(tmp_path_factory.mktemp("model"))
    commit_facts(repo, *(fact(number) for number in range(40)))
    commit_facts(repo, fact(50))
    commit_facts(repo, fact(51))
    repo.close()
    return repo.folder


@pytest.fixture
def full(model: Path, tmp_path: Path) -> Repository:
    """Three commits, the first of 40 facts so that its edit set has branches."""
    shutil.copytree(model, tmp_path / ".editvc")
    return Repository.find(tmp_path)


def words(report: Report) -> str:
    return "\n".join(f"{problem.where}: {problem.what}" for problem in report.errors)


def test_a_sound_repository_is_clean_and_counted(full: Repository) -> None:
    calls: list[tuple[str, int, int]] = []
    report = fsck(full, lambda label, done, total: calls.append((label, done, total)))
    assert report.clean and report.garbage == () and words(report) == ""
    counts = dict(report.counts)
    assert (counts["commit"], counts["tree"], counts["fact"], counts["located"]) == (3, 3, 42, 42)
    assert calls[-1] == ("objects", sum(counts.values()), sum(counts.values()))
    assert report.to_json()["clean"] is True


def test_a_flipped_bit_in_any_object_is_found_by_reading_and_by_fsck(full: Repository) -> None:
    ids = list(full.store.ids())
    kinds = set()
    for position, identifier in enumerate(ids):
        path = full.store.path(identifier)
        sound = path.read_bytes()
        operation = b'"kind":"operation"' in sound
        bit = position * 7919 % (8 * len(sound))
        flipped = bytearray(sound)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ObjectCorrupt):
            full.store.get(identifier)
        if position % 6 == 0 or len(ids) - position < 3:
            report = fsck(full)
            wheres = {problem.where for problem in report.errors}
            log = {"index.db", "the operation log"} if operation else set()
            assert identifier in wheres and wheres <= {identifier} | log, words(report)
        path.write_bytes(sound)
        kinds.add(position)
    assert len(kinds) == len(ids) and fsck(full).clean


def test_each_missing_object_is_reported_with_what_needs_it(full: Repository) -> None:
    head = full.refs.head().commit
    assert head is not None
    commit = full.read_commit(head)
    tree = full.read_tree(commit.tree)
    assert tree.edits is not None and commit.delta is not None
    entry = next(full.edits_of(tree).entries())
    for kind, identifier in [
        ("commit", head),
        ("tree", commit.tree),
        ("edits", tree.edits),
        ("delta", commit.delta),
        ("fact", entry.fact),
        ("located edit", entry.element),
        ("base", tree.base),
        ("statistics", full.config.recipe.statistics),
        ("recipe", full.config.recipe.id),
    ]:
        path = full.store.path(identifier)
        data = path.read_bytes()
        path.unlink()
        assert f"needs {kind} {identifier}, which is missing" in words(fsck(full)), kind
        path.write_bytes(data)


def test_what_interrupted_work_left_behind_is_garbage_not_damage(full: Repository) -> None:
    (full.store.folder / "ab" / ".tmp-1234").write_bytes(b"half")
    (full.folder / ".tmp-5678").write_bytes(b"half a config")
    (full.folder.parent / ".editvc.tmp-9").mkdir()
    loose = full.write(fact(99))
    report = fsck(full)
    assert report.clean
    assert set(report.garbage) == {
        ".editvc/objects/ab/.tmp-1234", ".editvc/.tmp-5678", ".editvc.tmp-9", loose,
    }  # fmt: skip


def test_located_edits_wait_for_their_fact_and_are_no_garbage(full: Repository) -> None:
    full.write_located([located("d" * 64, b"x")])
    report = fsck(full)
    assert report.clean and report.garbage == ()


@pytest.fixture
def remembered(full: Repository) -> dict[str, ObjectId]:
    """Two elements that no commit holds, and all that they need and nothing else does."""
    ids = {
        role: full.store.put(safetensors({"kind": "statistics", "of": role}))
        for role in ("statistics", "entity_statistics", "sensitivity")
    }
    ids["recipe"] = full.write(LocatedRecipe(layers=(1,), contexts=("{}",), **ids))
    ids["base"] = full.write(replace(BASE, config="3" * 64))
    ids["editor"] = full.store.put(safetensors({"kind": "editor", "base": ids["base"]}))
    ids["mend"] = full.write(MendRecipe(layers=(1,), editor=ids["editor"]))
    for kind, recipe in (("located", "recipe"), ("patch", "mend")):
        about = {"kind": kind, "request": kind, "base": BASE.id, "recipe": ids[recipe]}
        (ids[kind],) = full.write_located([safetensors(about)])
    return ids


def test_what_remembered_elements_need_is_no_garbage(
    full: Repository, remembered: dict[str, ObjectId]
) -> None:
    report = fsck(full)
    assert words(report) == "" and report.garbage == ()


@pytest.mark.parametrize(
    ("missing", "kind", "needed_by"),
    [
        ("recipe", "recipe", ("located", "located")),
        ("statistics", "statistics", ("recipe", "recipe")),
        ("entity_statistics", "statistics", ("recipe", "recipe")),
        ("sensitivity", "statistics", ("recipe", "recipe")),
        ("mend", "recipe", ("patch", "patch")),
        ("editor", "editor", ("recipe", "mend")),
        ("base", "base", ("editor", "editor")),
    ],
)
def test_what_remembered_elements_need_must_be_there(
    full: Repository,
    remembered: dict[str, ObjectId],
    missing: str,
    kind: str,
    needed_by: tuple[str, str],
) -> None:
    full.store.path(remembered[missing]).unlink()
    where = f"{needed_by[0]} {short(remembered[needed_by[1]])}"
    what = f"needs {kind} {remembered[missing]}, which is missing"
    assert words(fsck(full)) == f"{where}: {what}"


def test_remembered_elements_must_be_there(
    full: Repository, remembered: dict[str, ObjectId]
) -> None:
    full.store.path(remembered["located"]).unlink()
    what = f"lists located edit {remembered['located']}, which is missing"
    assert words(fsck(full)) == f"index.db: {what}"


def test_old_commits_in_the_reflog_are_still_checked(full: Repository) -> None:
    head = full.refs.head().commit
    assert head is not None
    first = full.graph.row(head).parents[0]
    move(full, "refs/heads/main", head, first)
    assert fsck(full).clean and fsck(full).garbage == ()
    full.store.path(head).unlink()
    assert "the reflog: needs commit" in words(fsck(full))


def record(repo: Repository, **changes: object) -> ObjectId:
    head = repo.refs.head().commit
    assert head is not None
    old = repo.read_commit(head)
    commit: Commit = replace(old, parents=(head,), number=old.number + 1, **changes)  # type: ignore[arg-type]
    return repo.record(commit, expected=head, message="")


def test_wrong_counts_are_found(full: Repository) -> None:
    record(full, live=7)
    assert "says 7 live edits, its tree holds 42" in words(fsck(full))


def test_a_wrong_number_is_found(full: Repository) -> None:
    head = full.refs.head().commit
    assert head is not None
    old = full.read_commit(head)
    full.record(replace(old, parents=(head,), number=9), expected=head, message="")
    assert "has number 9 after 3" in words(fsck(full))


def test_a_link_to_another_kind_is_found(full: Repository) -> None:
    record(full, delta=full.config.recipe.id)
    assert "needs a delta, but" in words(fsck(full))


def test_a_set_of_the_wrong_shape_is_found(full: Repository) -> None:
    head = full.refs.head().commit
    tree = full.tree_of(head)
    entries: list[Entry] = list(full.edits_of(tree).entries())[:20]
    root = full.write(Leaf(tuple(reversed(entries))))
    record(full, tree=full.write(Tree(base=tree.base, edits=root)), live=20)
    assert "not 1 to 32 entries in slot order" in words(fsck(full))


def test_an_object_that_does_not_decode_is_found(full: Repository) -> None:
    identifier = full.store.put(canonical_json({"kind": "fact", "subject": "x"}))
    assert f"{identifier}: object" in words(fsck(full))


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM commits WHERE number = 2", "does not list commit"),
        ("UPDATE commits SET message = 'other' WHERE number = 2", "disagrees with commit"),
        ("UPDATE facts SET subject = 'other' WHERE subject = 'Thing 1'", "disagrees with fact"),
        ("UPDATE located SET request = 'x' WHERE rowid = 1", "under a request"),
        ("INSERT INTO located SELECT 'x', id FROM facts LIMIT 1", "as a located edit"),
        (
            "INSERT INTO facts (id, slot, subject, prompt, target_new) VALUES ('0','','','','')",
            "which is missing",
        ),
        ("UPDATE facts SET tags = '[\"x\"]' WHERE subject = 'Thing 1'", "disagrees with fact"),
        ("UPDATE facts SET source = 'x' WHERE subject = 'Thing 1'", "disagrees with fact"),
        ("UPDATE changes SET new = NULL WHERE rowid = 1", "disagrees with what commit"),
        ("DELETE FROM changes", "disagrees with what commit"),
        ("INSERT INTO changes VALUES ('00', '', NULL, NULL)", "and not the commit"),
        ("UPDATE search SET text = 'x' WHERE number = 2", "has another text of"),
        ("DELETE FROM search WHERE kind = 'commit'", "has another text of"),
        ("INSERT INTO search_fts (search_fts) VALUES ('delete-all')", "full-text index does not"),
    ],
)
def test_an_index_that_disagrees_is_found_and_rebuilt(
    full: Repository, statement: str, problem: str
) -> None:
    with full.index.transaction():
        full.index.write(statement, [()])
    assert problem in words(fsck(full))
    rebuild(full.index, full.store)
    assert words(fsck(full)) == ""


def test_a_broken_configuration_is_found(full: Repository) -> None:
    (full.folder / "config.toml").write_text("[bse]\n")
    assert "config.toml: config bse" in words(fsck(full))


def test_a_recipe_named_by_located_edits_is_needed(repo: Repository) -> None:
    about = {"kind": "located", "request": "r", "recipe": "0" * 64}
    (identifier,) = repo.write_located([safetensors(about)])
    written = repo.write_fact(fact(1))
    edits = repo.edits_of(repo.tree_of(None)).update(
        {fact(1).slot: Entry(fact(1).slot, written, identifier)}
    )
    tree = repo.write(Tree(base=repo.config.base.id, edits=edits.root))
    commit = Commit(tree, (), "a", 0, "m", 1, 1, 1, None)
    repo.record(commit, expected=None, message="")
    assert f"needs recipe {'0' * 64}, which is missing" in words(fsck(repo))


def test_a_copy_of_the_folder_is_a_repository(full: Repository, tmp_path: Path) -> None:
    full.close()
    shutil.copytree(full.folder, tmp_path / "copy" / ".editvc")
    assert fsck(Repository.find(tmp_path / "copy")).clean

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest
from vcs_values import BASE, CONFIG, RECIPE, STATISTICS, commit_facts, create, fact, move

from editvc.core.history import Commit, Tree
from editvc.vcs.config_file import ConfigError
from editvc.vcs.files import WriteError
from editvc.vcs.folder_lock import FolderLock
from editvc.vcs.fsck import fsck
from editvc.vcs.index_rows import CommitRow
from editvc.vcs.refs import BranchMoved
from editvc.vcs.repository import NotARepository, Repository, RepositoryExists

FEW = 10
"""Statements that a command needs however long the history is."""


def test_create_makes_all_of_it(tmp_path: Path) -> None:
    repo = create(tmp_path)
    assert repo.folder == tmp_path / ".editvc"
    assert [path.name for path in tmp_path.iterdir()] == [".editvc"]
    assert repo.read_base() == BASE
    assert repo.read_recipe(RECIPE.id) == RECIPE == repo.config.recipe
    assert repo.store.get(RECIPE.statistics) == STATISTICS
    assert repo.cache.folder.is_dir()
    assert fsck(repo).clean


def test_who_made_a_repository_and_closed_it_keeps_gc_from_nothing(tmp_path: Path) -> None:
    """Whether or not Python has cleared away what was needed to make it."""
    gc.disable()
    try:
        create(tmp_path).close()
        assert FolderLock(tmp_path / ".editvc" / "objects").take()
    finally:
        gc.enable()


def test_create_copies_the_template_under_the_given_configuration(tmp_path: Path) -> None:
    (tmp_path / "template" / "hooks").mkdir(parents=True)
    (tmp_path / "template" / "hooks" / "pre-commit.sample").write_text("#!/bin/sh\n")
    (tmp_path / "template" / "config.toml").write_text("of the template")
    repo = Repository.create(
        tmp_path, base=BASE, recipe=RECIPE, config_text=CONFIG, template=tmp_path / "template"
    )
    assert (repo.folder / "hooks" / "pre-commit.sample").read_text() == "#!/bin/sh\n"
    assert repo.config_file.text() == CONFIG


def test_create_refuses_what_is_there_and_what_does_not_hold_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Repository.create(tmp_path, base=BASE, recipe=RECIPE, config_text="")
    assert list(tmp_path.iterdir()) == []
    create(tmp_path)
    with pytest.raises(RepositoryExists):
        create(tmp_path)
    with pytest.raises(WriteError):
        create(tmp_path / ".editvc" / "config.toml")


def test_find_looks_upwards(tmp_path: Path) -> None:
    create(tmp_path).close()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert Repository.find(deep).folder == tmp_path.resolve() / ".editvc"
    assert Repository.find(tmp_path).folder == tmp_path.resolve() / ".editvc"


def test_find_fails_as_git_does(tmp_path: Path) -> None:
    (tmp_path / ".editvc").write_text("a file, no folder")
    with pytest.raises(NotARepository, match="not an editvc repository") as caught:
        Repository.find(tmp_path)
    assert "editvc init" in caught.value.hint


def test_the_tree_of_base_is_empty(repo: Repository) -> None:
    assert repo.tree_of(None) == Tree(base=BASE.id)
    assert len(repo.edits_of(repo.tree_of(None))) == 0


def test_history_is_read_back(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    second = commit_facts(repo, fact(2), fact(3))
    again = Repository(repo.folder)
    assert again.refs.head().commit == second
    assert again.read_commit(second).parents == (first,)
    facts = {
        again.read_fact(entry.fact) for entry in again.edits_of(again.tree_of(second)).entries()
    }
    assert facts == {fact(1), fact(2), fact(3)}


def test_equal_sets_have_equal_trees_whatever_the_history(tmp_path: Path) -> None:
    trees = []
    for name, groups in (("a", [[1, 2, 3]]), ("b", [[3], [1], [2]])):
        (tmp_path / name).mkdir()
        repo = create(tmp_path / name)
        for group in groups:
            head = commit_facts(repo, *map(fact, group))
        trees.append(repo.read_commit(head).tree)
    assert trees[0] == trees[1]


def test_a_rewritten_line_is_recorded_as_a_whole(repo: Repository) -> None:
    first = commit_facts(repo, fact(1))
    old = commit_facts(repo, fact(2))
    template = repo.read_commit(old)
    middle = Commit(**{**fields_of(template), "message": "rewritten"})
    middle_id = repo.write(middle)
    last = Commit(**{**fields_of(template), "parents": (middle_id,), "number": 3})
    tip = repo.record(last, expected=old, message="squash", earlier=[middle])
    assert [row.id for row in repo.graph.log([tip])] == [tip, middle_id, first]
    assert repo.revisions.resolve("main@{1}") == old
    assert fsck(repo).clean


def fields_of(commit: Commit) -> dict[str, object]:
    return {name: getattr(commit, name) for name in Commit.__dataclass_fields__}


def test_a_moved_branch_stops_a_commit_and_changes_nothing(repo: Repository) -> None:
    head = commit_facts(repo, fact(1))
    stale = Commit(**{**fields_of(repo.read_commit(head)), "message": "too late"})
    with pytest.raises(BranchMoved, match="branch 'main'") as caught:
        repo.record(stale, expected=None, message="")
    assert caught.value.actual == head
    assert repo.refs.head().commit == head
    assert len(repo.index.commits()) == 1
    assert fsck(repo).clean


def test_facts_of_a_failed_commit_are_indexed_by_the_next(repo: Repository) -> None:
    head = commit_facts(repo, fact(1))
    repo.write_fact(fact(2))
    stale = repo.read_commit(head)
    with pytest.raises(BranchMoved):
        repo.record(stale, expected=None, message="")
    assert repo.index.fact(fact(2).id) is None
    commit_facts(repo, fact(3))
    assert {row.id for row in repo.index.facts()} == {fact(n).id for n in (1, 2, 3)}


def test_a_thousand_commits_are_listed_by_a_row_for_each_and_without_opening_objects(
    repo: Repository,
) -> None:
    head = commit_facts(repo, fact(0))
    row = repo.graph.row(head)
    rows = [row]
    for number in range(2, 1001):
        identifier = f"{number:064x}"
        values = {name: getattr(row, name) for name in CommitRow.__dataclass_fields__}
        parents = (rows[-1].id,)
        rows.append(CommitRow(**{**values, "id": identifier, "number": number, "parents": parents}))
    with repo.index.transaction():
        repo.index.add_commits(rows)
    move(repo, "refs/heads/main", head, rows[-1].id)
    for path in repo.store.folder.rglob("*"):
        if path.is_file():
            path.unlink()  # so nothing but the index can answer
    again, asked = Repository.find(repo.folder), []
    again.index.connection.set_trace_callback(asked.append)
    tip = again.revisions.commit("HEAD")
    listed = again.graph.log([tip])
    assert [row.number for row in listed] == list(range(1000, 0, -1))
    assert again.revisions.resolve_range("1..500") == [row.id for row in rows[:500]]
    assert len(asked) <= 2 * (len(rows) + FEW), "one for each commit in either list, and HEAD's"


def test_importing_the_plumbing_is_light() -> None:
    code = (
        "import sys, editvc.vcs.repository, editvc.vcs.fsck; "
        "heavy = {'torch', 'numpy', 'transformers', 'safetensors', 'sqlite_utils', 'pandas', "
        "'tomlkit'}; print(sorted(heavy & sys.modules.keys()))"
    )
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert done.stdout.strip() == "[]"

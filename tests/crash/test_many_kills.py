"""A few of the kills of ``kills.py`` and a small race of ``races.py``; both do more by hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from kills import COMMANDS, kill_many, place_of, problems
from races import race
from vcs_values import create, quick_folder
from verbs import template

from editvc.vcs.operation_log import set_current
from editvc.vcs.repository import Repository


def test_nothing_acknowledged_is_lost() -> None:
    with quick_folder() as folder:
        names = ("commit", "branch", "switch -c", "undo", "config")
        quick = {name: COMMANDS[name] for name in names}
        tally = kill_many(template(folder / "ready"), quick, 6, "with the tests")
    assert not tally.wrong and tally.acknowledged.total() > 0


def test_what_is_lost_is_found_out(tmp_path: Path) -> None:
    work = template(tmp_path / "work")
    last = place_of(work, "commit")
    assert problems(work, last) == []
    assert problems(work, replace(last, exported=True)) == ["lost the export"]
    assert "lost the setting" in problems(work, replace(last, setting=last.setting + 1))[0]
    with closing(Repository(work / ".editvc")) as repo:
        current = repo.operations.current()
        assert current is not None
        before = repo.operations.read(current).parents[0]
        with repo.index.unrecorded():
            set_current(repo.index, before)
    told = problems(work, last)
    assert any("lost operation" in one for one in told) and any("fsck" in one for one in told)


def test_a_race_of_committers_with_looks_at_them() -> None:
    with quick_folder() as place:
        create(place).close()
        wrong, made = race(place / ".editvc", 3, 11, 3)
    assert not wrong and made == 3 * 11 + 3, "three are taken back"

"""``editvc notes`` and ``shortlog``: words about commits, and commits by author."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import ADA, FACTS

from editvc.vcs.index_rebuild import rebuild
from editvc.vcs.repository import Repository


@pytest.fixture
def commits(here: Path) -> Path:
    """Three commits: by Ada, by Bo, and by Ada."""
    for number, author in enumerate((ADA, "Bo <bo@example.org>", ADA)):
        file = written(here / "f.jsonl", FACTS[number : number + 1])
        inside("commit", file, "-m", f"No. {number + 1}", "--author", author)
    return here


def test_a_note_changes_nothing_of_the_commit_and_history(commits: Path) -> None:
    log = ("log", "--no-notes", "--json")
    before = inside(*log).out, inside("status", "--json").out
    done = inside("notes", "add", "2", "-m", "Wrong\nin \x1b[31mpart", "--author", ADA)
    assert done.code != 0, "what cannot be seen is refused"
    done = inside("notes", "add", "2", "-m", "Wrong\nin part", "--author", ADA, "--json").json
    assert (done["number"], done["note"], done["author"]) == (2, "Wrong\nin part", ADA)
    assert (inside(*log).out, inside("status", "--json").out) == before
    assert [one.get("note") for one in inside("log", "--json").json] == [None, done["note"], None]
    assert inside("show", "2", "--json").json["note"] == done["note"]
    shown = ["| Notes:", "|     Wrong", "|     in part"]
    for words in (["log"], ["show", "2"]):
        lines = inside(*words).out.splitlines()
        at = lines.index("| Notes:")
        assert lines[at : at + 3] == shown
        assert "Notes" not in inside(*words, "--no-notes").out
    assert inside("notes").out == f"{done['commit'][:10]} 2 Wrong\n"
    assert inside("notes", "show", "2").out.splitlines()[1:] == ["    Wrong", "    in part"]
    assert inside("notes", "--json").json == [done] == [inside("notes", "show", "2", "--json").json]
    assert inside("fsck").code == 0


def test_a_note_is_written_over_only_by_force_and_removed_once(commits: Path) -> None:
    assert inside("notes", "add", "-m", "One").code == 0
    ran = inside("notes", "add", "-m", "Two")
    assert ran.code == 1 and "has a note already" in ran.err
    assert inside("notes", "add", "-m", "Two", "--force").code == 0
    assert inside("notes", "show", "--json").json["note"] == "Two"
    assert inside("notes", "add", "1", "-m", " ").code == 1
    assert inside("notes", "remove").code == 0
    assert inside("notes", "--json").json == []
    for words in (["show"], ["remove"]):
        ran = inside("notes", *words)
        assert ran.code == 1 and "has no note" in ran.err
    assert inside("fsck").code == 0


def test_notes_survive_an_index_that_is_built_anew(commits: Path) -> None:
    inside("notes", "add", "1", "-m", "Kept", "--author", ADA)
    before = inside("notes", "--json").json
    with closing(Repository.find(commits)) as repository:
        done = rebuild(repository.index, repository.store)
        assert (done.changed, done.damage) == ((), ())
    assert inside("notes", "--json").json == before
    assert inside("fsck").code == 0


def test_commits_by_author(commits: Path) -> None:
    assert inside("shortlog").out == (
        f"{ADA} (2, 2 edits):\n      No. 1\n      No. 3\n\n"
        "Bo <bo@example.org> (1, 1 edit):\n      No. 2\n\n"
    )
    assert inside("shortlog", "2..HEAD", "-s").out == f"     1  {ADA}\n"
    assert inside("shortlog", "-s", "-n").out.startswith("     2  Ada")
    groups = inside("shortlog", "--json").json
    assert [(one["author"], one["edits"], len(one["commits"])) for one in groups] == [
        (ADA, 2, 2), ("Bo <bo@example.org>", 1, 1),
    ]  # fmt: skip
    assert inside("shortlog", "base").out == ""

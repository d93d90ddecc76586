"""What the machine refuses is told as that, damage as damage; a read-only medium is read."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from vcs_values import commit_facts, fact

from editvc.errors import DamageError
from editvc.vcs.fsck import fsck
from editvc.vcs.index_file import IndexBusy, IndexDamaged, IndexRefused, meaning_of, reading
from editvc.vcs.repository import Repository

PATH = Path("index.db")
REFUSED = (
    "FULL", "READONLY", "READONLY_DIRECTORY", "IOERR", "IOERR_WRITE", "CANTOPEN", "PERM", "NOMEM",
    "PROTOCOL",
)  # fmt: skip
NOBODY = 65534


def error(name: str) -> sqlite3.OperationalError:
    made = sqlite3.OperationalError("of SQLite")
    codes = {"READONLY_DIRECTORY": 8 | 6 << 8, "IOERR_WRITE": 10 | 3 << 8}
    made.sqlite_errorcode = codes.get(name) or getattr(sqlite3, f"SQLITE_{name}")
    return made


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_machine_refuses_is_no_damage(name: str) -> None:
    told = meaning_of(error(name), PATH)
    assert isinstance(told, IndexRefused) and not isinstance(told, DamageError)
    assert told.exit_code == 1 and told.hint
    assert "copy" not in told.hint, "restoring one would lose what was committed since"


@pytest.mark.parametrize("name", ["CORRUPT", "NOTADB", "ERROR"])
def test_damage_is_damage(name: str) -> None:
    assert isinstance(meaning_of(error(name), PATH), IndexDamaged)


@pytest.mark.parametrize("name", ["BUSY", "LOCKED"])
def test_another_process_is_neither(name: str) -> None:
    assert isinstance(meaning_of(error(name), PATH), IndexBusy)


@contextmanager
def without_writing(folder: Path) -> Iterator[None]:
    """As a medium that takes no write: no file and no folder may be written."""
    places = [folder, *folder.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        yield
    finally:
        for place in places:
            place.chmod(0o755 if place.is_dir() else 0o644)


LOOK = f"""
import concurrent.futures.thread, encodings.utf_8_sig, os, shutil, sys, tempfile
from pathlib import Path
import tomlkit
from editvc.core.trust import Trust
from editvc.vcs import index_schema, recovery
from editvc.vcs.fsck import fsck
from editvc.vcs.index_file import IndexRefused
from editvc.vcs.repository import Repository
if os.geteuid() == 0:  # who may write anywhere, and whose Python nobody else may read
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})
repo = Repository.find(Path(sys.argv[1]), trust=Trust(folders=("*",)))
print(repo.refs.head().commit, len(repo.index.commits()), fsck(repo).clean)
try:
    repo.set_config("user.author", "Ada")
except IndexRefused as error:
    print(error)
"""


def look(work: Path) -> list[str]:
    """What somebody sees of a repository whom permissions bind, as they do not bind root."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(work)], stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return done.stdout.splitlines()


@pytest.fixture
def open_to_all(repo: Repository) -> Repository:
    """A repository below folders that anybody may enter."""
    for folder in repo.folder.parents:
        if folder.stat().st_mode & 0o005 != 0o005:
            try:
                folder.chmod(folder.stat().st_mode | 0o055)
            except OSError:
                pytest.skip("others cannot get at temporary files here")
    return repo


@pytest.mark.parametrize("log_left", [False, True])
def test_a_medium_that_takes_no_write_is_read(open_to_all: Repository, log_left: bool) -> None:
    repo = open_to_all
    head = commit_facts(repo, fact(1))
    if log_left:  # as a writer that was killed leaves it
        files = {path: path.read_bytes() for path in repo.folder.glob("index.db*")}
    repo.close()
    if log_left:
        assert {path.name for path in files} == {"index.db", "index.db-wal", "index.db-shm"}
        for path, data in files.items():
            if not path.name.endswith("-shm"):
                path.write_bytes(data)
    with without_writing(repo.folder):
        seen, refused = look(repo.folder.parent)
    assert seen == f"{head} 1 True"
    assert "cannot be used: it cannot be written" in refused


def test_a_reader_cannot_write(repo: Repository) -> None:
    commit_facts(repo, fact(1))
    with closing(reading(repo.index.path)) as connection:
        assert connection.execute("SELECT count(*) FROM commits").fetchall() == [(1,)]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM commits")


def test_no_descriptor_left_is_the_machines_trouble(repo: Repository) -> None:
    code = (
        "import resource, os, sys; from pathlib import Path\n"
        "from editvc.vcs.repository import Repository\n"
        "from editvc.errors import DamageError, EditvcError\n"
        "import editvc.vcs.index_schema, editvc.vcs.config_file\n"
        "held = [os.open('/dev/null', os.O_RDONLY)]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 1, held[0] + 1))\n"
        "try:\n    Repository(Path(sys.argv[1]))\n"
        "except DamageError as error: print('damage', error)\n"
        "except (EditvcError, OSError) as error: print('machine', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(repo.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("machine"), done.stdout
    assert os.strerror(errno.EMFILE) in done.stdout or "cannot be opened" in done.stdout


def test_fsck_sees_one_moment_whoever_writes(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_facts(repo, fact(1))
    other, ids, written = Repository(repo.folder), repo.store.ids, []

    def listed(prefix: str = "") -> Iterator[str]:
        names = list(ids(prefix))
        if not written:  # between the list of objects and all that follows
            written.append(commit_facts(other, fact(2)))
        return iter(names)

    monkeypatch.setattr(repo.store, "ids", listed)
    assert fsck(repo).errors == ()
    assert written and repo.refs.head().commit == written[0]

"""Commands that write to a repository, as they are typed, and a repository for all of them.

Those here need no model: elements are made up, and what is typed is typed in the folder of the
repository. ``model_verbs`` has the others. ``main`` has four commits, and ``side`` one more than
``main`` began with; ``clash`` cannot be merged without a decision.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli_runs import Ran, inside
from vcs_values import commit_facts, create, fact

from editvc.cli.boundary import failure_of
from editvc.vcs.remote_sections import TIMEOUT, RemoteSection
from editvc.vcs.repository import Repository

ADA = "Ada <ada@example.org>"
WHO = {"author": ADA, "time": 5}

Act = Callable[[Path], Ran]
"""Does something in the folder of a repository, as the command line would."""


@dataclass(frozen=True)
class Verb:
    """A command, and those before it that make it one with something to do.

    ``code`` is the exit code where all is well: 1 for a merge that asks for a decision. What is in
    :func:`state` under a name in ``apart`` may be new while all else is old: it is in a file that
    is written before the index is, and the command, typed again, goes on from there.
    """

    act: Act
    before: tuple[Act, ...] = ()
    code: int = 0
    apart: tuple[str, ...] = ()


def typed(*words: str) -> Act:
    """A command line."""

    def act(work: Path) -> Ran:
        with typed_in(work):
            return inside(*words)

    return act


@contextmanager
def typed_in(folder: Path) -> Iterator[None]:
    """Inside, ``folder`` is the current one, and Ada the author."""
    before = os.getcwd()
    os.chdir(folder)
    os.environ["EDITVC_AUTHOR"] = ADA
    try:
        yield
    finally:
        os.chdir(before)
        del os.environ["EDITVC_AUTHOR"]


def committed(work: Path) -> Ran:
    """A commit of two facts with made-up elements, its errors told as the command line does."""
    try:
        with closing(Repository(work / ".editvc")) as repo:
            return Ran(0, commit_facts(repo, fact(101), fact(102, "blue")), "")
    except Exception as error:
        failure = failure_of(error)
        return Ran(failure.code, "", f"{failure.message}\n{failure.hint}")


def left_behind(work: Path) -> Ran:
    """Objects that nothing leads to, beside those of a pack."""
    ran = typed("gc")(work)
    with closing(Repository(work / ".editvc")) as repo:
        repo.write_facts([fact(number, "black") for number in range(3)])
    return ran


def index_lost(work: Path) -> Ran:
    """Nobody typed that, and yet it is gone."""
    (work / ".editvc" / "index.db").unlink()
    return Ran(0, "", "")


def pushed_by_another(work: Path) -> Ran:
    """Somebody else commits to what is in the remote as well, and pushes it."""
    with tempfile.TemporaryDirectory(dir=work.parent) as place:
        other = Path(place)
        ran = inside("clone", work / SHARED, other / "clone")
        if ran.code:
            return ran
        with closing(Repository(other / "clone" / ".editvc")) as repo:
            commit_facts(repo, fact(int.from_bytes(os.urandom(3), "big"), "white"))
        return typed("push")(other / "clone")


SHARED = "shared"
"""The folder of the remote, in that of the repository."""


def with_origin(work: Path) -> Ran:
    """A remote by a name that stays the same in every copy of the folder."""
    with closing(Repository(work / ".editvc")) as repo:
        repo.set_remotes({"origin": RemoteSection(SHARED, TIMEOUT)})
    return Ran(0, "", "")


_SHARED = (with_origin, typed("push"), pushed_by_another)
_CLASH = typed("merge", "clash")
_NOTE = typed("notes", "add", "HEAD", "-m", "Seen.")
_DECISION = typed("resolve", fact(0).slot, "--theirs")

VERBS = {
    "commit": Verb(committed),
    "reset": Verb(typed("reset", "HEAD~1")),
    "branch": Verb(typed("branch", "new")),
    "branch -d": Verb(typed("branch", "-d", "side")),
    "tag": Verb(typed("tag", "v1")),
    "tag -d": Verb(typed("tag", "-d", "v1"), (typed("tag", "v1"),)),
    "switch": Verb(typed("switch", "side")),
    "switch -c": Verb(typed("switch", "-c", "new")),
    "switch --detach": Verb(typed("switch", "--detach", "1")),
    "merge that is a fast-forward": Verb(typed("merge", "main"), (typed("switch", "first"),)),
    "merge with a conflict": Verb(_CLASH, code=1),
    "merge --abort": Verb(typed("merge", "--abort"), (_CLASH,)),
    "resolve": Verb(_DECISION, (_CLASH,)),
    "undo": Verb(typed("undo")),
    "redo": Verb(typed("redo"), (typed("undo"),)),
    "notes add": Verb(_NOTE),
    "notes add --force": Verb(typed("notes", "add", "HEAD", "-m", "Again.", "-f"), (_NOTE,)),
    "notes remove": Verb(typed("notes", "remove"), (_NOTE,)),
    "config": Verb(typed("config", "user.author", "Bob")),
    "reindex": Verb(typed("reindex")),
    "fsck --repair": Verb(typed("fsck", "--repair")),
    "status without an index": Verb(typed("status"), (index_lost,)),
    "gc": Verb(typed("gc", "--prune", "now"), (left_behind,)),
    "remote add": Verb(typed("remote", "add", "origin", SHARED)),
    "push": Verb(typed("push"), (with_origin,)),
    "push again": Verb(typed("push"), (with_origin, typed("push"), committed)),
    "fetch": Verb(typed("fetch"), _SHARED),
    "pull of what was fetched": Verb(typed("pull"), (*_SHARED, typed("fetch"))),
}
"""By a name for each."""


def template(work: Path) -> Path:
    """Make the repository in ``work``, and return ``work``."""
    with closing(create(work)) as repo:
        first = commit_facts(repo, fact(0), fact(1))
        for name in ("first", "side", "clash"):
            repo.refs.create_branch(name, first, **WHO)
        commit_facts(repo, fact(2))
        commit_facts(repo, fact(0, "red"))
        commit_facts(repo, fact(3), fact(4))
        repo.refs.switch("side", **WHO)
        commit_facts(repo, fact(5))
        repo.refs.switch("clash", **WHO)
        commit_facts(repo, fact(0, "blue"))
        repo.refs.switch("main", **WHO)
    for folder in (work / ".editvc" / "objects").iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()  # so that it is made anew, and there is less to copy
    return work


def prepare_for(verb: Verb, ready: Path, work: Path) -> None:
    """A copy of the repository at ``ready`` in which ``verb`` has something to do."""
    shutil.copytree(ready, work)
    for act in verb.before:
        ran = act(work)
        assert ran.code in (0, 1), ran.err


def state(repo: Repository, out: Path) -> dict[str, object]:
    """All that a writing command may change, each for itself; exports are at ``out``."""
    head = repo.refs.head()
    entries = repo.edits_of(repo.tree_of(head.commit)).entries()
    return {
        "head": (head.branch, head.commit),
        "refs": repo.refs.all(),
        "reflog": repo.operations.moves(),
        "live": [repo.read_fact(entry.fact).id for entry in entries],
        "log": [row.id for row in repo.graph.log([head.commit] if head.commit else [])],
        "settings": repo.config_file.text(),
        "waiting": repo.pending.load(),
        "export": exported(out),
    }


def state_of(work: Path) -> dict[str, object]:
    """:func:`state` of the repository in a folder, and of ``out`` beside it."""
    with closing(Repository(work / ".editvc")) as repo:
        return state(repo, work / "out")


def exported(out: Path) -> Sequence[tuple[str, bytes]] | None:
    """The files of an export, whole; None where there is no folder."""
    if not out.is_dir():
        return None
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return [(path.relative_to(out).as_posix(), path.read_bytes()) for path in files]

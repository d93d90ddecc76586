"""``gc``: small objects into packs, and what nobody wants away.

Nothing is taken away before what replaces it is durable, so that a stop anywhere leaves every
object in one place at least. Readers that have a pack open read on; others look into the folder
again. What is dropped is unreachable and older than the period of grace, and dropped only while no
other process writes objects.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId
from editvc.errors import EditvcError
from editvc.vcs.files import is_temporary
from editvc.vcs.folder_lock import FolderLock
from editvc.vcs.pack_intake import admitted
from editvc.vcs.packs import Pack, PackDamaged, write_pack
from editvc.vcs.reachable import STANDING, Names, closure, roots
from editvc.vcs.repository import Repository

GRACE = 14 * 24 * 3600
"""Seconds for which what nothing leads to is kept at least, by default: two weeks."""

AT_WORK = 3600
"""Seconds in which who is writing a temporary file has added to it: it is no left-over before."""

LARGE = 1 << 20
"""Bytes from which on an object keeps its own file: a pack would spare nothing."""

ROWS = (("commits", "id"), ("changes", "commit_id"), ("facts", "id"), ("search", "id"))
"""The tables, and their columns, that speak of an object which may be dropped."""


class CollectorBusy(EditvcError):
    """Another process is collecting; nothing was changed."""

    exit_code = 5

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another `editvc gc` is at work in {folder}", hint="Wait for it to end, or leave it."
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to do.

    ``packed`` are loose objects that come into a pack, and ``copied`` all that will be in it, in
    order. ``spare`` are files that are needed no more then, ``old`` those that hold what is
    ``dropped``: nobody wants it, and it is older than the grace, as are the ``temporary`` files of
    interrupted writes. ``young`` counts what nobody wants and is kept.
    """

    packed: tuple[ObjectId, ...]
    copied: tuple[ObjectId, ...]
    spare: tuple[Path, ...]
    old: tuple[Path, ...]
    dropped: frozenset[ObjectId]
    temporary: tuple[Path, ...]
    young: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What ``gc`` did, or would do, counted: objects packed, packs that went into another one,
    objects dropped, objects that nobody wants and are kept, temporary files removed.

    ``waits``: others were writing objects, or came to want some, so that nothing was dropped.
    """

    packed: int
    merged: int
    dropped: int
    young: int
    temporary: int
    waits: bool = False

    def to_json(self) -> dict[str, Any]:
        """For ``gc --json``."""
        return asdict(self)


def gc(repository: Repository, before: float | None = None) -> Collected:
    """Pack, and drop what nobody wants and is older than ``before``, in seconds since the epoch.

    By default that is :data:`GRACE` ago.

    Raises :class:`CollectorBusy`, ``WriteError``, and ``ObjectDamaged`` where something that is
    wanted cannot be read: then nothing was taken away.
    """
    folder = repository.store.packs.folder
    if not folder.is_dir():
        repository.files.make_folder(folder)
    lock = FolderLock(folder)
    if not lock.take():
        raise CollectorBusy(folder)
    try:
        return _Collector(repository, _or_default(before)).collect()
    finally:
        lock.release()


def preview_gc(repository: Repository, before: float | None = None) -> Collected:
    """What :func:`gc` would do now."""
    return _counted(_Collector(repository, _or_default(before)).look())


def _or_default(before: float | None) -> float:
    return time.time() - GRACE if before is None else before


@dataclass(slots=True)
class _Collector:
    """One run over a repository."""

    repository: Repository
    before: float
    reached: dict[ObjectId, None] = field(default_factory=dict)

    def look(self) -> Found:
        store = self.repository.store
        with self.repository.index.snapshot():
            names = Names(store)
            closure(roots(self.repository), names.of, self.reached)
        loose, packs = list(store.loose_ids()), store.packs.all()
        kinds = {one: names.kind(one) for one in names.there if one not in self.reached}
        standing = [one for one, kind in kinds.items() if kind in STANDING]
        closure(standing, names.of_what_is_there, self.reached)
        aside = [one for one in kinds if one not in self.reached]
        kept = dict(self.reached)
        young = [one for one in aside if kinds[one] is None or self._young(one, packs)]
        closure(young, names.of_what_is_there, kept)
        dropped = frozenset(one for one in aside if one not in kept)
        rewritten = [pack for pack in packs if dropped.intersection(pack.ids())]
        staying = [pack for pack in packs if pack not in rewritten]
        small = [one for one in loose if one in self.reached and _size(store.path(one)) < LARGE]
        packed = [one for one in small if not any(pack.holds(one) for pack in staying)]
        fresh = sum(_size(store.path(one)) for one in packed)
        merged = _no_larger(staying, fresh) if packed or rewritten else []
        moved = {*packed, *(one for pack in (*merged, *rewritten) for one in pack.ids())}
        return Found(
            packed=tuple(packed),
            copied=tuple(one for one in kept if one in moved),
            spare=(*map(store.path, small), *(pack.path for pack in merged)),
            old=(
                *(store.path(one) for one in loose if one in dropped),
                *(pack.path for pack in rewritten),
            ),
            dropped=dropped,
            temporary=tuple(filter(self._left_over, self.repository.strays())),
            young=len(aside) - len(dropped),
        )

    def collect(self) -> Collected:
        found, store, files = self.look(), self.repository.store, self.repository.files
        kept = None
        if found.copied:
            objects = ((one, store.get(one)) for one in found.copied)
            _, draft = files.draft(store.packs.folder, lambda file: write_pack(file, objects))
            new = Pack(draft)
            if not new.whole():
                raise PackDamaged(draft, "does not hold what was just written to it")
            kept = admitted(new, files).path
        self._unlink(path for path in found.spare if path != kept)
        waits = bool(found.dropped) and not self._drop(found, kept)
        self._unlink(found.temporary)
        return _counted(found, waits)

    def _drop(self, found: Found, kept: Path | None) -> bool:
        """Take away what nobody wants, with what the index says of it; whether it was done.

        The rows go first: without them an object is garbage, and they without it would be damage.
        """
        repository, index = self.repository, self.repository.index
        with ExitStack() as stack:
            with index.unrecorded():  # before the lock: who writes has them in this order, too
                if not stack.enter_context(repository.store.alone()):
                    return False
                wanted = dict.fromkeys(self.reached)
                closure(roots(repository), Names(repository.store).of_what_is_there, wanted)
                if found.dropped & wanted.keys() or any(map(self._touched, found.old)):
                    return False
                for table, column in ROWS:
                    index.write(
                        f"DELETE FROM {table} WHERE {column} = ?", [(one,) for one in found.dropped]
                    )
            self._unlink(path for path in found.old if path != kept)
        return True

    def _unlink(self, paths: Iterable[Path]) -> None:
        folders = set()
        for path in paths:
            self.repository.files.unlink(path)
            folders.add(path.parent)
        for folder in sorted(folders):
            self.repository.files.settle(folder)

    def _young(self, identifier: ObjectId, packs: Iterable[Pack]) -> bool:
        places = [self.repository.store.path(identifier)]
        places += [pack.path for pack in packs if identifier in pack]
        return any(map(self._touched, places))

    def _touched(self, path: Path) -> bool:
        """Whether a file was written, or wanted again, within the grace."""
        return _written_since(path, self.before)

    def _left_over(self, path: Path) -> bool:
        """Whether an interrupted write left a file: one that is old, whatever the grace, for a
        writer of settings or caches holds no lock that says so.
        """
        if not is_temporary(path.name) or not path.is_file():
            return False
        return not _written_since(path, min(self.before, time.time() - AT_WORK))


def _counted(found: Found, waits: bool = False) -> Collected:
    packs = sum(path.suffix == ".pack" for path in (*found.spare, *found.old))
    return Collected(
        packed=len(found.packed),
        merged=packs,
        dropped=0 if waits else len(found.dropped),
        young=found.young,
        temporary=len(found.temporary),
        waits=waits,
    )


def _written_since(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime >= moment
    except FileNotFoundError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has packed it
        return LARGE


def _no_larger(packs: Iterable[Pack], size: int) -> list[Pack]:
    """Packs that are not twice as large as all that is written anyway: so each byte is copied a
    number of times that grows with the logarithm of the whole.
    """
    chosen = []
    for pack in sorted(packs, key=lambda pack: pack.size):
        if pack.size > 2 * size:
            break
        size += pack.size
        chosen.append(pack)
    return chosen

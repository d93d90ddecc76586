"""What comes from a remote: packs are read whole, and history is checked before a ref knows of it.

A remote is not trusted. Nothing of what it says is a path; each object has the digest that it goes
by, is of the kind that is asked for, and needs nothing that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from editvc.core.ids import ObjectId, short
from editvc.errors import DamageError
from editvc.vcs.files import Files, is_temporary
from editvc.vcs.object_links import Link
from editvc.vcs.pack_intake import Limits, PackRefused, admitted, dropped, received
from editvc.vcs.packs import Pack, PackDamaged
from editvc.vcs.remotes.connection import Remote
from editvc.vcs.remotes.document import Document, Listed
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError
from editvc.vcs.remotes.walk import (
    known_behind,
    news,
    objects_behind,
    require_history,
    sound,
)
from editvc.vcs.store import PACKS, DiskStore, ScratchStore

Has = Callable[[ObjectId], bool]
"""Whether a commit, and all that it needs, is here."""


class BundleNeeds(RemoteError):
    """A bundle of a part of a history, and the part before it is not here."""


class Arrived(ScratchStore):
    """A store with packs beside it that are not in it yet."""

    def __init__(self, store: DiskStore, packs: Sequence[Pack]) -> None:
        super().__init__(store)
        self.arrived = packs

    def get(self, identifier: ObjectId) -> bytes:
        """See :meth:`ObjectStore.get`."""
        for pack in self.arrived:
            with suppress(PackDamaged):
                if (data := pack.get(identifier)) is not None:
                    return data
        return super().get(identifier)

    def contains(self, identifier: ObjectId) -> bool:
        """See :meth:`ObjectStore.contains`."""
        return any(identifier in pack for pack in self.arrived) or super().contains(identifier)


@dataclass(slots=True)
class Intake:
    """Packs from a remote for one store: :meth:`take` and :meth:`check` them inside of
    :meth:`kept_whole`.
    """

    remote: Remote
    store: DiskStore
    files: Files
    packs: list[Pack]

    @classmethod
    def of(cls, remote: Remote, store: DiskStore, files: Files) -> Intake:
        """Nothing has come yet."""
        return cls(remote, store, files, [])

    @property
    def folder(self) -> Path:
        """Where packs arrive, under names in which nobody looks for objects."""
        return self.store.folder / PACKS

    def take(self, listed: Iterable[Listed]) -> None:
        """Read packs. Those that are here, from an attempt that was stopped, are not sent again.

        Raises ``RemoteUnreached`` (what has come whole is kept), ``PackRefused`` and
        ``RemoteDamaged``.
        """
        for one in listed:
            there = self.folder / f"{one.id}.pack"
            if there.is_file():
                self.packs.append(Pack(there))
                continue
            limits = Limits(pack=one.size)
            stream = self.remote.stream(one)
            pack = received(stream, self.folder, self.files, self.remote.url, limits)
            self.packs.append(pack)
            if pack.digest != one.id:
                raise RemoteDamaged(self.remote.url, f"has another pack than {short(one.id)}")

    def require_needs(self, document: Document, has: Has) -> None:
        """Raise :class:`BundleNeeds` where what a bundle stands on is not here."""
        for needed in document.needs:
            if not has(needed):
                raise BundleNeeds(
                    self.remote.url,
                    f"needs commit {short(needed)}, which is not here",
                    hint="Fetch what was bundled, or sent, before it.",
                )

    def check(self, document: Document, roots: Iterable[Link], has: Has) -> tuple[ObjectId, ...]:
        """See that all is there that refs and ``roots`` need; returns the objects that are new.

        Raises ``RemoteDamaged``, and :class:`BundleNeeds`.
        """
        self.require_needs(document, has)
        arrived = Arrived(self.store, self.packs)
        try:
            for pack in self.packs:
                for identifier in pack.ids():
                    sound(identifier, arrived.get(identifier))
            new = news(arrived, document.refs.values(), has)
            known = known_behind(arrived, new.boundary)
            links = [*roots, *(("commit", commit) for commit in new.commits)]
            reached = tuple(one.id for one in objects_behind(arrived, links, known))
            require_history(arrived, new.commits)
        except DamageError as cause:
            problem = f"does not hold together: {cause}"
            raise RemoteDamaged(self.remote.url, problem) from cause
        return reached

    @contextmanager
    def kept_whole(self) -> Iterator[None]:
        """Make what comes inside a part of the store, unless the other side is to blame for an end
        before it: then nothing stays. Where it was interrupted, packs that have come whole do.
        """
        try:
            yield
        except (PackRefused, RemoteDamaged, BundleNeeds):
            self._drop()
            raise
        except BaseException:
            self._keep()
            raise
        self._keep()

    @contextmanager
    def kept_not(self) -> Iterator[None]:
        """Take away what comes inside: it was to be looked at."""
        try:
            yield
        finally:
            self._drop()

    def _drop(self) -> None:
        for pack in self._new():
            dropped(pack)

    def _keep(self) -> None:
        for pack in self._new():
            admitted(pack, self.files)

    def _new(self) -> list[Pack]:
        return [pack for pack in self.packs if is_temporary(pack.path.name)]

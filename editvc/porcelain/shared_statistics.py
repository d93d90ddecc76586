"""``stats push`` and ``stats pull``: statistics that were taken once, for all who edit a base."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.ids import object_id, short
from editvc.core.methods.gated import GatedRecipe
from editvc.session.choose_recipe import choose
from editvc.session.on_branch import waits
from editvc.session.own_statistics import (
    SETTINGS,
    StatisticsDiffer,
    identity_of,
    in_force,
    own_pieces,
    send,
)
from editvc.session.session import Session
from editvc.session.take_shared import Wanted, opened_at, pulled_from, words_of
from editvc.vcs.remotes.connect import scheme_of
from editvc.vcs.remotes.statistics_share import Piece, Share
from editvc.vcs.remotes.transport import RemoteError, RemoteMoved


@dataclass(frozen=True, slots=True)
class Shared:
    """What a push or a pull moved: ``pieces`` of statistics, and the bytes that went.

    ``remarks`` are what a user should know of it.
    """

    url: str
    pieces: tuple[Piece, ...]
    size: int
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For ``stats push --json`` and ``stats pull --json``."""
        return {
            "url": self.url,
            "statistics": [
                {"role": one.role, "layers": list(one.layers), "id": one.id, "corpus": one.corpus,
                 "source": one.source, "samples": one.samples, "unit": one.unit}
                for one in self.pieces
            ],
            "bytes": self.size,
            "remarks": list(self.remarks),
        }  # fmt: skip


def push(session: Session, place: str, *, force: bool = False) -> Shared:
    """Share the statistics in force, layer by layer; what is there already is not sent again.

    Raises :class:`StatisticsDiffer` where others of the same layer and corpus are there, unless
    ``force``: then these are listed in their place.
    """
    share = _opened(session, place)
    files = own_pieces(session)
    if not files:
        raise RemoteError(
            share.url,
            "there are no statistics here that could be shared",
            hint="`editvc stats compute` takes some.",
        )
    for wait in waits():
        try:
            sent = send(share, files, force=force)
        except RemoteMoved as moved:
            last = moved
        else:
            words = words_of(sent.replaced)
            remarks = (f"replaced in {share.url}: {words}",) if words else ()
            return Shared(share.url, sent.pieces, sent.size, remarks)
        time.sleep(wait)
    raise last


def pull(
    session: Session, place: str, *, corpora: Sequence[str] = (), force: bool = False
) -> Shared:
    """Take statistics of this base and these layers from a share, and put them in force.

    Raises :class:`NotShared`, ``RemoteDamaged`` for what is not what it is said to be, and
    :class:`StatisticsDiffer` where others are in force, unless ``force``.
    """
    gated = choose(session, next(iter(GatedRecipe.ROWS))).recipe.layers
    wanted = Wanted(
        session.repository.read_base(), identity_of(session), session.recipe().layers, gated,
        tuple(corpora),
    )  # fmt: skip
    share = _opened(session, place)
    pulled = pulled_from(share, wanted)
    names = {setting: role for role, setting in SETTINGS.items()}
    before = {SETTINGS[role]: one for role, one in in_force(session).items()}
    ids = {setting: object_id(data) for setting, data in pulled.objects.items()}
    others = {name for name, one in ids.items() if before.get(name, one) != one}
    if others and not force:
        raise StatisticsDiffer(
            f"other statistics are in force here than {share.url} has: "
            + ", ".join(sorted(names[one] for one in others)),
            (names[one] for one in others),
            hint="--force puts those in force; yours stay stored, and `editvc config` sets them "
            "back.",
        )
    session.repository.store.put_all(pulled.objects.values())
    session.repository.set_configs(ids)
    remarks = [f"{name} was {short(before[name])}; `editvc config` sets it back" for name in others]
    size = sum(one.size for one in pulled.pieces)
    return Shared(share.url, pulled.pieces, size, tuple(sorted(remarks)))


def _opened(session: Session, place: str) -> Share:
    """The share of a remote's name, or at an address."""
    remotes = session.repository.config.remotes
    if section := remotes.get(place):
        return opened_at(section.url, session.progress, section.timeout)
    if scheme_of(place) == "file" and "/" not in place and not Path(place).exists():
        raise RemoteError(
            place,
            "is neither the name of a remote nor a folder",
            hint=f"./{place} makes a folder. Remotes: " + (", ".join(remotes) or "none yet"),
        )
    return opened_at(place, session.progress)

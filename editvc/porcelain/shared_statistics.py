"""``stats push`` and ``stats pull``: statistics that were taken once, for all who edit a base."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from editvc.core.ids import ObjectId, object_id, short
from editvc.core.methods.gated import GatedRecipe
from editvc.errors import EditvcError
from editvc.session.choose_recipe import choose
from editvc.session.on_branch import waits
from editvc.session.session import Session
from editvc.session.take_inputs import INPUTS
from editvc.session.take_shared import IN_RECIPE, Wanted, opened_at, pulled_from, words_of
from editvc.statistics.layer_pieces import corpus_of, split
from editvc.vcs.codec import metadata
from editvc.vcs.remotes.connect import scheme_of
from editvc.vcs.remotes.statistics_share import (
    ENTITIES,
    OF_INPUTS,
    SENSITIVITY,
    TEXT,
    Piece,
    Share,
)
from editvc.vcs.remotes.transport import RemoteError, RemoteMoved

SETTINGS = IN_RECIPE | {OF_INPUTS: INPUTS}
"""The settings that name the statistics in force, by role."""


class StatisticsDiffer(EditvcError):
    """Two statistics of one role, where one must give way, and nobody said which. ``roles``."""

    exit_code: ClassVar[int] = 5

    def __init__(self, problem: str, roles: Iterable[str], *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.roles = tuple(roles)


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


# -- sending ------------------------------------------------------------------------------------


def push(session: Session, place: str, *, force: bool = False) -> Shared:
    """Share the statistics in force, layer by layer; what is there already is not sent again.

    Raises :class:`StatisticsDiffer` where others of the same layer and corpus are there, unless
    ``force``: then these are listed in their place.
    """
    share = _opened(session, place)
    files = _own_pieces(session)
    if not files:
        raise RemoteError(
            share.url,
            "there are no statistics here that could be shared",
            hint="`editvc stats compute` takes some.",
        )
    for wait in waits():
        try:
            return _attempt(share, files, force)
        except RemoteMoved as moved:
            last = moved
        time.sleep(wait)
    raise last


def _attempt(share: Share, files: dict[Piece, bytes], force: bool) -> Shared:
    listed, seen = share.look()
    there = {one.key: one for one in listed}
    missing = [one for one in files if there.get(one.key, one).id != one.id or one.key not in there]
    replaced = [one for one in missing if one.key in there]
    if replaced and not force:
        raise StatisticsDiffer(
            f"{share.url} has other statistics of the same base, layers and corpus: "
            + words_of(replaced),
            (one.role for one in replaced),
            hint="`editvc stats pull` takes those that are there; --force puts yours in their "
            "place.",
        )
    size = 0
    with tempfile.TemporaryDirectory(prefix="editvc-stats-") as scratch:
        for one in missing:
            file = Path(scratch) / one.id
            file.write_bytes(files[one])
            size += one.size * share.send(one, file)
        if missing:
            share.swap((there | {one.key: one for one in missing}).values(), seen, size)
    remarks = [f"replaced in {share.url}: {words_of(replaced)}"] if replaced else []
    return Shared(share.url, tuple(missing), size, tuple(remarks))


def _own_pieces(session: Session) -> dict[Piece, bytes]:
    """The statistics in force of the base in force, as pieces, with their bytes."""
    config, pieces = session.repository.config, dict[Piece, bytes]()
    for role, identifier in in_force(session).items():
        data = session.repository.store.get(identifier)
        record = metadata(data)
        if record.get("base") != config.base.id:
            continue  # those of a base before `editvc base` are no others' either
        parts = {tuple(record["layers"]): data} if role == SENSITIVITY else split(data)
        for layers, part in parts.items():
            piece = Piece(
                object_id(part), len(part), config.base.id, _identity(session), role, layers,
                corpus_of(metadata(part)), str(record["source"]), record["samples"],
                str(record["unit"]),
            )  # fmt: skip
            pieces[piece] = part
    return pieces


def in_force(session: Session) -> dict[str, ObjectId]:
    """The statistics that commits use, by role; those that wait are left out."""
    recipe, config = session.recipe(), session.repository.config
    found = {
        TEXT: recipe.statistics,
        ENTITIES: recipe.entity_statistics,
        SENSITIVITY: recipe.sensitivity,
        OF_INPUTS: config.get(INPUTS),
    }
    return {role: ObjectId(one) for role, one in found.items() if one}


# -- taking -------------------------------------------------------------------------------------


def pull(
    session: Session, place: str, *, corpora: Sequence[str] = (), force: bool = False
) -> Shared:
    """Take statistics of this base and these layers from a share, and put them in force.

    Raises :class:`NotShared`, ``RemoteDamaged`` for what is not what it is said to be, and
    :class:`StatisticsDiffer` where others are in force, unless ``force``.
    """
    gated = choose(session, next(iter(GatedRecipe.ROWS))).recipe.layers
    wanted = Wanted(
        session.repository.read_base(), _identity(session), session.recipe().layers, gated,
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


def _identity(session: Session) -> ObjectId:
    """The whole identity of the base. Raises for a repository that is older than these."""
    identity = session.repository.config.base.identity
    if identity is None:
        raise EditvcError(
            "this repository does not say which model its base is as a whole, so statistics of it "
            "cannot be told from those of a relative",
            hint="`editvc base MODEL` says it.",
        )
    return identity


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

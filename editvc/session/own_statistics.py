"""The statistics of a repository as a share has them: those in force, by layers, and sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from editvc.core.ids import ObjectId, object_id
from editvc.errors import EditvcError
from editvc.session.session import Session
from editvc.session.take_inputs import INPUTS
from editvc.session.take_shared import IN_RECIPE, words_of
from editvc.statistics.layer_pieces import corpus_of, split
from editvc.vcs.codec import metadata
from editvc.vcs.remotes.statistics_share import (
    ENTITIES,
    OF_INPUTS,
    SENSITIVITY,
    TEXT,
    Piece,
    Share,
)

SETTINGS = IN_RECIPE | {OF_INPUTS: INPUTS}
"""The settings that name the statistics in force, by role."""


class StatisticsDiffer(EditvcError):
    """Two statistics of one role, where one must give way, and nobody said which. ``roles``."""

    exit_code: ClassVar[int] = 5

    def __init__(self, problem: str, roles: Iterable[str], *, hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.roles = tuple(roles)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a share lacked, the bytes that went, and what was listed in its place before."""

    pieces: tuple[Piece, ...]
    size: int
    replaced: tuple[Piece, ...]


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


def own_pieces(session: Session) -> dict[Piece, bytes]:
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
                object_id(part), len(part), config.base.id, identity_of(session), role, layers,
                corpus_of(metadata(part)), str(record["source"]), record["samples"],
                str(record["unit"]),
            )  # fmt: skip
            pieces[piece] = part
    return pieces


def identity_of(session: Session) -> ObjectId:
    """The whole identity of the base. Raises for a repository that is older than these."""
    identity = session.repository.config.base.identity
    if identity is None:
        raise EditvcError(
            "this repository does not say which model its base is as a whole, so statistics of it "
            "cannot be told from those of a relative",
            hint="`editvc base` looks at the base, and records it.",
        )
    return identity


def send(share: Share, files: Mapping[Piece, bytes], *, force: bool) -> Sent:
    """Send what a share lacks of ``files``, and list it.

    Raises :class:`StatisticsDiffer` where others of the same key are there, unless ``force`` puts
    these in their place; and ``RemoteMoved``.
    """
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
    return Sent(tuple(missing), size, tuple(replaced))

"""Statistics that many repositories share: layer by layer in one place, and a document of them.

A layer of statistics is a file under the digest of its bytes. The document says of each what it was
taken from: the base, the layers, and the corpus with its settings. It comes from outside, so
all of it is checked; what is in the files is checked by who knows statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from editvc.core.ids import ObjectId, canonical_json, object_id, short
from editvc.core.plain_json import JsonError, read_json
from editvc.core.record_types import is_object_id, misfit
from editvc.vcs.remotes.connection import Connection
from editvc.vcs.remotes.document import LARGEST, MOST
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError, Seen

DOCUMENT = "editvc-statistics.json"
"""The name of the document. It may lie beside that of a history."""

FORMAT = "editvc statistics 1"
TEXT, ENTITIES, SENSITIVITY, OF_INPUTS = "text", "entities", "sensitivity", "inputs"
ROLES = (TEXT, ENTITIES, SENSITIVITY, OF_INPUTS)
LARGEST_PIECE = 4 << 30
"""Bytes of one layer's statistics, at most: keys of 46,000 entries."""
LONGEST_SOURCE = 1000
"""Characters of what a corpus is called."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Statistics of one layer, or of those that cannot be told apart, as a share lists them.

    ``base`` and ``identity`` say which model they are of, ``corpus`` is a digest of what they were
    taken from and how, and ``source`` names it for people; ``samples`` counts ``unit``.
    """

    id: ObjectId
    size: int
    base: ObjectId
    identity: ObjectId
    role: str
    layers: tuple[int, ...]
    corpus: str
    source: str
    samples: int
    unit: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What two pieces must differ in, or have the same bytes."""
        return self.base, self.identity, self.role, self.layers, self.corpus

    @property
    def name(self) -> str:
        """Where it is in a share."""
        return f"statistics/{self.id}.safetensors"


class Share(Connection):
    """A share of statistics in use."""

    def look(self) -> tuple[tuple[Piece, ...], Seen]:
        """What is listed, checked; nothing where there is no document. Raises ``RemoteDamaged``."""
        seen = self.document()
        if seen.data is None:
            return (), seen
        try:
            return tuple(_read(seen.data)), seen
        except ValueError as cause:
            raise RemoteDamaged(self.url, f"has a list of statistics that {cause}") from cause

    def require(self) -> tuple[Piece, ...]:
        """What is listed, where there is a list. Raises :class:`RemoteError`."""
        pieces, seen = self.look()
        if seen.data is None:
            raise RemoteError(
                self.url,
                "no statistics are shared here",
                hint="Look at the address; `editvc stats push REMOTE` shares those of a "
                "repository.",
            )
        return pieces

    def swap(self, pieces: Iterable[Piece], seen: Seen, sent: int) -> None:
        """List these in the place of what was seen, behind ``sent`` bytes of files.

        Raises ``RemoteMoved``.
        """
        rows = [asdict(one) for one in sorted(pieces, key=lambda one: one.key)]
        self.swap_bytes(canonical_json({"format": FORMAT, "statistics": rows}), seen, sent)

    def fetch(self, piece: Piece) -> bytes:
        """The bytes of a piece, of which the digest is right. Raises ``RemoteDamaged``."""
        stream = self.stream(piece)
        data = b"".join(iter(stream.read, b""))
        if len(data) != piece.size or object_id(data) != piece.id:
            raise RemoteDamaged(self.url, f"has other bytes than those of {short(piece.id)}")
        return data


def _read(data: bytes) -> Iterator[Piece]:
    """The pieces of a document. Raises ``ValueError``, in words that "it" goes before."""
    if len(data) > LARGEST:
        raise ValueError(f"is longer than {LARGEST} bytes")
    try:
        record = read_json(data)
    except JsonError as cause:
        raise ValueError(f"is no JSON: {cause}") from cause
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError("is of no format that this editvc knows")
    rows = record.get("statistics")
    if not isinstance(rows, list) or len(rows) > MOST:
        raise ValueError(f"is no list, or has more than {MOST} rows")
    keys = set()
    for row in rows:
        piece = _piece(row)
        if piece.key in keys:
            raise ValueError(f"has {piece.role} of layers {list(piece.layers)} twice")
        keys.add(piece.key)
        yield piece


def _piece(row: Any) -> Piece:
    try:
        piece = Piece(**row)
        piece = replace(piece, layers=tuple(piece.layers))
    except TypeError as cause:
        raise ValueError("has a row that lacks a part, or has another in its place") from cause
    ids = (piece.id, piece.base, piece.identity, piece.corpus)
    if misfit(piece) is not None or not all(map(is_object_id, ids)):
        raise ValueError("has a row with a value of the wrong kind")
    if piece.role not in ROLES or not piece.layers or [*piece.layers] != sorted({*piece.layers}):
        raise ValueError("has a row of a role or of layers that there cannot be")
    if not 0 < piece.size <= LARGEST_PIECE or piece.samples < 1 or piece.layers[0] < 0:
        raise ValueError("has a row with a number that there cannot be")
    if len(piece.source) > LONGEST_SOURCE or len(piece.unit) > LONGEST_SOURCE:
        raise ValueError("has a row with an endless name")
    return piece

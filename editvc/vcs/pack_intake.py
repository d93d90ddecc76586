"""A pack from outside: read to its last byte, and refused for anything that is wrong with it.

What comes is written under a temporary name, in which nobody looks for objects; it gets its own
when all of it has been checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from editvc.core.ids import short
from editvc.errors import EditvcError
from editvc.vcs.files import Files
from editvc.vcs.packs import CHUNK, MAGIC, Pack, PackDamaged


class PackRefused(EditvcError):
    """A pack from outside that is damaged, or was made to do harm. Nothing of it was taken."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(
            f"what comes from {source} is no sound pack: it {problem}",
            hint="Try again; where it stays so, do not trust the other side, and have it run "
            "`editvc fsck`.",
        )
        self.source = source
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that is taken: bytes of a pack, objects in it, and bytes of one object."""

    pack: int = 1 << 40
    objects: int = 10_000_000
    object: int = 16 << 30


def received(
    stream: BinaryIO, folder: Path, files: Files, source: str, limits: Limits | None = None
) -> Pack:
    """Read a pack from a stream, and check everything: it is in ``folder``, and not yet visible.

    Give it to :func:`admitted`, or :func:`dropped`. ``source`` says in messages where it comes
    from. Raises :class:`PackRefused`, and ``WriteError``.
    """
    limits = limits or Limits()
    _, draft = files.draft(folder, lambda file: _copied(stream, file, source, limits))
    try:
        pack = Pack(draft)
        for problem in problems(pack, limits):
            raise PackRefused(source, problem)
    except PackDamaged as cause:
        draft.unlink(missing_ok=True)
        raise PackRefused(source, cause.problem) from cause
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return pack


def admitted(pack: Pack, files: Files) -> Pack:
    """Give a pack that was :func:`received` its name: its objects are there from here on."""
    final = pack.path.with_name(pack.name)
    files.move(pack.path, final)
    pack.path = final
    return pack


def dropped(pack: Pack) -> None:
    """Take a pack away that was :func:`received` and is not wanted after all."""
    pack.close()
    pack.path.unlink(missing_ok=True)


def problems(pack: Pack, limits: Limits | None = None) -> Iterator[str]:
    """Everything that is wrong with a pack, in words that "it" goes before; reads all of it."""
    limits = limits or Limits()
    if pack.count > limits.objects:
        yield f"has {pack.count} objects, where {limits.objects} are the most"
        return  # what takes time by their number is not begun
    if not pack.whole():
        yield "does not have the digest that it gives for itself"
    identifiers = list(pack.ids())
    if any(one >= following for one, following in pairwise(identifiers)):
        yield "has ids that are not in rising order"
    if any(identifier not in pack for identifier in identifiers):
        yield "has an id where its index does not find it"
    yield from _gaps(pack)
    for row, identifier in enumerate(identifiers):
        if pack.place(row).length > limits.object:
            yield f"has an object of more than {limits.object} bytes, {short(identifier)}"
            continue
        try:
            pack.get(identifier)
        except PackDamaged as error:
            yield error.problem


def _gaps(pack: Pack) -> Iterator[str]:
    """Bodies lie side by side, from the first byte to the index."""
    end = len(MAGIC)
    for place in sorted(pack.place(row) for row in range(pack.count)):
        if place.offset != end:
            yield "has bodies that overlap, or something between them"
            return
        end = place.end
    if end != pack.bodies_end:
        yield "has something between its bodies and its index"


def _copied(stream: BinaryIO, file: BinaryIO, source: str, limits: Limits) -> None:
    size = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        if size > limits.pack:
            raise PackRefused(source, f"is longer than {limits.pack} bytes")
        file.write(chunk)

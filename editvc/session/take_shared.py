"""Statistics from a share: those of a base and its layers, found, fetched, checked and joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId, short
from editvc.core.progress import Progress
from editvc.errors import DamageError
from editvc.session.take_inputs import INPUTS
from editvc.statistics.bundle import StatisticsBundle
from editvc.statistics.layer_pieces import join, require_statistics
from editvc.vcs.remote_sections import TIMEOUT
from editvc.vcs.remotes.connect import connect
from editvc.vcs.remotes.statistics_share import (
    DOCUMENT,
    ENTITIES,
    OF_INPUTS,
    SENSITIVITY,
    TEXT,
    Piece,
    Share,
)
from editvc.vcs.remotes.transport import RemoteDamaged, RemoteError

IN_RECIPE = {
    TEXT: "recipe.statistics",
    ENTITIES: "recipe.entity_statistics",
    SENSITIVITY: "recipe.sensitivity",
}
"""The settings that name statistics of keys, by role, in the order of a bundle's objects."""


class NotShared(RemoteError):
    """A share has no statistics of this base that serve, or too many to choose from."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which statistics are asked for: of a base, and of the layers that each method edits.

    ``corpora`` are the first digits of those that are taken where there are several.
    """

    base: BaseModel
    identity: ObjectId
    layers: tuple[int, ...]
    gated_layers: tuple[int, ...]
    corpora: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came: statistics of keys, those of inputs, and the pieces that they are made of."""

    bundle: StatisticsBundle | None
    inputs: bytes | None
    pieces: tuple[Piece, ...]

    @property
    def objects(self) -> dict[str, bytes]:
        """The objects, by the settings that name them."""
        of_keys = self.bundle.objects if self.bundle is not None else ()
        found = dict(zip(IN_RECIPE.values(), of_keys, strict=False))
        return found | ({INPUTS: self.inputs} if self.inputs is not None else {})


def opened_at(place: str, progress: Progress | None, timeout: float = TIMEOUT) -> Share:
    """The share at an address. Raises ``RemoteError``."""
    return Share(connect(place, document=DOCUMENT), timeout=timeout, progress=progress)


def pulled_from(share: Share, wanted: Wanted, needs: Iterable[str] = ()) -> Pulled:
    """What a share has of what is wanted, fetched and checked.

    Statistics of keys are text, names and sensitivity together, or none. Raises :class:`NotShared`
    for what is among ``needs`` ("statistics", "inputs") and not there, or where nothing is.
    """
    listed = [
        one
        for one in share.require()
        if (one.base, one.identity) == (wanted.base.id, wanted.identity)
    ]
    chooser = _Chooser(share.url, listed, wanted.corpora)
    text = chooser.layers_of(TEXT, wanted.layers)
    whole = chooser.corpora(SENSITIVITY, wanted.layers)
    names = chooser.layers_of(ENTITIES, wanted.layers, whole)
    inputs = chooser.layers_of(OF_INPUTS, wanted.gated_layers)
    sensitivity = [
        one
        for one in listed
        if names and (one.role, one.layers) == (SENSITIVITY, wanted.layers)
        and one.corpus == names[0].corpus
    ]  # fmt: skip
    complete = bool(text and names and sensitivity)
    lacking = {"statistics": not complete, "inputs": not inputs}
    if all(lacking.values()) or any(lacking[need] for need in needs if need in lacking):
        raise _lacking(share.url, wanted, listed)
    joined = [_joined(share, wanted.base, one) for one in (text, names, sensitivity) if complete]
    return Pulled(
        StatisticsBundle(*joined) if complete else None,
        _joined(share, wanted.base, inputs) if inputs else None,
        tuple([*text, *names, *sensitivity] if complete else []) + tuple(inputs),
    )


@dataclass(frozen=True, slots=True)
class _Chooser:
    """Of the pieces that a share has of a base, those of one corpus for each role."""

    url: str
    listed: Sequence[Piece]
    prefixes: Sequence[str]

    def corpora(self, role: str, layers: tuple[int, ...]) -> set[str]:
        """The corpora of the pieces of just these layers."""
        return {one.corpus for one in self.listed if (one.role, one.layers) == (role, layers)}

    def layers_of(
        self, role: str, layers: Sequence[int], among: set[str] | None = None
    ) -> list[Piece]:
        """The pieces of a role that cover ``layers``; none where no corpus does.

        Raises :class:`NotShared` where several do, and none or more of them are asked for.
        """
        corpora = set.intersection(
            *(self.corpora(role, (layer,)) for layer in layers),
            *([among] if among is not None else []),
        )
        asked = {one for one in corpora if one.startswith(tuple(self.prefixes))}
        if len(asked or corpora) > 1:
            choice = {one.corpus: one for one in self.listed if one.corpus in (asked or corpora)}
            words = (
                f"{short(one.corpus)} ({one.source}, {one.samples} {one.unit})"
                for one in choice.values()
            )
            raise NotShared(
                self.url,
                f"has statistics of several corpora for {role}: " + ", ".join(sorted(words)),
                hint="`editvc stats pull --corpus DIGEST` says which to take, in a repository that "
                "began with `editvc init --later`.",
            )
        return sorted(
            (
                one
                for one in self.listed
                if one.role == role and one.corpus in (asked or corpora)
                and one.layers[0] in layers
            ),
            key=lambda one: one.layers,
        )  # fmt: skip


def _joined(share: Share, base: BaseModel, pieces: Sequence[Piece]) -> bytes:
    """One object of the layers of ``pieces``. Raises ``RemoteDamaged``."""
    parts = []
    for one in pieces:
        data = share.fetch(one)
        narrow = one.role in (SENSITIVITY, OF_INPUTS)
        try:
            require_statistics(
                data, base=base.id, layers=one.layers, corpus=one.corpus,
                width=base.hidden_size if narrow else base.inner_size,
                inputs=one.role == OF_INPUTS,
            )  # fmt: skip
        except DamageError as cause:
            raise RemoteDamaged(
                share.url, f"has a file of {words_of([one])} that fits nothing: it {cause}"
            ) from cause
        parts.append(data)
    return parts[0] if len(parts) == 1 else join(parts)


def _lacking(url: str, wanted: Wanted, listed: Sequence[Piece]) -> NotShared:
    """What is said where a share does not serve: what it has of this base, if anything."""
    of_base = f"base {short(wanted.base.id)}"
    if not listed:
        return NotShared(
            url,
            f"has no statistics of {of_base}",
            hint="Whoever has some shares them with `editvc stats push`; `editvc stats compute` "
            "takes them here.",
        )
    return NotShared(
        url,
        f"has, of {of_base}, {words_of(listed)}; layers {list(wanted.layers)} are to be edited, or "
        f"{list(wanted.gated_layers)} by gates, and of all keys text, names and sensitivity are "
        "needed",
        hint="`editvc config recipe.layers` edits others; `editvc stats compute` takes them here.",
    )


def words_of(pieces: Iterable[Piece]) -> str:
    """Roles and layers, for people."""
    roles: dict[str, set[int]] = {}
    for one in pieces:
        roles.setdefault(one.role, set()).update(one.layers)
    return "; ".join(f"{role} of layers {sorted(layers)}" for role, layers in roles.items())

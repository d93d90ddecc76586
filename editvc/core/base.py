"""The base model that everything in a repository is relative to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId, canonical_json, object_id


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Which model a repository edits, exactly.

    ``source`` is what the user named (a folder, a Hub id, ``pocket``) and only tells where to load
    from; it is not part of the identity. ``weights`` maps the name of every editable tensor (the
    MLP down projections) to the sha256 of its bytes; ``config`` and ``tokenizer`` are digests.
    ``architecture`` is the confirmed block of a family that the architecture table lacked when the
    repository was made, as sorted pairs; empty, and then no part of the identity, for all others.
    """

    source: str
    revision: str | None
    model_type: str
    layers: int
    hidden_size: int
    inner_size: int
    weights: tuple[tuple[str, str], ...]
    config: str
    tokenizer: str
    architecture: tuple[tuple[str, str | bool], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The identity: what must be equal for two bases to be the same model."""
        confirmed = {"architecture": dict(self.architecture)} if self.architecture else {}
        return confirmed | {
            "kind": "base",
            "model_type": self.model_type,
            "layers": self.layers,
            "hidden_size": self.hidden_size,
            "inner_size": self.inner_size,
            "weights": {name: digest for name, digest in self.weights},
            "config": self.config,
            "tokenizer": self.tokenizer,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any], *, source: str, revision: str | None) -> BaseModel:
        """The inverse of :meth:`to_json`, with the place to load from."""
        return cls(
            source=source,
            revision=revision,
            model_type=record["model_type"],
            layers=record["layers"],
            hidden_size=record["hidden_size"],
            inner_size=record["inner_size"],
            weights=tuple(sorted(record["weights"].items())),
            config=record["config"],
            tokenizer=record["tokenizer"],
            architecture=tuple(sorted(record.get("architecture", {}).items())),
        )

    @property
    def id(self) -> ObjectId:
        """The address of the base as a stored object."""
        return object_id(canonical_json(self.to_json()))

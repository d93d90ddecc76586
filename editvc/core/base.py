"""The base model that everything in a repository is relative to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from editvc.core.ids import ObjectId, canonical_json, object_id


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Which model a repository edits: the part of its identity that commits name.

    It covers what edits change. That all else is the same, too, is what :class:`Identity` says.
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


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model a base is, whole: two with equal ones compute the same of the same text.

    ``tensors`` has the sha256 of every tensor that the model loads, by the names of its parameters.
    ``config`` is canonical JSON: the settings of config.json that decide what the model computes.
    ``tokenizer`` is a digest of what the tokenizer does, however its file is written. An identity
    is stored beside the base, for commits name the base by :attr:`BaseModel.id`.
    """

    tensors: tuple[tuple[str, str], ...]
    config: str
    tokenizer: str

    @property
    def settings(self) -> dict[str, Any]:
        """``config`` as a mapping."""
        return dict(json.loads(self.config))

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the identity's id is computed."""
        return {
            "kind": "identity",
            "tensors": dict(self.tensors),
            "config": self.settings,
            "tokenizer": self.tokenizer,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Identity:
        """The inverse of :meth:`to_json`."""
        return cls(
            tensors=tuple(sorted(record["tensors"].items())),
            config=canonical_json(dict(record["config"])).decode(),
            tokenizer=record["tokenizer"],
        )

    @property
    def id(self) -> ObjectId:
        """The address of the identity as a stored object."""
        return object_id(canonical_json(self.to_json()))

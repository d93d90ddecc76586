"""The identity of a base, read from its folder without loading the model, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.ids import digest_of
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import EDITABLE, Checkpoint
from editvc.models.source import ModelFiles, ModelNotFoundError, QuantisedError

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
_UNIMPORTANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class BaseMismatchError(EditvcError):
    """A model that is not the base a repository was made for. ``part`` names what differs."""

    def __init__(self, source: str, part: str) -> None:
        super().__init__(
            f"'{source}' is not the base of this repository: {part} differs",
            hint="Give the folder or the revision that the repository was made with, "
            "or start a new repository on this model with `editvc init`.",
        )
        self.part = part


class WeightShapeError(EditvcError):
    """A weight whose shape is not what config and architecture table say."""


def describe(files: ModelFiles) -> BaseModel:
    """The identity of a model, read without loading it.

    Digests of the down projections are streamed; the weights go by the names that the model's
    modules have, whatever prefix the file leaves out. Raises :class:`ModelNotFoundError`,
    :class:`QuantisedError`, :class:`WeightShapeError`, and the errors of ``checkpoint``.
    """
    architecture, checkpoint = files.architecture, Checkpoint(files.folder)
    layers = _depth(files.config, architecture, checkpoint)
    names = [architecture.weight_name(layer) for layer in range(layers)]
    for name in names:
        if (dtype := checkpoint.info(name).dtype) not in EDITABLE:
            raise QuantisedError(files.source, f"tensor {name} is stored as {dtype}")
    shapes = {tuple(checkpoint.info(name)[1]) for name in names}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2:
        raise WeightShapeError(
            f"the down projections of {files.folder} have no common shape",
            hint="editvc edits dense models whose blocks are all alike.",
        )
    hidden, inner = reversed(shape) if architecture.transposed else shape
    return BaseModel(
        source=files.source,
        revision=files.revision,
        model_type=architecture.model_type,
        layers=layers,
        hidden_size=hidden,
        inner_size=inner,
        weights=tuple(sorted((name, checkpoint.digest(name)) for name in names)),
        config=digest_of({k: v for k, v in files.config.items() if k not in _UNIMPORTANT}),
        tokenizer=_tokenizer_digest(files.folder, files.source),
        architecture=files.block,
    )


def require_same(expected: BaseModel, actual: BaseModel) -> None:
    """Raise :class:`BaseMismatchError`, naming the tensor or part, unless the two are one model."""
    if expected.id == actual.id:
        return
    digests = dict(actual.weights)
    for name, digest in expected.weights:
        if digests.get(name) != digest:
            raise BaseMismatchError(actual.source, f"tensor {name}")
    ours, theirs = expected.to_json(), actual.to_json()
    part = next(key for key in theirs | ours if ours.get(key) != theirs.get(key))
    raise BaseMismatchError(actual.source, part)


def _depth(config: Mapping[str, Any], architecture: Architecture, checkpoint: Checkpoint) -> int:
    """The number of blocks, by the config where it says so, else by the tensors there are."""
    for name in ("num_hidden_layers", "n_layer", "num_layers"):
        if isinstance(config.get(name), int):
            return int(config[name])
    suffix = f".{architecture.down_proj}.weight"
    return sum(1 for name in checkpoint.tensors if name.endswith(suffix))


def _tokenizer_digest(folder: Path, source: str) -> str:
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in _TOKENIZER_FILES
        if (folder / name).is_file()
    }
    if not digests:
        raise ModelNotFoundError(
            source,
            f"no tokenizer files in {folder}",
            hint="Save the tokenizer beside the model: tokenizer.save_pretrained(folder).",
        )
    if "tokenizer.json" in digests:
        return digests["tokenizer.json"]
    return digest_of(digests)

"""The identity of a base, read from its folder without loading the model, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel, Identity
from editvc.core.ids import canonical_json, digest_of
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import EDITABLE, Checkpoint
from editvc.models.config_meaning import differing, settings_of
from editvc.models.source import ModelFiles, QuantisedError
from editvc.models.tensor_digests import Memory, is_loaded, tensor_digests
from editvc.models.tokenizer_content import bytes_digests, content_digest, present

_UNIMPORTANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
_HEAD = "lm_head.weight"


class BaseMismatchError(EditvcError):
    """A model that is not the base a repository was made for. ``part`` names what differs."""

    def __init__(self, source: str, part: str, how: str = "differs") -> None:
        super().__init__(
            f"'{source}' is not the base of this repository: {part} {how}",
            hint="If the base was moved, `editvc base DIR` names its new folder. Another model "
            "needs a repository of its own: `editvc init`.",
        )
        self.part = part
        self.what = f"{part} {how}"


class WeightShapeError(EditvcError):
    """A weight whose shape is not what config and architecture table say."""


def describe(
    files: ModelFiles, memory: Memory | None = None, progress: Progress | None = None
) -> BaseModel:
    """The base that a model is, read without loading it.

    The weights go by the names that the model's modules have, whatever prefix the file leaves out.
    ``memory`` keeps digests. Raises :class:`ModelNotFoundError`, :class:`QuantisedError`,
    :class:`WeightShapeError`, ``NotFiniteError``, and the errors of ``checkpoint``.
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
    digests = tensor_digests(checkpoint, memory, progress)
    return BaseModel(
        source=files.source,
        revision=files.revision,
        model_type=architecture.model_type,
        layers=layers,
        hidden_size=hidden,
        inner_size=inner,
        weights=tuple(sorted((name, digests[checkpoint.find(name)]) for name in names)),
        config=digest_of({k: v for k, v in files.config.items() if k not in _UNIMPORTANT}),
        tokenizer=_tokenizer_digest(files.folder, files.source),
        architecture=files.block,
    )


def identify(
    files: ModelFiles, memory: Memory | None = None, progress: Progress | None = None
) -> Identity:
    """The whole identity of a model; raises what :func:`describe` raises."""
    checkpoint = Checkpoint(files.folder)
    digests = tensor_digests(checkpoint, memory, progress)
    loaded = {
        name: digest for name, digest in digests.items() if is_loaded(name, checkpoint.info(name))
    }
    root = files.architecture.layers.partition(".")[0] + "."
    if not any(name.startswith(root) for name in loaded):
        loaded = {_rooted(root, name): digest for name, digest in loaded.items()}
    for name in (_HEAD, files.architecture.stored_name(_HEAD)):
        head = loaded.pop(name, None)
        if head is not None and head not in loaded.values():  # else it is the embedding's copy
            loaded[name] = head
    return Identity(
        tensors=tuple(sorted(loaded.items())),
        config=canonical_json(settings_of(files.config)).decode(),
        tokenizer=content_digest(files.folder, files.source),
    )


def require_identical(expected: Identity, actual: Identity, source: str) -> None:
    """Raise :class:`BaseMismatchError`, naming the tensor, setting or file that differs."""
    if expected == actual:
        return
    here, there = dict(expected.tensors), dict(actual.tensors)
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            how = (
                "is missing" if name not in there
                else "is not in the base" if name not in here
                else "differs"
            )  # fmt: skip
            raise BaseMismatchError(source, f"tensor {name}", how)
    if names := differing(expected.settings, actual.settings):
        changes = (
            f"{name} is {actual.settings.get(name)!r}, in the base {expected.settings.get(name)!r}"
            for name in names
        )
        raise BaseMismatchError(source, "config", f"differs ({'; '.join(changes)})")
    if expected.tokenizer != actual.tokenizer:
        raise BaseMismatchError(source, "tokenizer")


def require_same(expected: BaseModel, actual: BaseModel, folder: Path) -> None:
    """Raise :class:`BaseMismatchError` unless two bases are one, by all that a base itself says.

    ``folder`` holds the files of ``actual``; a tokenizer that was written again is still the same.
    """
    if expected.id == actual.id:
        return
    digests = dict(actual.weights)
    for name, digest in expected.weights:
        if digests.get(name) != digest:
            raise BaseMismatchError(actual.source, f"tensor {name}")
    ours, theirs = expected.to_json(), actual.to_json()
    for part in sorted(theirs | ours):
        same = ours.get(part) == theirs.get(part)
        if part == "tokenizer":
            same = same or ours[part] in bytes_digests(folder, actual.source)
        if not same:
            raise BaseMismatchError(actual.source, part)


def _rooted(root: str, name: str) -> str:
    return name if name == _HEAD else root + name


def _depth(config: Mapping[str, Any], architecture: Architecture, checkpoint: Checkpoint) -> int:
    """The number of blocks, by the config where it says so, else by the tensors there are.

    Raises :class:`WeightShapeError` where it says more than there are tensors.
    """
    for name in ("num_hidden_layers", "n_layer", "num_layers"):
        if isinstance(said := config.get(name), int):
            if said > len(checkpoint.tensors):
                raise WeightShapeError(
                    f"the config of {checkpoint.folder} says {name} = {said:.3g}, and there are "
                    f"{len(checkpoint.tensors)} tensors",
                    hint="Download the model again.",
                )
            return said
    suffix = f".{architecture.down_proj}.weight"
    return sum(1 for name in checkpoint.tensors if name.endswith(suffix))


def _tokenizer_digest(folder: Path, source: str) -> str:
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in present(folder, source)
    }
    return digests.get("tokenizer.json") or digest_of(digests)

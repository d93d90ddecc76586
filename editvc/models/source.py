"""From the name of a base to its files, and what they say. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from editvc.core.plain_json import read_json
from editvc.errors import EditvcError
from editvc.models.architectures import (
    Architecture,
    Block,
    BlockError,
    architecture_of,
    read_block,
)

POCKET = "pocket"
"""The source that names the small model inside the package."""

CONFIG = ["config.json"]
"""All that is needed to know what a model is, where its weights are not."""

_FILES = ["*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt", "*.jinja"]
SHIPPED_STATISTICS = tuple(
    f"statistics-{role}.safetensors" for role in ("text", "entities", "sensitivity")
)
"""Statistics that a model folder may carry beside the weights, as the pocket model's does."""

SHIPPED_BASE = "statistics-base.json"
"""The whole identity of the model that they were taken from: of no other they are statistics."""


_QUANTISED = ("quantization_config", "compression_config")


class ModelNotFoundError(EditvcError):
    """No model folder where ``source`` says. ``source`` is what the user named."""

    def __init__(self, source: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"model '{source}': {problem}", hint=hint)
        self.source = source
        self.problem = problem


class QuantisedError(EditvcError):
    """A base whose weights are packed into few bits. ``what`` says by which sign that is known."""

    def __init__(self, source: str, what: str) -> None:
        super().__init__(
            f"model '{source}' is quantised ({what}): its weights cannot take an additive change",
            hint="Edit the 16-bit model that it was made of, write the edits with "
            "`editvc export --format lora`, and load this adapter on the quantised model.",
        )
        self.what = what


def require_unquantised(config: Mapping[str, Any], source: str) -> None:
    """Raise :class:`QuantisedError` for a ``config.json`` that says how weights were packed."""
    for name in _QUANTISED:
        if packing := config.get(name):
            method = packing.get("quant_method", name) if isinstance(packing, dict) else name
            raise QuantisedError(source, f"{name} in config.json: {method}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model's folder, what its ``config.json`` says, and where its parts are: all read once.

    ``source`` is what names it for good: a Hub id, ``pocket``, or the folder's absolute path.
    """

    folder: Path
    source: str
    revision: str | None
    config: Mapping[str, Any]
    architecture: Architecture
    block: Block = ()


def open_model(
    source: str, revision: str | None = None, *, block: Block = (), block_file: Path | None = None
) -> ModelFiles:
    """The files of a model; ``block``, or that of ``block_file``, is of a family not in the table.

    Raises :class:`ModelNotFoundError`, :class:`QuantisedError`, :class:`BlockError` for a file of
    another family's block, and the errors of :func:`editvc.models.architectures.architecture_of`.
    """
    require_utf8(source)
    folder = resolve(source, revision)
    confirmed = read_block(block_file) if block_file is not None else None
    config = read_config(folder, source)
    model_type = str(config.get("model_type"))
    if confirmed is not None:
        if confirmed.model_type != model_type:
            raise BlockError(
                f"{block_file}: is for model type '{confirmed.model_type}', and {source} is a "
                f"'{model_type}'",
                hint=f"`editvc arch {source}` shows the block that fits.",
            )
        block = confirmed.pairs
    is_folder = source != POCKET and Path(source).expanduser().is_dir()
    lasting = str(folder.resolve()) if is_folder else source
    require_unquantised(config, lasting)
    return ModelFiles(folder, lasting, revision, config, architecture_of(model_type, block), block)


def require_utf8(source: str) -> None:
    """Raise :class:`ModelNotFoundError` for a name that no settings file can hold."""
    try:
        source.encode()
    except UnicodeEncodeError as error:
        raise ModelNotFoundError(
            ascii(source),
            "its name is not UTF-8",
            hint="Rename the folder, or make a link to it with another name.",
        ) from error


def resolve(
    source: str,
    revision: str | None = None,
    *,
    offline: bool = False,
    files: Sequence[str] = _FILES,
) -> Path:
    """The folder with the files of a model: ``pocket``, a folder, or a Hub id (downloaded).

    From the Hub only safetensors, JSON and tokenizer files of the top folder are fetched, or the
    names in ``files``; ``offline`` looks in the local Hub cache alone. Raises
    :class:`ModelNotFoundError`.
    """
    if source == POCKET:
        folder = Path(str(resources.files("editvc.pocket"))) / "model"
    elif Path(source).expanduser().is_dir():
        folder = Path(source).expanduser()
    elif Path(source).expanduser().is_absolute() or source.startswith("."):
        raise ModelNotFoundError(
            source, "no such folder", hint="Name a folder that holds a model, or a Hub id."
        )
    else:
        folder = _downloaded(source, revision, offline, files)
    if not (folder / "config.json").is_file():
        raise ModelNotFoundError(
            source,
            f"no config.json in {folder}",
            hint="A model folder holds config.json, tokenizer.json and *.safetensors.",
        )
    return folder


def _downloaded(source: str, revision: str | None, offline: bool, files: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            source,
            revision=revision,
            allow_patterns=list(files),
            ignore_patterns=["*/*"],
            local_files_only=offline,
        )
    except HFValidationError as error:
        raise ModelNotFoundError(
            source,
            "no such folder, and no valid Hub id",
            hint="Name a folder, or a Hub id like `openai-community/gpt2`.",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelNotFoundError(
            source,
            f"no such folder, and not to be had from the Hub: {str(error).splitlines()[0]}",
            hint="Check the name, the revision, the network and `hf auth login`.",
        ) from error
    return Path(folder)


def read_config(folder: Path, source: str) -> dict[str, Any]:
    """The ``config.json`` of a folder. Raises :class:`ModelNotFoundError`."""
    path = folder / "config.json"
    try:
        config = read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            source, f"no config.json in {folder}", hint="Name a folder with a whole model."
        ) from error
    except ValueError as error:
        raise ModelNotFoundError(source, f"{path} is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelNotFoundError(source, f"{path} holds no JSON object")
    return config

"""A GGUF file as a model folder that can be edited, and loaded to be asked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from editvc.interchange.gguf_file import open_gguf
from editvc.interchange.gguf_layout import GgufLayout, GgufRefused
from editvc.interchange.manifest import read_manifest, write_manifest
from editvc.interchange.staging import recover, staged
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Checkpoint
from editvc.models.language_model import LanguageModel
from editvc.models.loading import quiet_loading
from editvc.models.source import read_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

KIND = "unpacked"
SUFFIX = ".base"


def is_gguf(source: str) -> bool:
    """Whether a base is named by a GGUF file."""
    return source.endswith(".gguf") and Path(source).expanduser().is_file()


def unpack(path: Path) -> Path:
    """The folder beside a GGUF file that holds its model, every number as the file means it.

    Made on first use, in float32, and known again by the file's sha256. Raises
    :class:`GgufRefused` for a file of which transformers or editvc cannot read all, and
    :class:`~editvc.core.output_path.TargetError` where the folder's name is taken.
    """
    target = path.with_name(path.stem + SUFFIX)
    digest = sha256(path)
    kept = read_manifest(target) or {}
    if kept.get("format") == KIND and kept.get("sha256") == digest:
        return target
    held = {one.name for one in open_gguf(path).tensors}
    model, tokenizer = _loaded(path)
    recover(target)
    with staged(target, replace=bool(kept)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _require_all(path, folder, held)
        write_manifest(folder, KIND, {"gguf": path.name, "sha256": digest})
    return target


def packed_as(folder: Path) -> Path | None:
    """The GGUF file that a folder was unpacked from; ``None`` for a folder of another origin.

    Raises :class:`GgufRefused` where that file is gone, or another one by now.
    """
    record = read_manifest(folder) or {}
    if record.get("format") != KIND:
        return None
    path = folder.resolve().parent / str(record.get("gguf"))
    if not path.is_file() or sha256(path) != record.get("sha256"):
        problem = "is another file now" if path.is_file() else "is gone"
        raise GgufRefused(
            f"{path}, of which the base was unpacked, {problem}",
            hint="Put it back, or write the whole model anew: --quantize Q8_0",
        )
    return path


def load_gguf(path: Path, architecture: Architecture) -> LanguageModel:
    """The model of a GGUF file in float32, loaded by transformers alone.

    Raises :class:`GgufRefused` where transformers does not load it.
    """
    model, tokenizer = _loaded(path)
    return LanguageModel(model, tokenizer, architecture)


def sha256(path: Path) -> str:
    """Of a whole file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _loaded(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model (eval, float32, nothing of the packing in its configuration) and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = path.resolve().parent
    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
            packed = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=path.name, dtype=torch.float32
            )
    except (OSError, RuntimeError, ValueError, KeyError, NotImplementedError) as error:
        raise GgufRefused(
            f"transformers does not load {path} ({error})",
            hint="Edit the 16-bit model that it was made of: `editvc init DIR`.",
        ) from error
    config = packed.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    return model.to(torch.float32).eval(), tokenizer


def _require_all(path: Path, folder: Path, held: set[str]) -> None:
    """Raise unless the folder has every tensor of the file, and none besides."""
    layout = GgufLayout(read_config(folder, str(folder)))
    made = {name for stored in Checkpoint(folder).tensors if (name := layout.name(stored))}
    if odd := sorted(made ^ held):
        raise GgufRefused(f"{path}: {', '.join(odd[:3])} cannot be read as a weight of its model")

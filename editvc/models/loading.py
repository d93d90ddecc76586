"""From a model folder to a loaded model.

``trust_remote_code`` stays off. Weights are read from safetensors only. Importing this module does
not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.errors import EditvcError
from editvc.models.architectures import Block, architecture_of
from editvc.models.language_model import LanguageModel
from editvc.models.source import read_config
from editvc.models.tokenization import require_offsets

if TYPE_CHECKING:
    import torch

_QUANTISED = ("quantization_config", "compression_config")


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


def load(
    folder: Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    block: Block = (),
) -> LanguageModel:
    """The model of a folder, in evaluation mode, no parameter asking for gradients.

    ``dtype`` None is float32 on the CPU and the files' own elsewhere; ``device`` None is the CPU.
    ``block`` is the confirmed one of a family that the architecture table lacks. Raises
    :class:`QuantisedError`, :class:`editvc.models.tokenization.SlowTokenizerError` and
    :class:`editvc.models.architectures.UnknownArchitectureError`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = read_config(folder, str(folder))
    require_unquantised(config, str(folder))
    architecture = architecture_of(str(config.get("model_type")), block)
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True)
    require_offsets(tokenizer)
    place = torch.device(device or "cpu")
    if dtype is None and place.type == "cpu":
        dtype = torch.float32
    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            torch_dtype="auto",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    model = model.to(device=place, dtype=dtype).eval().requires_grad_(False)
    return LanguageModel(model, tokenizer, architecture)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Loading without transformers' own progress bar and remarks; both are put back."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

"""From a model folder to a loaded model.

``trust_remote_code`` stays off. Weights are read from safetensors only. Importing this module does
not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from editvc.models.language_model import LanguageModel
from editvc.models.source import ModelFiles
from editvc.models.tokenization import require_offsets

if TYPE_CHECKING:
    import torch


def load(
    files: ModelFiles,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> LanguageModel:
    """The model of some files, in evaluation mode, no parameter asking for gradients.

    ``dtype`` None is float32 on the CPU and the files' own elsewhere; ``device`` None is the CPU.
    Raises :class:`editvc.models.tokenization.SlowTokenizerError`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(files.folder, use_fast=True, local_files_only=True)
    require_offsets(tokenizer)
    place = torch.device(device or "cpu")
    if dtype is None and place.type == "cpu":
        dtype = torch.float32
    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            files.folder,
            torch_dtype="auto",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    model = model.to(device=place, dtype=dtype).eval().requires_grad_(False)
    return LanguageModel(model, tokenizer, files.architecture)


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

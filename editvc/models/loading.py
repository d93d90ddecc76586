"""From a model folder to a loaded model.

``trust_remote_code`` stays off. Weights are read from safetensors only. Importing this module does
not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from editvc.core.compute import Compute
from editvc.models.checkpoint import Checkpoint
from editvc.models.devices import placement
from editvc.models.language_model import LanguageModel
from editvc.models.source import ModelFiles
from editvc.models.tokenization import require_offsets

REFERENCE = Compute("cpu", "float32")
"""What every machine has, and the most exact: what other ways to run a model are compared to."""


def load(files: ModelFiles, compute: Compute = REFERENCE) -> LanguageModel:
    """The model of some files, in evaluation mode, no parameter asking for gradients.

    Raises :class:`editvc.models.tokenization.SlowTokenizerError` and
    :class:`editvc.models.devices.NoSuchDevice`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(files.folder, use_fast=True, local_files_only=True)
    require_offsets(tokenizer)
    stored = Checkpoint(files.folder).read(files.architecture.weight_name(0)).dtype
    place = placement(compute, stored)
    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            files.folder,
            torch_dtype=place.dtype,  # model.to(dtype) would round what a rotation turns by, too
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    model = model.to(place.device).eval().requires_grad_(False)
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

"""From a model folder to a loaded model.

``trust_remote_code`` stays off. Weights are read from safetensors only. Importing this module does
not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from math import ceil, prod

from editvc.core.compute import Compute
from editvc.errors import EditvcError
from editvc.models.checkpoint import Checkpoint
from editvc.models.devices import Placement, free_memory, placement
from editvc.models.language_model import LanguageModel
from editvc.models.source import ModelFiles
from editvc.models.tokenization import require_offsets

REFERENCE = Compute("cpu", "float32")
"""What every machine has, and the most exact: what other ways to run a model are compared to."""


_LONG = "sequence-length-is-longer-than-the-specified-maximum"
"""What transformers says once of a text that a model cannot take, and not if it was said before."""


def load(files: ModelFiles, compute: Compute = REFERENCE) -> LanguageModel:
    """The model of some files, in evaluation mode, no parameter asking for gradients.

    Raises :class:`editvc.models.tokenization.SlowTokenizerError`, :class:`TokenizerError` and
    :class:`editvc.models.devices.NoSuchDevice`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            files.folder, use_fast=True, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # a tokenizer's own files raise whatever they like
        raise TokenizerError(files, error) from error
    require_offsets(tokenizer)
    tokenizer.deprecation_warnings[_LONG] = True  # lengths are checked where texts are read
    place = place_for(files, compute)
    spread = {"device_map": "auto"} if outgrows(files, place) else {}
    with quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            files.folder,
            torch_dtype=place.dtype,  # model.to(dtype) would round what a rotation turns by, too
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **spread,
        )
    if not spread:
        model = model.to(place.device)
    model = model.eval().requires_grad_(False)
    return LanguageModel(model, tokenizer, files.architecture)


def place_for(files: ModelFiles, compute: Compute) -> Placement:
    """Where the model of some files goes. Raises ``NoSuchDevice``."""
    stored = Checkpoint(files.folder).read(files.architecture.weight_name(0)).dtype
    return placement(compute, stored)


def outgrows(files: ModelFiles, place: Placement) -> bool:
    """Whether a model is too large for its device, and is to be spread over all that there are.

    Raises :class:`MissingAccelerate`.
    """
    if devices_for(files, place) == 1:
        return False
    if find_spec("accelerate") is None:
        raise MissingAccelerate(files.source)
    return True


def devices_for(files: ModelFiles, place: Placement) -> int:
    """How many devices like its own a model needs: GPUs only are put together.

    What it leaves beside its weights has to hold a pass: a fifth of them. An index (``cuda:1``)
    asks for one device and gets it.
    """
    if place.device.type != "cuda" or place.named:
        return 1
    checkpoint = Checkpoint(files.folder)
    numbers = sum(prod(checkpoint.info(name).shape) for name in checkpoint.tensors)
    return ceil(1.2 * numbers * place.dtype.itemsize / max(1, free_memory(place.device)))


class MissingAccelerate(EditvcError):
    """A model that is larger than the device, and no accelerate to spread it."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"{source} is larger than the GPU's free memory, and spreading it needs accelerate",
            hint="pip install 'editvc[accelerate]', or --device cpu, or --dtype bfloat16 where it "
            "is in float32.",
        )


class TokenizerError(EditvcError):
    """A tokenizer that transformers cannot load by itself; code of its folder is never run."""

    def __init__(self, files: ModelFiles, cause: Exception) -> None:
        config = files.folder / "tokenizer_config.json"
        asks = config.is_file() and b"auto_map" in config.read_bytes()
        why = next(iter(str(cause).splitlines()), type(cause).__name__)
        super().__init__(
            f"model '{files.source}': its tokenizer cannot be loaded: {why}",
            hint=f"{config} asks for code from the model's own folder (auto_map), which editvc "
            "never runs: save the tokenizer again as a fast one of transformers, as tokenizer.json."
            if asks
            else "Look at the tokenizer's files, or fetch them again.",
        )
        self.path = config if asks else files.folder


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

"""What a stranger gets: load an export the plain way, and look at what it does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel
from editvc.models.loading import quiet_loading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class ReloadError(EditvcError):
    """An export that transformers or PEFT does not load. ``path`` is its folder."""

    def __init__(self, path: Path, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path


class MissingPeft(EditvcError):
    """An adapter can be written without PEFT, but not checked."""


def reloaded(
    folder: Path,
    architecture: Architecture,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LanguageModel:
    """The model in ``folder``, loaded by transformers alone; ``architecture`` is that of the base.

    In another ``dtype`` or on another ``device`` than the model's that it is compared with, two
    words that are about as likely may change places. Raises :class:`ReloadError` where transformers
    refuses the folder, or finds weights missing in it.
    """
    model, tokenizer = _load(folder, dtype)
    return LanguageModel(model.to(device), tokenizer, architecture)


def verify_reload(
    folder: Path,
    architecture: Architecture,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 12,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> list[str]:
    """Greedy completions by the model in ``folder``, as :func:`reloaded` has it.

    One completion per prompt, without the prompt and without special tokens.
    """
    lm = reloaded(folder, architecture, dtype=dtype, device=device)
    return [generate(lm, prompt, max_new_tokens) for prompt in prompts]


def verify_adapter(
    base: Path, adapter: Path, edited: LanguageModel, prompts: Sequence[str]
) -> float:
    """Largest difference of any logit between base + adapter (through PEFT) and ``edited``.

    ``edited`` is a loaded model of the same base, in float32 on the CPU. NaN where a logit of
    either is not a number; 0 without prompts. Raises
    :class:`MissingPeft` without the ``lora`` extra, :class:`ReloadError` where PEFT refuses.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingPeft(
            "checking an adapter needs PEFT", hint="pip install 'editvc[lora]'"
        ) from error
    model, tokenizer = _load(base, torch.float32)
    try:
        with warnings.catch_warnings():
            # PEFT asks a transformers model by a name that is on its way out.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            adapted = PeftModel.from_pretrained(model, str(adapter)).eval()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ReloadError(adapter, f"PEFT does not load it ({error})") from error
    largest = [torch.zeros(())]
    with torch.no_grad():
        for prompt in prompts:
            encoded = tokenizer(prompt, return_tensors="pt")
            difference = adapted(**encoded).logits - edited.model(**encoded).logits
            largest.append(difference.abs().max())
    return float(torch.stack(largest).max())  # unlike Python's, torch's max does not pass over NaN


def _load(folder: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model (eval, on the CPU) and tokenizer, from local files only."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                torch_dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ReloadError(folder, f"transformers does not load it ({error})") from error
    if missing := sorted(map(str, report["missing_keys"])):
        raise ReloadError(folder, f"weights are missing: {', '.join(missing)}")
    return model.eval(), tokenizer

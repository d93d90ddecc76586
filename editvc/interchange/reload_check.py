"""What a stranger gets: load an export the plain way, and look at what it does."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from editvc.errors import EditvcError
from editvc.models.architectures import Architecture
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel
from editvc.models.loading import quiet_loading

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class ReloadError(EditvcError):
    """An export that transformers or PEFT does not load. ``path`` is its folder."""

    def __init__(self, path: Path, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{path}: {problem}", hint=hint)
        self.path = path


class MissingPeft(EditvcError):
    """An adapter can be written without PEFT, but not checked."""


class MissingBitsAndBytes(EditvcError):
    """A base in 4 bits needs packages that are not installed."""


FOUR_BITS = ("nf4", "fp4")
"""How bitsandbytes stores a weight in 4 bits; the first is QLoRA's."""


def reloaded(
    folder: Path,
    architecture: Architecture,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    four_bits: str | None = None,
) -> LanguageModel:
    """The model in ``folder``, loaded by transformers alone; ``architecture`` is that of the base.

    ``four_bits`` is one of :data:`FOUR_BITS`: linear modules are quantised as they are loaded. In
    another ``dtype`` or on another ``device`` than the model's that it is compared with, two
    words that are about as likely may change places. Raises :class:`ReloadError` where transformers
    refuses the folder, or finds weights missing in it, :class:`MissingBitsAndBytes`.
    """
    model, tokenizer = _load(folder, dtype, four_bits)
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
    model, tokenizer = _load(base, torch.float32)
    adapted = with_adapter(model, adapter)
    largest = [torch.zeros(())]
    with torch.no_grad():
        for prompt in prompts:
            encoded = tokenizer(prompt, return_tensors="pt")
            difference = adapted(**encoded).logits - edited.model(**encoded).logits
            largest.append(difference.abs().max())
    return float(torch.stack(largest).max())  # unlike Python's, torch's max does not pass over NaN


def with_adapter(model: PreTrainedModel, adapter: Path) -> PeftModel:
    """What PEFT makes of a model and an adapter; the modules that it puts in are in both.

    A model in 4 bits must not have run before: bitsandbytes packs weights for the processor then,
    and unpacks them wrongly for PEFT, which asks for them. Raises :class:`MissingPeft`,
    :class:`ReloadError`.
    """
    try:
        with _without_remarks():
            from peft import PeftModel
    except ImportError as error:
        raise MissingPeft(
            "checking an adapter needs PEFT", hint="pip install 'editvc[lora]'"
        ) from error
    try:
        with warnings.catch_warnings():
            # PEFT asks a transformers model by a name that is on its way out.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return PeftModel.from_pretrained(model, str(adapter)).eval()
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ReloadError(adapter, f"PEFT does not load it ({error})") from error


def require_four_bits() -> None:
    """Raise :class:`MissingBitsAndBytes` where a base cannot be loaded in 4 bits."""
    if missing := [one for one in ("accelerate", "bitsandbytes") if find_spec(one) is None]:
        raise MissingBitsAndBytes(
            f"a base in 4 bits needs {' and '.join(missing)}",
            hint="pip install 'editvc[quantized]'",
        )


def _in_four_bits(kind: str) -> dict[str, Any]:
    """What transformers is told of a base in 4 bits, as QLoRA has it, computed in float32."""
    from transformers import BitsAndBytesConfig

    require_four_bits()
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_compute_dtype=torch.float32
    )
    return {"quantization_config": config, "device_map": "cpu"}


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Without what bitsandbytes says of the kernels that it might have, whoever imports it."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _load(
    folder: Path, dtype: torch.dtype, four_bits: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Model (eval, on the CPU) and tokenizer, from local files only."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stored = {} if four_bits is None else _in_four_bits(four_bits)

    try:
        with quiet_loading(), _without_remarks():
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
                **stored,
            )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ReloadError(folder, f"transformers does not load it ({error})") from error
    if missing := sorted(map(str, report["missing_keys"])):
        raise ReloadError(folder, f"weights are missing: {', '.join(missing)}")
    return model.eval(), tokenizer

"""From a base's name to files, from files to an identity, a model, an answer.

``trust_remote_code`` stays off. Weights are read from safetensors only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.base import BaseModel
from editvc.core.ids import digest_of
from editvc.errors import EditvcError
from editvc.models.architectures import Architecture, Block, architecture_of, carry
from editvc.models.chat_template import turn_in
from editvc.models.devices import device_of

if TYPE_CHECKING:
    from editvc.algebra.delta import Delta
    from editvc.algebra.factored import Factored
    from editvc.models.checkpoint import Checkpoint

POCKET = "pocket"
"""The source that names the small model inside the package."""

CONFIG = ["config.json"]
"""All that is needed to know what a model is, where its weights are not."""

_FILES = ["*.safetensors", "*.json", "*.model", "merges.txt", "vocab.txt", "*.jinja"]
SHIPPED_STATISTICS = tuple(
    f"statistics-{role}.safetensors" for role in ("text", "entities", "sensitivity")
)
"""Statistics that a model folder may carry beside the weights, as the pocket model's does."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
_QUANTISED = ("quantization_config", "compression_config")
_UNIMPORTANT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


class ModelNotFoundError(EditvcError):
    """No model folder where ``source`` says. ``source`` is what the user named."""

    def __init__(self, source: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"model '{source}': {problem}", hint=hint)
        self.source = source


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


class QuantisedError(EditvcError):
    """A base whose weights are packed into few bits. ``what`` says by which sign that is known."""

    def __init__(self, source: str, what: str) -> None:
        super().__init__(
            f"model '{source}' is quantised ({what}): its weights cannot take an additive change",
            hint="Edit the 16-bit model that it was made of, write the edits with "
            "`editvc export --format lora`, and load this adapter on the quantised model.",
        )
        self.what = what


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
        found = snapshot_download(
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
    return Path(found)


def describe(
    folder: Path, source: str, revision: str | None = None, block: Block = ()
) -> BaseModel:
    """The identity of a model folder, read without loading the model.

    ``block`` is the confirmed one of a family that the architecture table lacks. Digests of the
    down projections are streamed; the weights go by the names that the model's modules have,
    whatever prefix the file leaves out. Raises :class:`ModelNotFoundError`,
    :class:`QuantisedError`, :class:`WeightShapeError`, and the errors of ``architectures`` and
    ``checkpoint``.
    """
    from editvc.models.checkpoint import EDITABLE, Checkpoint

    config = read_config(folder, source)
    require_unquantised(config, source)
    architecture = architecture_of(str(config.get("model_type")), block)
    checkpoint = Checkpoint(folder)
    layers = _depth(config, architecture, checkpoint)
    names = [architecture.weight_name(layer) for layer in range(layers)]
    for name in names:
        if (kept := checkpoint.info(name).dtype) not in EDITABLE:
            raise QuantisedError(source, f"tensor {name} is stored as {kept}")
    shapes = {tuple(checkpoint.info(name)[1]) for name in names}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2:
        raise WeightShapeError(
            f"the down projections of {folder} have no common shape",
            hint="editvc edits dense models whose blocks are all alike.",
        )
    hidden, inner = reversed(shape) if architecture.transposed else shape
    return BaseModel(
        source=source,
        revision=revision,
        model_type=architecture.model_type,
        layers=layers,
        hidden_size=hidden,
        inner_size=inner,
        weights=tuple(sorted((name, checkpoint.digest(name)) for name in names)),
        config=digest_of({k: v for k, v in config.items() if k not in _UNIMPORTANT}),
        tokenizer=_tokenizer_digest(folder, source),
        architecture=block,
    )


def require_unquantised(config: Mapping[str, Any], source: str) -> None:
    """Raise :class:`QuantisedError` for a ``config.json`` that says how weights were packed."""
    for name in _QUANTISED:
        if told := config.get(name):
            method = told.get("quant_method", name) if isinstance(told, dict) else name
            raise QuantisedError(source, f"{name} in config.json: {method}")


def require_same(expected: BaseModel, found: BaseModel) -> None:
    """Raise :class:`BaseMismatchError`, naming the tensor or part, unless the two are one model."""
    if expected.id == found.id:
        return
    theirs = dict(found.weights)
    for name, digest in expected.weights:
        if theirs.get(name) != digest:
            raise BaseMismatchError(found.source, f"tensor {name}")
    ours, other = expected.to_json(), found.to_json()
    part = next(key for key in other | ours if ours.get(key) != other.get(key))
    raise BaseMismatchError(found.source, part)


def load(folder: Path, dtype: Any = None, device: Any = None, block: Block = ()) -> tuple[Any, Any]:
    """Model and fast tokenizer of a folder, in evaluation mode, no parameter asking for gradients.

    ``dtype`` None is float32 on the CPU and the files' own elsewhere; ``device`` None is the CPU.
    ``block`` is the confirmed one of a family that the architecture table lacks; the model carries
    it. Raises :class:`QuantisedError`, :class:`editvc.models.tokenization.SlowTokenizerError` and
    :class:`editvc.models.architectures.UnknownArchitectureError`.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from editvc.models.tokenization import require_offsets

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
    if block:
        carry(model, architecture)
    return model.to(device=place, dtype=dtype).eval().requires_grad_(False), tokenizer


def apply_delta(model: Any, architecture: Architecture, delta: Delta, dtype: Any = None) -> None:
    """Add a delta to the model's weights, in place: in float64, rounded once.

    ``dtype`` is what they are rounded to, the weights' own by default. A float32 copy of a float16
    base, rounded to float16, has the very weights that an export of it has. Raises
    :class:`editvc.models.devices.SpreadModelError`.
    """
    import torch

    device_of(model)
    with torch.no_grad():
        for weight, factored, transposed in _changed(model, architecture, delta):
            dense = factored.dense()
            added = dense.T if transposed else dense.reshape(weight.shape)
            weight.copy_((weight.double().cpu() + added).to(dtype or weight.dtype))


def _changed(
    model: Any, architecture: Architecture, delta: Delta
) -> Iterator[tuple[Any, Factored, bool]]:
    """Every parameter that a delta changes, the change, and whether it is kept transposed."""
    for layer, factored in delta.layers.items():
        yield architecture.module(model, layer).weight, factored, architecture.transposed
    for name, factored in delta.weights.items():
        yield model.get_parameter(name), factored, False


@contextmanager
def edited(
    model: Any, architecture: Architecture, delta: Delta, dtype: Any = None
) -> Iterator[Any]:
    """The model with a delta in its weights; the very same weights as before on the way out."""
    import torch

    weights = [weight for weight, _, _ in _changed(model, architecture, delta)]
    kept = [weight.detach().clone() for weight in weights]
    try:
        apply_delta(model, architecture, delta, dtype)
        yield model
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept, strict=True):
                weight.copy_(before)


def parameters_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Every parameter of the model in a folder, with all its names: more than one where tied.

    The key is the first of the names. No weight is read.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with quiet_loading(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {same[0]: tuple(same) for same in names.values()}


class EmptyPrompt(EditvcError):
    """A prompt without a single token."""


def generate(model: Any, tokenizer: Any, prompt: str, max_new_tokens: int = 16) -> str:
    """What the model says after ``prompt``: greedy, without the prompt and special tokens.

    Raises :class:`EmptyPrompt`.
    """
    special = turn_in(tokenizer, prompt) is None
    encoded = tokenizer(prompt, return_tensors="pt", add_special_tokens=special)
    encoded = encoded.to(next(model.parameters()).device)
    length = encoded["input_ids"].shape[1]
    if not length:
        raise EmptyPrompt(
            "the prompt is empty: this model has no token to begin with",
            hint="Ask something.",
        )
    out = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        pad_token_id=_padding(model, tokenizer),
    )
    text: str = tokenizer.decode(out[0, length:], skip_special_tokens=True)
    return text


def _padding(model: Any, tokenizer: Any) -> int:
    """A token to fill up with: never read, but generation asks for one."""
    for value in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if value is not None:
            return int(value)
    return 0


def read_config(folder: Path, source: str) -> dict[str, Any]:
    """The ``config.json`` of a folder. Raises :class:`ModelNotFoundError`."""
    path = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFoundError(
            source, f"no config.json in {folder}", hint="Name a folder with a whole model."
        ) from error
    except ValueError as error:
        raise ModelNotFoundError(source, f"{path} is no JSON: {error}") from error
    return config


def _depth(config: dict[str, Any], architecture: Architecture, checkpoint: Checkpoint) -> int:
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

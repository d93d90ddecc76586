"""What GGUF calls the parts of a model and how it lays them, by the names of a Hugging Face folder.

llama.cpp reads one layout a family. Those here are known; another is refused, for a file that loads
and speaks nonsense is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from editvc.errors import EditvcError


class GgufRefused(EditvcError):
    """A model or a file that has no GGUF form that editvc knows, or no other."""


class MissingGguf(EditvcError):
    """GGUF is read and written by a package that is not installed."""

    def __init__(self) -> None:
        super().__init__("GGUF files need the gguf package", hint="pip install 'editvc[gguf]'")


@dataclass(frozen=True, slots=True)
class GgufFamily:
    """A family: ``numbers`` maps keys of the file (behind the family's name) to the config's.

    ``interleaved``: rows of q and k lie pairwise, as rotary embeddings of Meta's code take them.
    ``activation`` is what llama.cpp computes for it, whatever a config says.
    """

    activation: tuple[str, str]
    numbers: Mapping[str, str]
    interleaved: bool = False
    conv1d: tuple[str, ...] = ()


_ROTARY = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "vocab_size": "vocab_size",
}
FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily(("hidden_act", "silu"), _ROTARY, interleaved=True),
    "qwen2": GgufFamily(("hidden_act", "silu"), _ROTARY),
    "qwen3": GgufFamily(("hidden_act", "silu"), _ROTARY),
    "gpt2": GgufFamily(
        ("activation_function", "gelu_new"),
        {
            "block_count": "n_layer",
            "context_length": "n_positions",
            "embedding_length": "n_embd",
            "attention.head_count": "n_head",
            "attention.layer_norm_epsilon": "layer_norm_epsilon",
            "vocab_size": "vocab_size",
        },
        conv1d=("c_attn.weight", "c_proj.weight", "c_fc.weight"),
    ),
}
"""By ``model_type``, which is also ``general.architecture``."""

FEED_FORWARD = "feed_forward_length"
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_PREFIXES = ("", "transformer.", "model.")


class GgufLayout:
    """The layout of one model, by its ``config``; ``family`` is the name that the file calls it by.

    Raises :class:`GgufRefused`, :class:`MissingGguf`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        try:
            import gguf
        except ImportError as error:
            raise MissingGguf from error
        self.family = str(config.get("model_type"))
        if self.family not in FAMILIES:
            raise GgufRefused(
                f"editvc does not know how llama.cpp lays out a '{self.family}'",
                hint=f"It knows {', '.join(FAMILIES)}. `editvc export` (hf) writes a folder that "
                "llama.cpp's own convert_hf_to_gguf.py takes.",
            )
        self._known = FAMILIES[self.family]
        self._config = config
        self._require_computed()
        architecture = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[self.family]
        self._names = gguf.get_tensor_name_map(architecture, int(self.numbers["block_count"]))

    def _require_computed(self) -> None:
        """Raise for what llama.cpp would compute otherwise than transformers."""
        name, value = self._known.activation
        rope = self._rope
        reasons = {
            f"{name} is {self._config.get(name)!r}": self._config.get(name, value) != value,
            f"its rotary embeddings are scaled ({rope.get('rope_type')})": rope.get(
                "rope_type", "default"
            )
            != "default",
            "it attends within a window": bool(self._config.get("use_sliding_window")),
        }
        for reason, wrong in reasons.items():
            if wrong:
                raise GgufRefused(
                    f"llama.cpp computes a '{self.family}' otherwise: {reason}",
                    hint="`editvc export` (hf), and llama.cpp's own convert_hf_to_gguf.py.",
                )

    @property
    def _rope(self) -> Mapping[str, Any]:
        return self._config.get("rope_parameters") or self._config.get("rope_scaling") or {}

    @property
    def numbers(self) -> dict[str, int | float]:
        """The keys of the file behind the family's name; whole numbers are counts."""
        config, known = self._config, self._known.numbers
        numbers = {key: config[name] for key, name in known.items() if config.get(name) is not None}
        width, heads = numbers["embedding_length"], numbers["attention.head_count"]
        if FEED_FORWARD not in numbers:
            numbers[FEED_FORWARD] = config.get("n_inner") or 4 * width
        if "attention.layer_norm_rms_epsilon" in numbers:
            numbers.setdefault("attention.head_count_kv", heads)
            head = config.get("head_dim") or width // heads
            numbers |= {"attention.key_length": head, "attention.value_length": head}
            theta = self._rope.get("rope_theta", config.get("rope_theta", 10000.0))
            numbers |= {"rope.dimension_count": head, "rope.freq_base": float(theta)}
        return numbers

    def name(self, stored: str) -> str | None:
        """What the file calls a tensor of the folder; ``None`` for one that it does not hold.

        Raises :class:`GgufRefused` for a tensor that llama.cpp has no place for.
        """
        if stored.endswith(_BUFFERS) or (stored == "lm_head.weight" and self.tied):
            return None
        for prefix in _PREFIXES:
            if found := self._names.get_name(prefix + stored, try_suffixes=(".weight", ".bias")):
                return str(found)
        raise GgufRefused(f"llama.cpp's '{self.family}' has no place for the tensor '{stored}'")

    @property
    def tied(self) -> bool:
        """Whether the head is the embedding."""
        return bool(self._config.get("tie_word_embeddings", self.family == "gpt2"))

    def laid(self, stored: str, tensor: Tensor) -> Tensor:
        """A tensor of the folder as the file has it, (out, in), rows of q and k where they go."""
        if stored.endswith(self._known.conv1d or ("\0",)):
            tensor = tensor.T
        return self.rows(stored, tensor)

    def rows(self, stored: str, tensor: Tensor) -> Tensor:
        """The rows (out, ...) of a tensor, or of a factor of its change, in the file's order."""
        if not self._known.interleaved:
            return tensor
        numbers = self.numbers
        for part, count in (("q_proj", "head_count"), ("k_proj", "head_count_kv")):
            if f".{part}." in stored:
                heads = int(numbers[f"attention.{count}"])
                halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
                return halves.swapaxes(1, 2).reshape(tensor.shape)
        return tensor

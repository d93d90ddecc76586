"""Where each model family keeps its MLP down projections: the table ``architectures.toml``.

Importing this module imports neither torch nor transformers. Paths, and the orientation of a
weight, come from the table by ``config.model_type``; nothing is guessed from a name or a shape.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from editvc.errors import EditvcError

_BLOCK = """[{model_type}]
layers = "model.layers"          # path of the list of blocks
down_proj = "mlp.down_proj"      # second matrix of the MLP, inside one block
final_norm = "model.norm"        # normalisation before the head
transposed = false               # true for Conv1D (stored inner x hidden)"""


class UnknownArchitectureError(EditvcError):
    """A ``model_type`` without a block in the table. ``model_type`` is what the config says."""

    def __init__(self, model_type: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"no block for model type '{model_type}' in editvc/editing/architectures.toml",
            hint="Known types: "
            + ", ".join(known)
            + ". A new family is one block:\n"
            + _BLOCK.format(model_type=model_type),
        )
        self.model_type = model_type


@dataclass(frozen=True, slots=True)
class Architecture:
    """One block of the table. Paths are those of the causal language model's modules."""

    model_type: str
    layers: str
    down_proj: str
    final_norm: str
    transposed: bool

    def weight_name(self, layer: int) -> str:
        """Name of the down projection's weight, as the model's own parameters are named."""
        return f"{self.layers}.{layer}.{self.down_proj}.weight"

    def block(self, model: Any, layer: int) -> Any:
        """The module of one block."""
        return model.get_submodule(f"{self.layers}.{layer}")

    def module(self, model: Any, layer: int) -> Any:
        """The module of one down projection; its input is the key, ``(..., v)``."""
        return model.get_submodule(f"{self.layers}.{layer}.{self.down_proj}")

    def mlp(self, model: Any, layer: int) -> Any | None:
        """The MLP around the down projection; None where its parts lie in the block itself."""
        inside = self.down_proj.rpartition(".")[0]
        return model.get_submodule(f"{self.layers}.{layer}.{inside}") if inside else None

    def depth(self, model: Any) -> int:
        """How many blocks the model has."""
        return len(model.get_submodule(self.layers))

    def norm(self, model: Any) -> Any:
        """The module between the last block and the head."""
        return model.get_submodule(self.final_norm)


def _table() -> dict[str, dict[str, Any]]:
    text = (resources.files("editvc.editing") / "architectures.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def known_model_types() -> tuple[str, ...]:
    """Every ``model_type`` of the table, sorted."""
    return tuple(sorted(_table()))


def architecture_of(model_type: str) -> Architecture:
    """The block of one ``model_type``; :class:`UnknownArchitectureError` where there is none."""
    table = _table()
    if model_type not in table:
        raise UnknownArchitectureError(model_type, tuple(sorted(table)))
    return Architecture(model_type=model_type, **table[model_type])

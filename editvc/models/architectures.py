"""Where each model family keeps its MLP down projections: the table ``architectures.toml``.

Importing this module imports neither torch nor transformers. Paths, and the orientation of a
weight, come from the table by ``config.model_type``; nothing is guessed from a name or a shape. A
family that is not in the table is edited by a block that the user has confirmed: it travels with
the base model's record, and from there into every :class:`.language_model.LanguageModel`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.edit_site import EditSite
from editvc.core.methods.recipe import RecipeError, default_layers
from editvc.core.plain_toml import read_toml
from editvc.errors import EditvcError

Block = tuple[tuple[str, str | bool], ...]
"""The names and values of one block, sorted, as a base model's record has them."""

_BLOCK = """[{model_type}]
layers = "model.layers"          # path of the list of blocks
down_proj = "mlp.down_proj"      # second matrix of the MLP, inside one block
attention = "self_attn.o_proj"   # output projection of attention, inside one block
final_norm = "model.norm"        # normalisation before the head
transposed = false               # true for Conv1D (stored inner x hidden)
normed = false                   # true where a norm stands between the MLP and the residual
up_proj = "mlp.up_proj"          # first matrix of the MLP
gate_proj = "mlp.gate_proj"      # of a gated MLP, the matrix whose output is activated
activation = "hidden_act"        # the config's name of the activation between them
width = "intermediate_size"      # the config's name of the MLP's inner size"""

_BESIDE = {
    "up_proj": "activation", "activation": "up_proj", "gate_proj": "up_proj", "width": "up_proj",
}  # fmt: skip
"""Keys of a block that mean nothing without another."""


class UnknownArchitectureError(EditvcError):
    """A ``model_type`` without a block in the table. ``model_type`` is what the config says."""

    def __init__(self, model_type: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"no block for model type '{model_type}' in editvc/models/architectures.toml",
            hint="Known types: "
            + ", ".join(known)
            + ". `editvc arch MODEL` finds the block of another family from the structure of its "
            "model, and `editvc init MODEL --architecture FILE` takes it. It looks like this:\n"
            + _BLOCK.format(model_type=model_type),
        )
        self.model_type = model_type


class RefusedArchitectureError(EditvcError):
    """A family that the table names as one that cannot be edited, with the reason."""

    def __init__(self, model_type: str, reason: str) -> None:
        super().__init__(f"model type '{model_type}' cannot be edited: {reason}")
        self.model_type = model_type


class BlockError(EditvcError):
    """A block that does not say what it must, or a file that is not one block."""


class NoAttentionError(EditvcError):
    """A block without a path to attention's output, where that is asked for."""

    def __init__(self, model_type: str) -> None:
        super().__init__(
            f"the block of model type '{model_type}' does not say where attention's output is",
            hint='Add its output projection, such as attention = "self_attn.o_proj".',
        )
        self.model_type = model_type


class NoUpProjError(EditvcError):
    """A block that does not say how its MLP begins, where that is asked for."""

    def __init__(self, model_type: str) -> None:
        super().__init__(
            f"the block of model type '{model_type}' does not say where its MLP begins",
            hint='Add its first matrix and what follows it, such as up_proj = "mlp.fc1" and '
            'activation = "hidden_act"; of a gated MLP gate_proj, too.',
        )
        self.model_type = model_type


class LayersError(EditvcError):
    """More than one layer to edit where a norm stands behind the down projection."""

    def __init__(self, model_type: str, layers: Sequence[int]) -> None:
        super().__init__(
            f"model type '{model_type}' is edited in one layer, not in {list(layers)}: its norm "
            "behind each MLP lets no layer add just a share of what is missing",
            hint=f"Name one: --layers {layers[-1]}",
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
    factor: str | None = None
    normed: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    attention: str | None = None
    cached: bool = True
    up_proj: str | None = None
    gate_proj: str | None = None
    activation: str | None = None
    width: str | None = None

    @classmethod
    def of_block(cls, model_type: str, block: Mapping[str, Any]) -> Architecture:
        """A block of the table, or one like it. Raises :class:`BlockError`, naming the key."""
        known = {item.name: item for item in fields(cls) if item.name != "model_type"}
        for name, value in block.items():
            if name not in known:
                raise BlockError(
                    f"[{model_type}] {name}: there is no such key",
                    hint="Known keys: " + ", ".join(known),
                )
            kind, in_words = _KINDS.get(str(known[name].type), (str, "a string"))
            if type(value) is not kind:
                raise BlockError(f"[{model_type}] {name}: must be {in_words}, got {value!r}")
        needed = [name for name, item in known.items() if _default(item) is MISSING]
        if missing := [name for name in needed if name not in block]:
            raise BlockError(
                f"[{model_type}] {missing[0]}: is missing",
                hint="A block looks like this:\n" + _BLOCK.format(model_type=model_type),
            )
        for name, other in _BESIDE.items():
            if name in block and other not in block:
                raise BlockError(
                    f"[{model_type}] {other}: is missing beside {name}",
                    hint="A block looks like this:\n" + _BLOCK.format(model_type=model_type),
                )
        return cls(model_type=model_type, **block)

    @property
    def pairs(self) -> Block:
        """The block again: what is not at its default, by name."""
        return tuple(sorted(self._entries().items()))

    def toml(self) -> str:
        """The block as ``architectures.toml`` has it."""
        lines = [f"{name} = {_toml(value)}" for name, value in self._entries().items()]
        bare = re.fullmatch(r"[\w-]+", self.model_type, re.ASCII)
        return "\n".join([f"[{self.model_type if bare else json.dumps(self.model_type)}]", *lines])

    def _entries(self) -> dict[str, str | bool]:
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name != "model_type" and getattr(self, item.name) != _default(item)
        }

    @property
    def key_formula(self) -> str | None:
        """What enters the down projection, in the block's own names; None where it does not say."""
        if self.up_proj is None:
            return None
        if self.gate_proj is None:
            return f"{self.activation}({self.up_proj})"
        if self.gate_proj == self.up_proj:
            return f"{self.activation}(first half) * second half of {self.up_proj}"
        return f"{self.activation}({self.gate_proj}) * {self.up_proj}"

    @property
    def mlp_matrices(self) -> Mapping[str, str]:
        """Paths of an MLP's matrices inside a block: ``up``, ``gate`` where there is one, ``down``.

        One that holds both up and gate is ``up``. Where the block does not say how an MLP begins,
        there is ``down`` alone.
        """
        paths = {"up": self.up_proj, "gate": self.gate_proj, "down": self.down_proj}
        if self.gate_proj == self.up_proj:
            del paths["gate"]
        return {part: path for part, path in paths.items() if path is not None}

    def weight_name(self, layer: int) -> str:
        """Name of the down projection's weight, as the model's own parameters are named."""
        return f"{self.layers}.{layer}.{self.down_proj}.weight"

    def mlp_names(self, layer: int, path: str) -> tuple[str, str]:
        """The names of weight and bias of one of the MLP's matrices."""
        module = f"{self.layers}.{layer}.{path}"
        return f"{module}.weight", f"{module}.bias"

    def layer_of(self, name: str) -> int | None:
        """The layer whose down projection has the weight ``name``; None for other weights."""
        start, end = f"{self.layers}.", f".{self.down_proj}.weight"
        layer = name.removeprefix(start).removesuffix(end)
        return int(layer) if layer.isdecimal() and name == f"{start}{layer}{end}" else None

    def stored_name(self, name: str) -> str:
        """What files call the parameter that the model calls ``name``."""
        return self.renamed.get(name, name)

    def inverted(self, name: str) -> bool:
        """Whether the matrix of that name is kept as (in, out): Conv1D, within blocks only."""
        return self.transposed and name.startswith(f"{self.layers}.")

    def block_path(self, layer: int) -> str:
        """The path of one block."""
        return f"{self.layers}.{layer}"

    def within_block(self, site: EditSite) -> bool:
        """Whether targets are for the down projection's own output, and not for the block's.

        Behind a norm it is so for every site: what a norm gives has one length, so hardly any
        hidden state after the block could be reached by a weight.
        """
        return self.normed or site is not EditSite.BLOCK_OUTPUT

    def default_layers(self, depth: int) -> tuple[int, ...]:
        """Layers to edit among ``depth`` where nobody names any; behind a norm it is one."""
        chosen = default_layers(depth)
        return chosen[-1:] if self.normed else chosen

    def chosen_layers(
        self, named: Sequence[int] | None, base: BaseModel, shipped: Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """The layers of a new repository: those named, those the model ships with, or by depth.

        Raises :class:`RecipeError` for one that is not there, and :class:`LayersError` where they
        cannot share an edit.
        """
        for layer in named or ():
            if not 0 <= layer < base.layers:
                raise RecipeError(
                    f"layer {layer} does not exist: {base.source} has layers 0 to "
                    f"{base.layers - 1}",
                    hint="Leave --layers out to have them chosen by the model's depth.",
                )
        default = tuple(shipped or self.default_layers(base.layers))
        layers = default if named is None else tuple(sorted(set(named)))
        self.require_editable(layers)
        return layers

    def require_editable(self, layers: Sequence[int]) -> None:
        """Raise :class:`LayersError` where these layers cannot share an edit."""
        if self.normed and len(layers) > 1:
            raise LayersError(self.model_type, layers)


_KINDS: dict[str, tuple[type, str]] = {
    "bool": (bool, "true or false"),
    "Mapping[str, str]": (dict, "a table of names"),
}
"""The type of a key of a block, and how to call it, by its annotation; all others are text."""


def _toml(value: Any) -> str:
    """A value of a block as TOML; JSON has its strings and its truth values."""
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {json.dumps(name)}" for key, name in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return json.dumps(value)


def _default(item: Any) -> Any:
    """A field's default, ``MISSING`` where it has none."""
    return item.default if item.default_factory is MISSING else item.default_factory()


def _table() -> dict[str, dict[str, Any]]:
    text = (resources.files("editvc.models") / "architectures.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def known_model_types() -> tuple[str, ...]:
    """Every ``model_type`` of the table that can be edited, sorted."""
    return _editable(_table())


def architecture_of(model_type: str, block: Block = ()) -> Architecture:
    """The architecture of one ``model_type``: the confirmed ``block``, or the table's.

    Raises :class:`UnknownArchitectureError` where the table has none, and
    :class:`RefusedArchitectureError` where it says that the family cannot be edited.
    """
    if block:
        return Architecture.of_block(model_type, dict(block))
    table = _table()
    if model_type not in table:
        raise UnknownArchitectureError(model_type, _editable(table))
    if reason := table[model_type].get("refused"):
        raise RefusedArchitectureError(model_type, reason)
    return Architecture.of_block(model_type, table[model_type])


def read_block(path: Path) -> Architecture:
    """The one block of a TOML file for a family that the table lacks.

    Raises :class:`BlockError`: no TOML, not one block, a family of the table, a wrong key.
    """
    try:
        document = read_toml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise BlockError(f"{path}: is not TOML: {cause}") from cause
    if len(document) != 1 or not all(isinstance(block, dict) for block in document.values()):
        raise BlockError(
            f"{path}: needs exactly one block, headed by its model type",
            hint="`editvc arch MODEL` writes such a file.",
        )
    ((model_type, block),) = document.items()
    if model_type in _table():
        raise BlockError(
            f"{path}: the architecture table has model type '{model_type}' itself",
            hint="Leave --architecture out.",
        )
    return Architecture.of_block(model_type, block)


def _editable(table: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    return tuple(sorted(name for name, block in table.items() if "refused" not in block))

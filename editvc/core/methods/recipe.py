"""A recipe: the method and every number that decides how a fact becomes keys and residuals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.core.methods.table import Method, method_of
from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError

NOT_NEGATIVE = (
    "entity_update_weight",
    "v_weight_decay",
    "kl_factor",
    "v_loss_threshold",
    "sensitivity_power",
    "compensation",
    "nullspace_threshold",
)
POSITIVE = ("mom2_update_weight", "v_lr", "clamp_norm_factor", "l2", "lr")
NEUTRAL = {
    "mom2_update_weight": 1.0,
    "entity_update_weight": 0.0,
    "delivery_factor": 1.0,
    "compensation": 0.0,
}
"""What stands where a method does not know the number: C as it is, shares as they are."""
ROLES = {"entity_statistics": "entity_update_weight", "sensitivity": "sensitivity_power"}
"""Statistics that count only for methods which know the number beside them."""
COMMON = ("layers", "contexts", "statistics", "entity_statistics", "sensitivity", "method")
"""What a recipe of every located method has, beside the method's own numbers."""


class NoSuchLayer(EditvcError):
    """A layer that the base does not have."""

    def __init__(self, layer: int, count: int) -> None:
        super().__init__(
            f"there is no layer {layer}: the base has {count}",
            hint=f"Layers are numbered from 0 to {count - 1}.",
        )


def require_layers(layers: Sequence[int], base: BaseModel) -> None:
    """Raise :class:`NoSuchLayer` for the first layer that ``base`` does not have."""
    for layer in layers:
        if not 0 <= layer < base.layers:
            raise NoSuchLayer(layer, base.layers)


class RecipeError(EditvcError):
    """A recipe that cannot be carried out; the message names the number and its range."""


def require_contexts(contexts: Sequence[str]) -> None:
    """Raise :class:`RecipeError` unless there is a context, and a place for the prompt in each."""
    if not contexts or any(context.count("{}") != 1 for context in contexts):
        raise RecipeError(
            "contexts need at least one entry, each with one {} for the prompt",
            hint='The empty context is "{}".',
        )


def require_known(keys: Iterable[str], known: Collection[str], own: Iterable[str]) -> None:
    """Raise :class:`RecipeError` for keys that are not ``known``; the hint is of ``own`` ones."""
    unknown, own = sorted(set(keys) - set(known)), sorted(own)
    if unknown:
        guesses = [did_you_mean(key, own) for key in unknown]
        listed = [] if all(guesses) else ["Known keys: " + ", ".join(own)]
        raise RecipeError(
            f"unknown recipe keys {unknown}", hint=" ".join([*filter(None, guesses), *listed])
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How facts are located and solved. Names are those of ROME's and MEMIT's files.

    ``layers`` are the edited layers in rising order; targets are taken after the last of them.
    ``mom2_update_weight`` is lambda for the second moment of ordinary text (``statistics``),
    ``entity_update_weight`` the one for entity keys (``entity_statistics``). ``contexts`` are the
    prefixes, each with one ``{}``, that keys and targets are averaged over; they are stored here
    literally, so that a recipe means the same on every machine. ``sensitivity`` names the Fisher
    information that targets are shaped by (:func:`editvc.algebra.sensitivity.shaping`, with
    its ``floor`` and ``power``); without it they are MEMIT's. ``delivery_factor`` is the share of
    what a layer would deliver of an edit alone that it is taken to deliver among others: the layers
    above ask for the rest; ``compensation`` says how far a residual makes up for what the solver
    leaves undone (:mod:`editvc.editing.layer_spread`). ``nullspace_threshold`` and ``l2`` are
    AlphaEdit's bound on eigenvalues and its ridge, ``lr`` the step of UltraEdit. ``norm_anchor`` is
    how far a target is brought back to the length of the hidden state that it stands for (NAS); 1
    is wholly.

    A recipe has the numbers of its method (:mod:`editvc.core.methods.table`) and no others: only
    these count for its id, and setting another one is an error.
    """

    layers: tuple[int, ...]
    contexts: tuple[str, ...]
    statistics: ObjectId
    entity_statistics: ObjectId | None = None
    sensitivity: ObjectId | None = None
    method: str = "memit"
    mom2_update_weight: float = 76.8
    entity_update_weight: float = 384.0
    sensitivity_floor: float = 0.05
    sensitivity_power: float = 0.25
    v_num_grad_steps: int = 20
    v_lr: float = 0.5
    v_loss_threshold: float = 0.05
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 0.85
    kl_factor: float = 0.0625
    norm_anchor: float = 0.0
    delivery_factor: float = 0.83
    compensation: float = 1.0
    nullspace_threshold: float = 0.02
    l2: float = 10.0
    lr: float = 1e-6

    def __post_init__(self) -> None:
        self._make_floats()
        if not self.layers or self.layers[0] < 0 or list(self.layers) != sorted(set(self.layers)):
            raise RecipeError(
                f"layers must rise from 0 or more and not repeat, got {list(self.layers)}",
                hint="Write them like layers = [1, 2, 3].",
            )
        require_contexts(self.contexts)
        self._require_own()
        for name in POSITIVE:
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise RecipeError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("sensitivity_floor", "delivery_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise RecipeError(f"{name} must be in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.norm_anchor <= 1:
            raise RecipeError(f"norm_anchor must be in [0, 1], got {self.norm_anchor}")
        for name in NOT_NEGATIVE:
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise RecipeError(
                    f"{name} must be finite and not negative, got {getattr(self, name)}"
                )
        if self.v_num_grad_steps < 1:
            raise RecipeError(f"v_num_grad_steps must be 1 or more, got {self.v_num_grad_steps}")

    def _make_floats(self) -> None:
        """Make 100 and 100.0 one value: they are equal, so the ids made from them must be."""
        for field in fields(self):
            if field.type == "float":
                value = getattr(self, field.name)
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise RecipeError(f"{field.name} must be a number, got {value!r}")
                object.__setattr__(self, field.name, float(value))

    def _require_own(self) -> None:
        """Raise where a number is set that the method does not know."""
        row = method_of(self.method)
        if row.element != "located":
            raise RecipeError(
                f"{self.method!r} makes a {row.element}, not keys and residuals",
                hint=f"It has settings of its own: `editvc commit --method {self.method}`.",
            )
        if row.single and len(self.layers) > 1:
            raise RecipeError(
                f"{self.method} edits one layer, not {list(self.layers)}",
                hint=f"Name one: -O layers=[{self.layers[-1]}]",
            )
        own = {*row.numbers, *row.wide}
        for item in fields(self):
            if item.name in own or item.name in COMMON:
                continue
            neutral = NEUTRAL.get(item.name, item.default)
            if getattr(self, item.name) not in (item.default, neutral):
                raise RecipeError(
                    f"{item.name} means nothing to {self.method}",
                    hint=f"The numbers of {self.method}: {', '.join(sorted(own))}. If config.toml "
                    f"sets others, `editvc config recipe.method {self.method}` takes them out.",
                )
            object.__setattr__(self, item.name, neutral)
        for role, number in ROLES.items():
            if number not in own:
                object.__setattr__(self, role, None)

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the recipe's id is computed."""
        row = method_of(self.method)
        return {"kind": "recipe"} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name in COMMON or name in row.numbers or name in row.wide
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Recipe:
        """The inverse of :meth:`to_json`; unknown names raise :class:`RecipeError`."""
        values = {key: value for key, value in record.items() if key != "kind"}
        row = method_of(record.get("method", "memit"))
        own = [*COMMON, *row.numbers, *row.wide]
        require_known(values, {field.name for field in fields(cls)}, own)
        for name in ("layers", "contexts"):
            values[name] = tuple(values[name])
        return cls(**values)

    @property
    def row(self) -> Method:
        """The row of the recipe's method: its target, spread and solver."""
        return method_of(self.method)

    @property
    def id(self) -> ObjectId:
        """The address of the recipe as a stored object."""
        return object_id(canonical_json(self.to_json()))


def default_layers(depth: int) -> tuple[int, ...]:
    """Layers to edit in a model of ``depth`` blocks where the user names none.

    Up to five blocks that end a third of the way up: where causal tracing of the MEMIT paper finds
    that the subject's last token gathers what the model knows of it (13-17 of 48 in GPT-2 XL, 3-8
    of 28 in GPT-J).
    """
    last = max(0, round(0.35 * depth))
    return tuple(range(max(0, last - 4), last + 1))

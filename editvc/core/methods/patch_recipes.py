"""Recipes of the methods that make patches or codebooks: each has its own few numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, ClassVar

from editvc.core.ids import ObjectId, canonical_json, object_id
from editvc.core.methods.recipe import Recipe, RecipeError, require_contexts, require_known
from editvc.core.methods.table import method_of


@dataclass(frozen=True, slots=True)
class PatchRecipe:
    """What these recipes have in common: layers, a method, and a canonical form with an id.

    ``layers`` are those whose MLP down projection is changed or replaced. ``POSITIVE`` and
    ``NOT_NEGATIVE`` name the numbers of a class that must be so, and finite.
    """

    POSITIVE: ClassVar[tuple[str, ...]] = ()
    NOT_NEGATIVE: ClassVar[tuple[str, ...]] = ()

    layers: tuple[int, ...]
    method: str

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.type == "float":
                object.__setattr__(self, item.name, float(getattr(self, item.name)))
        layers = self.layers
        if not layers or layers[0] < 0 or list(layers) != sorted(set(layers)):
            raise RecipeError(
                f"layers must rise from 0 or more and not repeat, got {list(layers)}",
                hint="Write them like layers=[1, 2, 3].",
            )
        if method_of(self.method).single and len(layers) > 1:
            raise RecipeError(
                f"{self.method} edits one layer, not {list(layers)}",
                hint=f"Name one: -O layers=[{layers[-1]}]",
            )
        for name in (*self.POSITIVE, *self.NOT_NEGATIVE):
            value = getattr(self, name)
            if not isfinite(value) or value < 0 or (value == 0 and name in self.POSITIVE):
                wanted = "positive" if name in self.POSITIVE else "not negative"
                raise RecipeError(f"{name} must be finite and {wanted}, got {value}")

    def to_json(self) -> dict[str, Any]:
        """The canonical form, from which the recipe's id is computed."""
        return {"kind": "recipe"} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @property
    def id(self) -> ObjectId:
        """The address of the recipe as a stored object."""
        return object_id(canonical_json(self.to_json()))


@dataclass(frozen=True, slots=True)
class FineTuning(PatchRecipe):
    """``ft`` and ``ft-c``: Adam on one down projection. Names are those of ROME's FT files.

    ``norm_constraint`` is the L-infinity bound on the change of ft-c; 0, no bound, is ft.
    ``energy`` is the share of the change's squared norm that the stored factors keep.
    """

    POSITIVE = ("lr", "num_steps", "energy")
    NOT_NEGATIVE = ("weight_decay", "norm_constraint")

    method: str = "ft"
    lr: float = 5e-4
    num_steps: int = 25
    weight_decay: float = 0.0
    norm_constraint: float = 0.0
    energy: float = 0.99

    def __post_init__(self) -> None:
        PatchRecipe.__post_init__(self)
        if self.energy > 1:
            raise RecipeError(f"energy must be in (0, 1], got {self.energy}")
        if self.method == "ft" and self.norm_constraint:
            raise RecipeError(
                f"ft has no bound, got norm_constraint {self.norm_constraint}",
                hint="Fine-tuning within a bound is ft-c.",
            )
        if self.method == "ft-c" and not self.norm_constraint:
            raise RecipeError(
                "ft-c needs a bound: norm_constraint is 0",
                hint="Like -O norm_constraint=5e-4. Fine-tuning without a bound is ft.",
            )


@dataclass(frozen=True, slots=True)
class ConstrainedFineTuning(FineTuning):
    """``ft-c`` with the bound of ROME's files where nobody names another."""

    method: str = "ft-c"
    norm_constraint: float = 5e-4


@dataclass(frozen=True, slots=True)
class KnowledgeNeurons(PatchRecipe):
    """``kn``: which neurons are looked for, and what is added to their value vectors.

    ``steps`` of the integral. In each of the ``contexts``, prefixes with one ``{}`` for the prompt,
    those neurons count whose attribution exceeds ``adaptive_threshold`` times the largest; kept are
    those found in more than the share ``p`` of the contexts, the ``neurons`` strongest of them: the
    authors tune their thresholds until facts have 2 to 5.
    ``norm_lambda1`` of the old answer is taken from a value vector and ``norm_lambda2`` of the new
    one added, in units of the vector's own length. Names are those of EasyEdit's files and of the
    authors' code.
    """

    POSITIVE = ("steps", "adaptive_threshold", "neurons")
    NOT_NEGATIVE = ("p", "norm_lambda1", "norm_lambda2")

    method: str = "kn"
    contexts: tuple[str, ...] = ("{}",)
    steps: int = 20
    adaptive_threshold: float = 0.2
    p: float = 0.4
    neurons: int = 5
    norm_lambda1: float = 1.0
    norm_lambda2: float = 8.0

    def __post_init__(self) -> None:
        PatchRecipe.__post_init__(self)
        for name in ("adaptive_threshold", "p"):
            if getattr(self, name) >= 1:
                raise RecipeError(f"{name} must be below 1, got {getattr(self, name)}")
        require_contexts(self.contexts)


@dataclass(frozen=True, slots=True)
class Mend(PatchRecipe):
    """``mend``: the stored editor that turns gradients into changes; its layers are the recipe's.

    ``lr_scale`` multiplies the editor's learned learning rates, as in ROME's MEND files.
    """

    POSITIVE = ("lr_scale",)

    method: str = "mend"
    editor: ObjectId | None = None
    lr_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Grace(PatchRecipe):
    """``grace``: how a codebook entry's value is found, and how far its key reaches at first.

    Names are those of GRACE's files: ``edit_lr`` and ``n_iter`` of Adam, ``eps`` the radius that a
    new key begins with, in the units of keys. ``v_loss_threshold`` ends the search, as ROME's does.
    """

    POSITIVE = ("edit_lr", "n_iter", "eps")
    NOT_NEGATIVE = ("v_loss_threshold",)

    method: str = "grace"
    edit_lr: float = 1.0
    n_iter: int = 100
    eps: float = 1.0
    v_loss_threshold: float = 0.01


CLASSES: dict[str, type[PatchRecipe]] = {
    "ft": FineTuning,
    "ft-c": ConstrainedFineTuning,
    "kn": KnowledgeNeurons,
    "mend": Mend,
    "grace": Grace,
}
"""Whose recipe a method's is; every other method has a :class:`Recipe`."""

AnyRecipe = Recipe | PatchRecipe


def recipe_from_json(record: dict[str, Any]) -> AnyRecipe:
    """A recipe of any method, the inverse of ``to_json``.

    Raises :class:`RecipeError` for unknown names and numbers out of range, and
    :class:`editvc.core.methods.table.UnknownMethod`.
    """
    cls = CLASSES.get(record.get("method", "memit"))
    if cls is None:
        return Recipe.from_json(record)
    values = {key: value for key, value in record.items() if key != "kind"}
    own = [item.name for item in fields(cls)]
    require_known(values, own, own)
    for name in values.keys() & {"layers", "contexts"}:
        values[name] = tuple(values[name])
    return cls(**values)

"""What the methods may ask of a repository while they make elements of requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from editvc.algebra.input_statistics import LayerInputs
from editvc.algebra.preconditioners import Preconditioner
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.mend import MendRecipe
from editvc.editing.mend_editor import Editor


class Resources(Protocol):
    """Stored tensors by the recipe that names them; each is looked up only when it is asked for."""

    def preconditioners(self, recipe: LocatedRecipe) -> Mapping[int, Preconditioner]:
        """What the recipe's solver weighs edits against, by layer."""

    def shaping(self, recipe: LocatedRecipe) -> Tensor | None:
        """What the recipe shapes its targets by, (u, u); None where it names no sensitivity."""

    def inputs(self, recipe: GatedRecipe) -> LayerInputs:
        """What the MLP of the recipe's layer sees."""

    def editor(self, recipe: MendRecipe) -> Editor:
        """The trained editor that the recipe names."""

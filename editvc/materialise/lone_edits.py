"""What one edit alone does to the base's weights, in closed form: no pass of any model.

Gupta et al. 2024 (arXiv 2401.07453, section 5) find the edits that disable a model by the distance
at which each leaves the *fresh* model. That is the first of these figures; the others say where the
change goes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from editvc.algebra.delta import Delta
from editvc.algebra.diagnostics import leverage
from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.solvers import solver_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.materialise.elements import Element
from editvc.materialise.materialiser import Materialiser
from editvc.materialise.solutions import stack
from editvc.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class LoneEdit:
    """The figures of an edit by itself; all are relative to the base, so that models compare.

    ``distance`` = |D| / |W| over the weights that it changes; ``drift`` = tr(D C D^T) /
    tr(W C W^T) and ``names`` = tr(D E D^T) / tr(W C W^T), summed over the layers with statistics
    of text (C) and of names (E): how far the output moves there. Of located edits besides:
    ``leverage`` = k^T C^-1 k / v, in the mean over the layers (1 is an ordinary key), with what the
    recipe guards in the place of C; ``residual`` = |z - h| / |h|; ``objective``, the perplexity of
    the target on the base, over the contexts.
    """

    distance: float
    drift: float
    names: float
    leverage: float | None = None
    residual: float | None = None
    objective: float | None = None

    def to_json(self) -> dict[str, float]:
        """By name; only what there is."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in named.items() if value is not None}


def lone_edits(
    maker: Materialiser, recipe: Recipe, elements: Sequence[Element]
) -> list[LoneEdit | None]:
    """The figures of elements of one recipe, each as if it were the only one, in the order given.

    None of gates and codebooks, which leave the weights alone, and where edits are normalised over
    the set: alone such an edit is another one.
    """
    found: list[LoneEdit | None] = [
        LoneEdit(**_moved(maker, one.delta)) if isinstance(one, Patch) else None for one in elements
    ]
    located = {place: one for place, one in enumerate(elements) if isinstance(one, Located)}
    if located and isinstance(recipe, LocatedRecipe) and solver_of(recipe).step is None:
        each = _located(maker, recipe, [*located.values()])
        for place, one in zip(located, each, strict=True):
            found[place] = one
    return found


def _located(
    maker: Materialiser, recipe: LocatedRecipe, edits: Sequence[Located]
) -> list[LoneEdit]:
    """All at once. Alone, an edit adds ``r g^T`` with ``g = A^-1 k s / q``, of its leverage q and
    the share s of its residual that it gets.
    """
    solver = solver_of(recipe)
    squared, size = torch.zeros(len(edits)).double(), 0.0  # (n,)
    moved = {"drift": squared.clone(), "names": squared.clone(), "leverage": squared.clone()}
    for layer in recipe.layers:
        stacked = stack(edits, layer, maker.base)
        preconditioner = maker.preconditioners.of_layer(recipe, layer)
        white = preconditioner.apply_left(stacked.keys)  # (m, n)
        own = leverage(white).clamp_min(torch.finfo(white.dtype).tiny)  # (n,)
        factors = (solver.self_response(own) / own)[:, None]
        rows = preconditioner.apply_right(white.T.contiguous()) * factors  # (n, v)
        lengths = stacked.residuals.square().sum(dim=0)  # (n,)
        squared += lengths * rows.square().sum(dim=1)
        moved["leverage"] += own * recipe.mom2_update_weight / maker.base.inner_size
        if not maker.statistics.covers(layer, (recipe,)):
            size = math.hypot(size, _norm(maker, maker.architecture.weight_name(layer)))
            continue
        base = maker.base_figures(layer, (recipe,))
        size = math.hypot(size, base.frobenius)
        moments = {"drift": maker.statistics.text_moment(layer, (recipe,)),
                   "names": maker.statistics.names_moment(layer, (recipe,))}  # fmt: skip
        for name, moment in moments.items():
            if moment is not None:
                moved[name] += lengths * ((rows @ moment) * rows).sum(dim=1) / base.output
    return [
        LoneEdit(
            distance=_share(math.sqrt(float(squared[place])), size),
            drift=max(0.0, float(moved["drift"][place])),
            names=max(0.0, float(moved["names"][place])),
            leverage=float(moved["leverage"][place]) / len(recipe.layers),
            **_told(one.figures),
        )
        for place, one in enumerate(edits)
    ]


def _told(figures: Mapping[str, float]) -> dict[str, float]:
    """What the search for a target told of it."""
    told = {}
    if figures.get("hidden"):
        told["residual"] = figures["residual"] / figures["hidden"]
    if figures.get("base_probability"):
        told["objective"] = 1 / figures["base_probability"]
    return told


def _moved(maker: Materialiser, delta: Delta) -> dict[str, float]:
    """Distance, and drift on text and on names, of a change of the base's weights."""
    sizes = [_norm(maker, name) for name in delta.weights]
    drift = names = 0.0
    for layer, factored in delta.layers.items():
        if not maker.statistics.covers(layer):
            sizes.append(_norm(maker, maker.architecture.weight_name(layer)))
            continue
        base = maker.base_figures(layer)
        sizes.append(base.frobenius)
        drift += _output(factored, maker.statistics.text_moment(layer)) / base.output
        of_names = maker.statistics.names_moment(layer)
        names += 0.0 if of_names is None else _output(factored, of_names) / base.output
    return {"distance": _share(delta.norm(), math.hypot(*sizes)),
            "drift": drift, "names": names}  # fmt: skip


def _output(factored: Factored, moment: torch.Tensor) -> float:
    return max(0.0, factored.quadratic(moment))


def _norm(maker: Materialiser, name: str) -> float:
    return float(torch.linalg.vector_norm(Checkpoint(maker.folder).read(name).to(torch.float64)))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0

"""Statistics of what MLPs see, taken where a gated edit needs them and stored for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from editvc.core.base import BaseModel
from editvc.core.ids import ObjectId
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.recipe import Recipe, require_layers
from editvc.core.progress import Progress
from editvc.models.language_model import LanguageModel
from editvc.session.session import Session
from editvc.statistics.bundle import Sources, sources_of
from editvc.statistics.entity_moments import read_entities
from editvc.statistics.input_moments import input_statistics

INPUTS = "gated.inputs"
"""The setting that names those in force."""


def take_inputs(
    session: Session,
    layers: Sequence[int],
    *,
    texts: Sequence[Path] = (),
    dataset: str | None = None,
    entities: Path | None = None,
) -> ObjectId:
    """Take them for ``layers``, store them, and let ``commit --method gated`` use them from now on.

    The bundled text and names stand in for what is not given.
    """
    return _take_from(session, layers, sources_of(texts, dataset, entities))


def _take_from(session: Session, layers: Sequence[int], sources: Sources) -> ObjectId:
    base = session.materialiser.base
    require_layers(layers, base)
    taken = inputs_from(session.base_model(), base, layers, sources, session.progress)
    stored = session.repository.store.put(taken)
    session.repository.set_config(INPUTS, stored)
    return stored


def inputs_from(
    lm: LanguageModel,
    base: BaseModel,
    layers: Sequence[int],
    sources: Sources,
    progress: Progress | None,
) -> bytes:
    """The object of what the MLPs of ``layers`` see in these sources."""
    taken = input_statistics(
        lm, sources.read(), read_entities(sources.entities), layers, progress=progress
    )
    return taken.to_bytes(
        {
            "base": base.id,
            "layers": list(layers),
            "source": f"{sources.text_words} and {sources.entity_words}",
            "digest": sources.digest,
        }
    )


def with_inputs(session: Session, recipe: Recipe, sources: Sources | None = None) -> Recipe:
    """The recipe, with statistics of inputs where its method needs some and it names none.

    Those in force where they cover its layer; otherwise new ones are taken, from ``sources`` or the
    bundled text and names.
    """
    known = with_known_inputs(session, recipe)
    if isinstance(known, GatedRecipe) and known.inputs is None:
        sources = sources or sources_of()
        for text in sources.remarks:
            session.remark(text)
        return replace(known, inputs=_take_from(session, known.layers, sources))
    return known


def with_known_inputs(session: Session, recipe: Recipe) -> Recipe:
    """:func:`with_inputs` where nothing may be written: new ones are not taken."""
    if not isinstance(recipe, GatedRecipe) or recipe.inputs is not None:
        return recipe
    in_force = session.repository.config.get(INPUTS)
    statistics = session.materialiser.statistics
    if in_force is None or not set(recipe.layers) <= set(statistics.inputs(in_force).layers):
        return recipe
    return replace(recipe, inputs=in_force)

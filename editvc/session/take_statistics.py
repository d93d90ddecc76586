"""Statistics that were put off, taken at the first commit that needs them, and stored for good."""

from __future__ import annotations

from dataclasses import replace

from editvc.core.methods.locate import LocatedRecipe
from editvc.session.session import Session
from editvc.statistics.bundle import Sources, StatisticsBundle, sources_of, take


def with_statistics(
    session: Session, recipe: LocatedRecipe, sources: Sources | None = None
) -> LocatedRecipe:
    """The recipe, with statistics where its method needs some and it names none.

    They are of the recipe's layers and of those of config.toml, from ``sources``, else the bundled
    text and names, and become those of config.toml. Facts committed with other layers find
    that they are not covered, as ever.
    """
    if "statistics" not in recipe.row.needs or recipe.statistics is not None:
        return recipe
    config = session.recipe()
    if config.statistics is None:
        base, sources = session.materialiser.base, sources or sources_of()
        for text in sources.remarks:
            session.remark(text)
        windows = sorted({config.layers, recipe.layers})
        layers = sorted({layer for window in windows for layer in window})
        bundle = take(
            session.base_model(), base, layers, sources, windows=windows,
            progress=session.progress, workers=session.workers,
        )  # fmt: skip
        put_in_force(session, bundle)
        config = session.recipe()
    return replace(
        recipe,
        statistics=config.statistics,
        entity_statistics=config.entity_statistics,
        sensitivity=config.sensitivity,
    )


def put_in_force(session: Session, bundle: StatisticsBundle) -> None:
    """Store statistics and make them config.toml's."""
    session.repository.store.put_all(bundle.objects)
    session.repository.set_configs(
        {f"recipe.{name}": identifier for name, identifier in bundle.in_recipe.items()}
    )

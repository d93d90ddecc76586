"""The figures of a tree's layers, for a verdict, for history and for cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from editvc.algebra.layer_health import LayerHealth, layer_health
from editvc.core.history import Entry, Tree
from editvc.session.session import Session


def judged_layers(session: Session, tree: Tree) -> Iterator[tuple[LayerHealth, list[Entry]]]:
    """The figures of every changed layer with statistics, lowest first, and its located edits."""
    maker = session.materialiser
    groups = maker.solutions.groups(tree)
    recipes = [group.recipe for group in groups]
    for layer, factored in sorted(maker.delta(tree).layers.items()):
        if not maker.statistics.covers(layer, recipes):
            continue
        in_layer = [group for group in groups if layer in group.systems]
        figures = layer_health(
            layer,
            maker.weight(layer),
            factored,
            maker.statistics.text_moment(layer, recipes),
            [one.systems[layer] for one in in_layer],
            base=maker.base_figures(layer, recipes),
            names=maker.statistics.names_moment(layer, recipes),
        )
        yield figures, [entry for group in in_layer for entry in group.entries]


def worst_figures(layers: Sequence[LayerHealth]) -> dict[str, float]:
    """The worst layer's value of every judged figure, and of the distance, by name."""
    if not layers:
        return {}
    names = ("norm_growth", "distance", "spectral", "condition", "drift", "name_drift", "leak",
             "capacity")  # fmt: skip
    worst = {name: max(getattr(one, name) for one in layers) for name in names}
    return worst | {"correlation": min(one.correlation for one in layers)}

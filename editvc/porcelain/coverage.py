"""Statistics for layers that are being tried: those at hand, or taken anew for all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from editvc.core.ids import ObjectId, canonical_json, digest_of
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.errors import EditvcError
from editvc.materialise.stored_statistics import of_text
from editvc.session.session import Session
from editvc.statistics.bundle import Sources, sources_of, take
from editvc.statistics.text_moments import TOKEN_CAP, text_digest
from editvc.vcs.codec import metadata

Window = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Windows that there are statistics for, and the recipe's entries that name these."""

    windows: tuple[Window, ...]
    in_recipe: Mapping[str, Any]
    remark: str = ""


def cover(
    session: Session, windows: Sequence[Window], texts: Sequence[Path], entities: Path | None
) -> Coverage:
    """Statistics for as many windows as possible, of the same sources for all.

    Those of the recipe in force, where they cover every window. Else they are taken anew: from the
    user's ``texts`` and ``entities``, or, without any, from the bundled ones where the recipe's are
    of these. Where nobody knows what the recipe's were taken from, only windows that they cover are
    left, and ``remark`` says so. New statistics are stored; no recipe names them yet.
    """
    own_sources = bool(texts) or entities is not None
    recipe = session.recipe()
    covered = tuple(window for window in windows if _is_covered(session, recipe, window))
    if len(covered) == len(windows) and not own_sources:
        return Coverage(covered, {})
    settings = _default_settings() if own_sources else _bundled_settings(session)
    if settings is None:
        text, names = (_origin(session, one) for one in _named(session))
        return Coverage(
            covered,
            {},
            f"only windows that the statistics cover are tried: {text.get('source')!r} and "
            f"{names.get('source')!r}, which they were taken from, are not at hand; "
            "--text and --entities take new ones for all layers",
        )
    return Coverage(
        tuple(windows), _taken(session, windows, sources_of(texts, None, entities), settings)
    )


class SourcesUnknown(EditvcError):
    """Statistics cannot be taken anew, for nobody knows what the old ones were taken from."""

    def __init__(self, remark: str) -> None:
        super().__init__(
            f"statistics cannot be taken for more layers: {remark}",
            hint="Name the layers (`editvc config recipe.layers`), then `editvc stats compute "
            "--text FILE --entities FILE` takes statistics for them.",
        )


def with_coverage(session: Session, recipe: Recipe) -> Recipe:
    """The recipe with statistics that cover its layers, taken now where they do not yet.

    They are of the sources that the repository's were taken from. Where ``init --later`` put all of
    them off, the commit takes them. Raises :class:`SourcesUnknown`.
    """
    if not isinstance(recipe, LocatedRecipe) or recipe.statistics is None:
        return recipe
    if _is_covered(session, recipe, recipe.layers):
        return recipe
    settings = _bundled_settings(session)
    if settings is None:
        text, names = (_origin(session, one).get("source") for one in _named(session))
        raise SourcesUnknown(f"{text!r} and {names!r} are not at hand")
    taken = _taken(session, [recipe.layers], sources_of(), settings)
    named: dict[str, Any] = {
        name: one for name, one in taken.items() if getattr(recipe, name) is not None
    }
    return replace(recipe, **named)


def _is_covered(session: Session, recipe: LocatedRecipe, window: Window) -> bool:
    statistics = session.materialiser.statistics
    needed = {of_text(recipe): window}
    if recipe.entity_statistics is not None and recipe.entity_update_weight:
        needed[recipe.entity_statistics] = window
    if recipe.sensitivity is not None:
        needed[recipe.sensitivity] = window[-1:]
    return all(set(layers) <= set(statistics.moment(one).layers) for one, layers in needed.items())


def _named(session: Session) -> tuple[ObjectId, ObjectId | None]:
    recipe = session.recipe()
    return of_text(recipe), recipe.entity_statistics


def _origin(session: Session, identifier: ObjectId | None) -> dict[str, Any]:
    """What a statistics object says it was taken from."""
    return {} if identifier is None else metadata(session.repository.store.get(identifier))


def _default_settings() -> dict[str, Any]:
    return {"budget": None, "token_cap": TOKEN_CAP}


def _bundled_settings(session: Session) -> dict[str, Any] | None:
    """The settings of the recipe's statistics, if they were taken from the bundled sources."""
    bundled = sources_of()
    text, names = (_origin(session, one) for one in _named(session))
    same = (bundled.digest, text_digest([bundled.entities]))
    if (text.get("digest"), names.get("digest")) != same:
        return None
    return {"budget": int(text["samples"]), "token_cap": int(text["cap"])}


def _taken(
    session: Session, windows: Sequence[Window], sources: Sources, settings: Mapping[str, Any]
) -> dict[str, ObjectId]:
    """Take statistics for all windows at once, or find those that were taken before."""
    plumbing, base = session.repository, session.materialiser.base
    layers = sorted({layer for window in windows for layer in window})
    names = text_digest([sources.entities])
    ends = sorted(list(window) for window in windows)
    run = digest_of([base.id, sources.digest, names, ends, *settings.values()])

    def make() -> bytes:
        folder = plumbing.cache.folder / "statistics" / run
        bundle = take(
            session.base_model(), base, layers, sources, windows=windows, folder=folder,
            progress=session.progress, workers=session.workers, **settings,
        )  # fmt: skip
        plumbing.store.put_all(bundle.objects)
        return canonical_json(bundle.in_recipe)

    known = plumbing.cache.get("tuning", run)
    if known is not None and all(map(plumbing.store.contains, json.loads(known).values())):
        return {name: ObjectId(one) for name, one in json.loads(known).items()}
    record = make()
    plumbing.cache.put("tuning", run, record)
    return {name: ObjectId(one) for name, one in json.loads(record).items()}

"""Presets: named sets of values of a method, spelt out before a recipe is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from editvc.core.methods.method import Method
from editvc.core.methods.recipe import RecipeError
from editvc.core.spelling import did_you_mean
from editvc.session.session import Session

PRESET = "preset"
"""The key of options and files that names one; no recipe has it."""


def spelt_out(session: Session, row: Method, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` over those of the preset that they name, which goes.

    A preset with contexts loads the base, which writes them. Raises :class:`RecipeError`.
    """
    rest = {key: value for key, value in values.items() if key != PRESET}
    if PRESET not in values:
        return rest
    name = str(values[PRESET])
    if name not in row.presets:
        guess = did_you_mean(name, row.presets)
        listed = f"Its presets: {', '.join(row.presets) or 'none'}."
        raise RecipeError(f"{row.name} has no preset {name!r}", hint=guess or listed)
    preset = row.presets[name]
    if preset.contexts and "contexts" not in rest:
        from editvc.models.context_prefixes import OPENINGS, sample_contexts

        openings = [OPENINGS[i % len(OPENINGS)] for i in range(preset.contexts - 1)]
        contexts = sample_contexts(session.base_model(), openings=openings)
        return {**preset.values, "contexts": list(contexts), **rest}
    return {**preset.values, **rest}

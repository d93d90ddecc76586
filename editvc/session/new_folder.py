"""What a new repository begins with, whatever is in it: the template."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable


def template_folder() -> Traversable:
    """The template beside the package in a wheel, or at the root of a checkout."""
    packaged = resources.files("editvc") / "template"
    if packaged.is_dir():
        return packaged
    return resources.files("editvc").joinpath("..", ".editvc-template")

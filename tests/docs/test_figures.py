"""Figures are in step with the code, say what they show, and read in the dark."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from blocks import ROOT
from house import MAY_IMPORT, ON_NO_FLOOR

DOCS = ROOT / "docs"
DRAWN = ("algebra", "house")
"""The figures that are drawings; the others are curves, on white paper of their own."""
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    sys.path.append(str(DOCS))
    try:
        return importlib.import_module("generate_house")
    finally:
        sys.path.remove(str(DOCS))


def test_the_map_of_the_house_is_in_step_with_its_rules(generator: ModuleType) -> None:
    assert generator.FIGURE.read_text("utf-8") == generator.figure(), (
        "run `python docs/generate_house.py`"
    )


def test_every_room_stands_on_what_it_may_import(generator: ModuleType) -> None:
    """On that and nothing else; those on top see less, and the figure says what."""
    assert generator.ROOMS.keys() == MAY_IMPORT.keys() - {*ON_NO_FLOOR, "__init__"}
    for name in generator.ROOMS:
        below = generator.below(name)
        assert {*MAY_IMPORT[name]} <= below, name
        assert (len(generator.told(name)) == 2) == (below != {*MAY_IMPORT[name]}), name
    narrow = [name for name in generator.ROOMS if len(generator.told(name)) == 2]
    assert narrow == ["cli", "plugins", "repo"]


def test_rooms_do_not_overlap(generator: ModuleType) -> None:
    rooms = generator.ROOMS.values()
    cells = [
        (column, floor)
        for room in rooms
        for column in range(room.left, room.right)
        for floor in range(room.bottom, room.top)
    ]
    assert len(cells) == len({*cells}) == generator.COLUMNS * 9


def images(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text("utf-8"))


def test_every_figure_is_shown_once_or_more_and_described() -> None:
    shown: set[str] = set()
    for page in DOCS.rglob("*.md"):
        for words, target in images(page):
            assert len(words) > 10, f"{page.name}: {target} has no description"
            shown.add((page.parent / target).resolve().relative_to(DOCS).as_posix())
    assert shown == {f"figures/{path.name}" for path in (DOCS / "figures").iterdir()}


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_has_its_own_paper_and_ink_for_light_and_for_dark(name: str) -> None:
    """Whatever page it stands on; a figure in a page cannot see the page's colours."""
    text = (DOCS / "figures" / f"{name}.svg").read_text("utf-8")
    light, media, dark = text.partition("@media (prefers-color-scheme: dark)")
    assert media
    for where in (light, dark):
        assert fill(where, "text") and fill(where, ".paper")
        inks = [fill(where, one) for one in classes(text) if fill(light, one)]
        assert min(contrast(fill(where, "text"), ink) for ink in inks) >= 4.5
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|href=", text)


CURVES = [path for path in sorted((DOCS / "figures").glob("*.svg")) if path.stem not in DRAWN]


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_curves_bring_white_paper(path: Path) -> None:
    """Their letters are black, and would be lost on a dark page."""
    first = re.search(r'<path d="M 0 [\d.]+[^"]+" style="fill: (#\w+)', path.read_text("utf-8"))
    assert first is not None and first[1] == "#ffffff"


def classes(text: str) -> list[str]:
    """The classes of a drawing's shapes that stand below words."""
    return [f".{name}" for name in ("paper", *{*re.findall(r'<rect class="(\w+)', text)})]


def fill(style: str, selector: str) -> str:
    """The colour that a style sheet fills a selector with, or nothing."""
    rule = re.search(rf"(?:^|[\s}}]){re.escape(selector)} {{[^}}]*fill: (#\w+)", style)
    return rule[1] if rule else ""


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

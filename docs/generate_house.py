"""Write docs/figures/house.svg: the packages as rooms, each on top of what it may import.

The rooms' places are here; what they may import is read from tests/support/house.py, and a test
asks that a room rests on nothing else and that the figure is what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from house import MAY_IMPORT, ON_NO_FLOOR, SIBLINGS  # noqa: E402

FIGURE = ROOT / "docs" / "figures" / "house.svg"
COLUMNS, COLUMN, FLOOR, MARGIN = 12, 60, 64, 20
"""How many columns, and in pixels the width of one, the height of a floor, and the margin."""


@dataclass(frozen=True)
class Room:
    """Columns [left, right), floors [bottom, top) counted from the ground, and what it holds."""

    left: int
    right: int
    bottom: int
    top: int
    holds: str

    def rests_on(self, other: Room) -> bool:
        """Whether the other room's ceiling carries a part of this one's floor."""
        return self.bottom == other.top and self.left < other.right and other.left < self.right


ROOMS = {
    "cli": Room(0, 9, 8, 9, "one file a command: options in, words or JSON out"),
    "plugins": Room(9, 12, 8, 9, "what other tools load"),
    "repo": Room(0, 12, 7, 8, "the facade: one method a verb"),
    "porcelain": Room(0, 12, 6, 7, "one file a verb"),
    "session": Room(0, 9, 5, 6, "an open repository with its model"),
    "publish": Room(9, 12, 4, 6, "the Hub, card, lock"),
    "materialise": Room(0, 9, 4, 5, "stored objects to tensors"),
    "vcs": Room(0, 3, 1, 4, "objects, refs, index"),
    "editing": Room(3, 5, 3, 4, "the methods"),
    "statistics": Room(5, 7, 3, 4, "second moments"),
    "evaluation": Room(7, 9, 3, 4, "scores, traces"),
    "interchange": Room(9, 12, 3, 4, "files of other tools"),
    "models": Room(3, 12, 2, 3, "one Hugging Face model: loading, tokens, hooks"),
    "algebra": Room(3, 12, 1, 2, "deltas, solvers, health: tensors alone"),
    "core": Room(0, 12, 0, 1, "values, ids, facts, recipes: the standard library alone"),
}

STYLE = """\
text { font-family: system-ui, sans-serif; font-size: 12px; fill: #1f2328 }
.name { font-family: ui-monospace, monospace; font-size: 14px; font-weight: 600 }
.paper { fill: #ffffff } .neither { fill: #eceff1 } .store { fill: #cfe5f6 }
.tensors { fill: #fde0bf } .both { fill: #cdeadf } .wall { stroke: #57606a; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .paper { fill: #16181d } .neither { fill: #30363d }
  .store { fill: #0b4a75 } .tensors { fill: #70430d } .both { fill: #0f5c44 }
  .wall { stroke: #9aa4af }
}"""
KINDS = {
    "store": "knows the store",
    "tensors": "knows tensors",
    "both": "knows both",
    "neither": "knows neither",
}
TITLE = "The packages of editvc, each on top of what it may import"


def below(name: str) -> set[str]:
    """All rooms that a room stands above; the siblings carry together."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        room = ROOMS[waiting.pop()]
        carrying = {other for other, place in ROOMS.items() if room.rests_on(place)}
        if carrying & {*SIBLINGS}:
            carrying |= {*SIBLINGS}
        waiting += carrying - found
        found |= carrying
    return found


def kind(name: str) -> str:
    """What a room knows, by what it is or may import."""
    known = {name, *MAY_IMPORT[name]}
    return {(True, True): "both", (True, False): "store", (False, True): "tensors"}.get(
        ("vcs" in known, "algebra" in known), "neither"
    )


def label(name: str) -> str:
    """A room's name on its door."""
    return "repo.py" if name == "repo" else name


def told(name: str) -> list[str]:
    """The lines in a room: what it holds, and what alone it sees of what stands below it."""
    seen = [other for other in ROOMS if other in MAY_IMPORT[name]]
    narrow = f"sees {', '.join(map(label, seen))} only"
    return [ROOMS[name].holds, *([narrow] if {*seen} != below(name) else [])]


def lines() -> Iterator[str]:
    """The figure, element by element."""
    width = COLUMNS * COLUMN + 2 * MARGIN
    ground = MARGIN + 9 * FLOOR
    height = ground + 70
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    yield f"<title>{TITLE}</title>"
    yield f"<style>\n{STYLE}\n</style>"
    yield f'<rect class="paper" width="{width}" height="{height}" rx="8"/>'
    for name, room in ROOMS.items():
        x, y = MARGIN + room.left * COLUMN, ground - room.top * FLOOR
        wide, high = (room.right - room.left) * COLUMN, (room.top - room.bottom) * FLOOR
        yield (
            f'<rect class="{kind(name)} wall" x="{x + 2}" y="{y + 2}" width="{wide - 4}" '
            f'height="{high - 4}" rx="4"/>'
        )
        yield f'<text class="name" x="{x + 10}" y="{y + 22}">{label(name)}</text>'
        for number, line in enumerate(told(name)):
            yield f'<text x="{x + 10}" y="{y + 39 + 15 * number}">{escape(line)}</text>'
    for number, (name, meaning) in enumerate(KINDS.items()):
        x = MARGIN + 170 * number
        yield f'<rect class="{name} wall" x="{x + 2}" y="{ground + 12}" width="16" height="16"/>'
        yield f'<text x="{x + 25}" y="{ground + 25}">{meaning}</text>'
    loose = ", ".join(ON_NO_FLOOR)
    yield f'<text x="{MARGIN}" y="{ground + 52}">On no floor, for all to use: {loose}.</text>'
    yield "</svg>"


def figure() -> str:
    """The whole file."""
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    FIGURE.write_text(figure(), encoding="utf-8")

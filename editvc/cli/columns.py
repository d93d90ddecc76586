"""Tables in the room of a terminal: texts are cut, columns go on below, numbers stay whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

GAP = "  "
LEAST = 8
"""Columns that a text keeps, however narrow the terminal is."""


def aligned(
    lines: Sequence[Sequence[str]], right: Collection[int], room: int | None
) -> Iterator[list[list[tuple[int, str]]]]:
    """Blocks of lines, each a list of (column, cell) with all cells of a column alike wide.

    ``right`` are the columns that stand on the right: numbers, which are never cut. ``room`` is the
    width of the terminal, None for as much as it takes. Where it is too small for columns beside
    each other, the rest follows in further blocks, each with the first column before it.
    """
    from rich.cells import cell_len

    widths = [max(cell_len(line[at]) for line in lines) for at in range(len(lines[0]))]
    if room is not None:
        widths = _cut(widths, right, room)
    for block in _blocks(widths, room):
        yield [
            [(at, _cell(line[at], widths[at], on_right=at in right)) for at in block]
            for line in lines
        ]


def _cut(widths: list[int], right: Collection[int], room: int) -> list[int]:
    """The longest texts shortened to one width, the largest with which the line fits."""

    def at_most(longest: int) -> list[int]:
        return [width if at in right else min(width, longest) for at, width in enumerate(widths)]

    fitting = (at_most(longest) for longest in range(room, LEAST, -1))
    return next((some for some in fitting if _total(some) <= room), at_most(LEAST))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _blocks(widths: Sequence[int], room: int | None) -> list[list[int]]:
    if room is None:
        return [[*range(len(widths))]]
    blocks = [[0]]
    for at in range(1, len(widths)):
        if len(blocks[-1]) > 1 and _total([widths[one] for one in (*blocks[-1], at)]) > room:
            blocks.append([0])
        blocks[-1].append(at)
    return blocks


def _cell(text: str, width: int, *, on_right: bool) -> str:
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1).rstrip()}…"
    space = " " * (width - cell_len(text))
    return space + text if on_right else text + space

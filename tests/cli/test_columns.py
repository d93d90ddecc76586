"""Tables in the room of a terminal."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from editvc.cli.columns import GAP, LEAST, aligned

LINES = [
    ["name", "size", "what it is"],
    ["one", "1", "a short text"],
    ["two", "1234567", "a text of many words, which no narrow terminal has the room for"],
]


def shown(lines: list[list[str]], right: list[int], room: int | None) -> list[list[str]]:
    return [
        [GAP.join(cell for _, cell in line).rstrip() for line in block]
        for block in aligned(lines, right, room)
    ]


def test_a_pipe_gets_all_of_it() -> None:
    ((header, one, two),) = shown(LINES, [1], None)
    assert header == "name     size  what it is"
    assert one == "one         1  a short text" and two.endswith(LINES[2][2])


@pytest.mark.parametrize("room", [24, 30, 40, 77])
def test_the_longest_text_is_cut_and_numbers_are_not(room: int) -> None:
    ((header, one, two),) = shown(LINES, [1], room)
    assert max(map(cell_len, (header, one, two))) <= room
    assert two.startswith("two   1234567  a text") and two.endswith("…")
    assert cell_len(two) > room - 2, "no more is cut than needs be, but for a space at the end"


def test_several_texts_are_cut_to_one_width() -> None:
    ((line,),) = shown([["a" * 30, "b" * 20, "c" * 5]], [], 29)
    assert line.split(GAP) == ["a" * 9 + "…", "b" * 9 + "…", "ccccc"]


def test_what_has_no_room_beside_follows_below_with_its_name() -> None:
    lines = [[name, *(f"{name}{at}".rjust(9) for at in range(5))] for name in ("x", "y")]
    blocks = shown(lines, [1, 2, 3, 4, 5], 25)
    assert [len(block) for block in blocks] == [2, 2, 2]
    assert all(line[0] == name for block in blocks for line, name in zip(block, "xy", strict=True))
    whole = " ".join(line for block in blocks for line in block)
    assert all(f"{name}{at}" in whole for name in "xy" for at in range(5)), "no number is lost"
    assert max(len(line) for block in blocks for line in block) <= 25


def test_wide_characters_take_two_columns() -> None:
    ((first, second),) = shown([["東京都" * 5, "1"], ["Rome", "2"]], [1], 20)
    assert cell_len(first) == cell_len(second) <= 20 and "…" in first


def test_a_text_keeps_some_columns_however_narrow_it_is() -> None:
    ((line,), *_) = shown([["a" * 30, "b" * 30]], [], 5)
    assert cell_len(line) == LEAST + len(GAP) + LEAST

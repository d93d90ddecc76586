"""The example notebooks run from their first cell to the last, and print what they show."""

from __future__ import annotations

import copy
from pathlib import Path

import nbformat
import pytest
from blocks import ROOT
from notebooks import code, differences, printed, run

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_tells_the_truth(path: Path) -> None:
    shown = nbformat.read(path, as_version=4)
    nbformat.validate(shown)
    wrong = differences(shown, run(path))
    assert not wrong, "\n\n".join([*wrong, f"run `python tests/docs/notebooks.py {path.name}`"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_place_of_the_machine_it_was_made_on(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not any(place in text for place in ("/home/", "/root/", "/tmp/"))


def test_another_word_in_an_output_is_seen() -> None:
    shown = nbformat.read(NOTEBOOKS[0], as_version=4)
    told = copy.deepcopy(shown)
    assert differences(shown, told) == []
    cell = next(cell for cell in code(told) if "Rome" in "".join(printed(cell)))
    cell.outputs[0].text = cell.outputs[0].text.replace("Rome", "Oslo")
    assert len(differences(shown, told)) == 1

"""A method is added in one place: a row, or a declaration and its algorithm, in a copy of editvc.

The copy is changed in these files alone and run as a user runs it; whatever else a new method would
have to be told to would be missed by one of the commands.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import environment, written
from tiny_repos import FACTS, Prepared, close, prepared, work

import editvc

__all__ = ["prepared", "work"]

PACKAGE = Path(editvc.__file__).parent

ROW = """
    by_least_squares(
        "halfway",
        "emmet's equations with pmet's spread",
        "Nobody et al. 2026, A Row of Its Own",
        edit_site=EditSite.BLOCK_OUTPUT,
        spread="root",
        solver="equality",
        numbers={**MEMIT_DEFAULTS, "v_num_grad_steps": 2},
        foreign=Foreign(("HALFWAY",)),
    ),
)

ROWS = by_name(_ROWS)
"""

DECLARATION = '''
"""``nudge``: one entry of the weights (:mod:`editvc.editing.nudge`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from editvc.core.methods.method import Method, by_name
from editvc.core.methods.recipe import Recipe
from editvc.core.settings import TEXT, number, setting

ROWS = by_name(
    [
        Method(
            "nudge",
            "move one entry of one layer",
            "Nobody et al. 2026, A File of Its Own",
            element="patch",
            maker="editvc.editing.nudge:make_elements",
            single=True,
        )
    ]
)


@dataclass(frozen=True, slots=True)
class NudgeRecipe(Recipe):
    """By how much, and of which output."""

    ROWS: ClassVar[Mapping[str, Method]] = ROWS

    method: str = setting(TEXT, "nudge")
    size: float = number(0.25, above=0, high=1, help="what is added")
    output: int = number(0, help="the output that is moved")


RECIPE = NudgeRecipe
'''

ALGORITHM = '''
"""One entry of the weight, chosen by the length of the subject."""

import torch

from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.patch import Patch


def make_elements(lm, requests, recipe, resources, progress):
    u, v = lm.hidden_size, lm.inner_size
    patches = []
    for request in requests:
        left = torch.zeros(u, 1, dtype=torch.float64)
        right = torch.zeros(1, v, dtype=torch.float64)
        left[recipe.output, 0] = recipe.size
        right[0, len(request.subject) % v] = 1
        delta = Delta({layer: Factored(left, right) for layer in recipe.layers})
        patches.append(Patch(delta, {"error": 0.0}))
    return patches
'''

DRIVER = """
import json, sys
from cli_runs import inside
import editvc

ran = [inside(*words) for words in json.load(sys.stdin)]
print(json.dumps([editvc.__file__, [[one.code, one.out, one.err] for one in ran]]))
"""


class Copy:
    """The package in a folder of its own, and a repository to run it in."""

    def __init__(self, folder: Path, prepared: Prepared) -> None:
        self.package = folder / "editvc"
        ignored = shutil.ignore_patterns("__pycache__", "pocket")
        shutil.copytree(PACKAGE, self.package, ignore=ignored)
        self.here = folder / "here"
        close(prepared.copy(self.here))
        self.facts = written(folder / "facts.jsonl", FACTS[:3])

    def run(self, *commands: tuple[object, ...]) -> list[str]:
        """What commands print, one after the other in one process; each must go well."""
        support = Path(__file__).parents[2] / "support"
        path = os.pathsep.join([str(self.package.parent), str(support)])
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            cwd=self.here,
            env=environment(self.here, PYTHONPATH=path),
            input=json.dumps([[str(word) for word in words] for words in commands]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        place, ran = json.loads(done.stdout)
        assert Path(place).parent == self.package
        for words, (code, out, err) in zip(commands, ran, strict=True):
            assert code == 0, f"{words}: {out}{err}"
        return [out for _, out, _ in ran]


@pytest.fixture
def copy(work: Path, prepared: Prepared) -> Iterator[Copy]:
    yield Copy(work, prepared)


def test_a_least_squares_method_is_one_row(copy: Copy) -> None:
    declared = copy.package / "core" / "methods" / "locate.py"
    text = declared.read_text(encoding="utf-8")
    end = "\n)\n\nROWS = by_name(_ROWS)\n"
    assert text.count(end) == 1
    declared.write_text(text.replace(end, ROW), encoding="utf-8")
    (copy.here / "halfway.yaml").write_text("alg_name: halfway\nlayers: [1]\n")
    table, recipe, _, log, shown, health, *_, fsck = copy.run(
        ("methods",),
        ("methods", "halfway"),
        ("commit", copy.facts, "--method", "halfway"),
        ("log",),
        ("show", "HEAD"),
        ("health", "--json"),
        ("export", "--to", copy.here / "model"),
        ("config", "recipe.method", "halfway"),
        ("revert", "HEAD"),
        ("commit", copy.facts, "--recipe", copy.here / "halfway.yaml", "--dry-run"),
        ("fsck",),
    )
    assert "\nhalfway " in table and "method: halfway\nv_num_grad_steps: 2\n" in recipe
    assert FACTS[0].target_new in log and "method halfway" in shown
    assert [layer["layer"] for layer in json.loads(health)["layers"]] == [1, 2]
    assert (copy.here / "model" / "model.safetensors").is_file()
    assert fsck.endswith("clean\n")


def test_a_patch_method_is_a_declaration_and_an_algorithm(copy: Copy) -> None:
    (copy.package / "core" / "methods" / "nudge.py").write_text(DECLARATION.lstrip())
    (copy.package / "editing" / "nudge.py").write_text(ALGORITHM.lstrip())
    table, recipe, _, log, shown, health, _, _, fsck = copy.run(
        ("methods",),
        ("methods", "nudge"),
        ("commit", copy.facts, "--method", "nudge", "-O", "size=5e-1"),
        ("log",),
        ("show", "HEAD"),
        ("health", "--json"),
        ("export", "--format", "lora", "--to", copy.here / "adapter"),
        ("revert", FACTS[0].id),
        ("fsck",),
    )
    assert "\nnudge " in table
    assert recipe == "layers:\n- 2\nmethod: nudge\nsize: 0.25\noutput: 0\n"
    assert FACTS[0].target_new in log and "method nudge" in shown
    assert [layer["layer"] for layer in json.loads(health)["layers"]] == [2]
    assert (copy.here / "adapter" / "adapter_model.safetensors").is_file()
    assert fsck.endswith("clean\n")

"""The house holds its shape, and each of its rules is seen to find what breaks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import FUNCTION_IMPORTS, House

from editvc.core.methods.table import DECLARATIONS, METHODS
from editvc.materialise.make_elements import maker_of

ROOT = Path(__file__).resolve().parent.parent
RULES = (
    "directions", "cycles", "facade", "hidden_imports", "tensors", "definitions", "stems", "sizes",
    "untested", "missing_paths",
)  # fmt: skip
NAMES = {row.name for row in METHODS.values() if row.maker}
"""The methods that make something of facts; an import is none, and its name is a format's."""

SOUND = {
    "core/tensor_header.py": 'KEY = "__metadata__"\n',
    "core/progress.py": "Progress = object\n",
    "repo.py": (
        'class Repo:\n    def log(self):\n        """Lines."""\n'
        "        from editvc.porcelain.log import log\n\n        return log(self)\n"
    ),
    "porcelain/log.py": "def log(session):\n    return session\n",
    "cli/log.py": "from editvc.repo import Repo\n",
}
"""A little house in which nothing is wrong."""


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_of_the_house_holds(house: House, rule: str) -> None:
    assert getattr(house, rule)() == []


def test_no_method_is_named_outside_its_declaration(house: House) -> None:
    assert house.method_names(NAMES) == []


def test_every_maker_is_there_and_stands_in_the_file_of_its_declaration() -> None:
    for declaration, module in DECLARATIONS.items():
        for row in module.ROWS.values():
            if row.maker:
                assert row.maker.partition(":")[0] == f"editvc.editing.{declaration}"
                assert callable(maker_of(row))


def test_no_exception_is_stale(house: House) -> None:
    """A module that no longer imports inside functions leaves the list."""
    hidden = {line.partition(" ")[0] for line in house.hidden_imports(allowed=())}
    assert hidden == {*FUNCTION_IMPORTS}


def built(root: Path, files: dict[str, str]) -> House:
    for path, text in (SOUND | files).items():
        file = root / "editvc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (root / "docs").mkdir()
    (root / "docs" / "architecture.md").write_text("`editvc/repo.py`", encoding="utf-8")
    for package in ("core", "porcelain", "cli"):
        tests = root / "tests" / package
        tests.mkdir(parents=True)
        (tests / f"test_{package}.py").write_text("", encoding="utf-8")
    return House(root)


def test_the_little_house_is_sound(tmp_path: Path) -> None:
    house = built(tmp_path, {})
    assert all(getattr(house, rule)() == [] for rule in RULES if rule != "sizes")


LONG = "def long():\n" + "    pass\n" * 65
PLANTED = {
    "below": ("directions", {"core/a.py": "from editvc.algebra.delta import Delta\n"},
              "core/a.py imports editvc.algebra.delta"),
    "a sibling": ("directions", {"editing/a.py": "import editvc.statistics.corpus\n"},
                  "editing/a.py imports editvc.statistics.corpus"),
    "a circle": ("cycles", {"core/a.py": "from editvc.core import b\n",
                            "core/b.py": "def f():\n    from editvc.core.a import g\n"},
                 "editvc.core.a -> editvc.core.b -> editvc.core.a"),
    "a circle of types": ("cycles", {
        "core/a.py": "from editvc.core.b import B\n",
        "core/b.py": "if TYPE_CHECKING:\n    from editvc.core.a import A\n",
    }, "editvc.core.a -> editvc.core.b -> editvc.core.a"),
    "Repo below": ("facade", {"porcelain/a.py": "from editvc.repo import Repo\n"},
                   "porcelain/a.py imports editvc.repo"),
    "the repository above": ("facade", {"cli/a.py": "x = repo.session.repository\n"},
                             "cli/a.py reaches for .repository"),
    "logic in the facade": ("facade", {"repo.py": "class Repo:\n    def a(self):\n"
                                       "        x = 1\n        y = 2\n        return x\n"},
                            "repo.py: a is more than one return"),
    "a hidden import": ("hidden_imports", {"core/a.py": "def f():\n    import editvc.core.b\n"},
                        "core/a.py imports inside a function"),
    "a second return": ("facade", {"repo.py": "class Repo:\n    def a(self):\n"
                                   "        if self:\n            return 1\n        return 2\n"},
                        "repo.py: a is more than one return"),
    "a helper beside": ("facade", {"repo.py": "class Repo:\n    pass\ndef helper():\n    pass\n"},
                        "repo.py has helper beside Repo"),
    "a strange room": ("directions", {"attic/a.py": ""}, "attic stands on no floor"),
    "errors that know": ("directions", {"errors.py": "from editvc.repo import Repo\n"},
                         "errors.py imports editvc.repo"),
    "the store above": ("directions", {"cli/a.py": "from editvc.vcs.store import Store\n"},
                        "cli/a.py imports editvc.vcs.store"),
    "a loaded module": ("hidden_imports", {"core/a.py": "import_module('editvc.x')\n"},
                        "core/a.py imports inside a function"),
    "torch in core": ("tensors", {"core/a.py": "import torch.nn\n"}, "core/a.py imports torch"),
    "transformers in algebra": ("tensors", {"algebra/a.py": "from transformers import x\n"},
                                "algebra/a.py imports transformers"),
    "a second key": ("definitions", {"algebra/a.py": 'x = header["__metadata__"]\n'},
                     "__metadata__ in ['algebra/a.py', 'core/tensor_header.py']"),
    "a second Progress": ("definitions", {"vcs/a.py": "Progress = int\n"},
                          "Progress in ['core/progress.py', 'vcs/a.py']"),
    "another Progress": ("definitions", {"vcs/a.py": "Hears = Callable[[str, int, int], None]\n"},
                         "Progress in ['core/progress.py', 'vcs/a.py']"),
    "a shared stem": ("stems", {"core/delta.py": "", "algebra/delta.py": ""},
                      "delta.py in algebra, core"),
    "three of a name": ("stems", {"vcs/log.py": ""}, "log.py in cli, porcelain, vcs"),
    "a long module": ("sizes", {"core/a.py": "x = 1\n" * 401}, "core/a.py has 401 lines"),
    "a long function": ("sizes", {"core/a.py": LONG}, "core/a.py: long has 66 lines"),
    "a wide package": ("sizes", {"core/a.py": "x = 1\n" * 300}, "core is a fifth of the code"),
    "no tests": ("untested", {"vcs/a.py": ""}, "tests/vcs is missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_rule_finds_what_breaks_it(name: str, tmp_path: Path) -> None:
    rule, files, offence = PLANTED[name]
    assert offence in getattr(built(tmp_path, files), rule)()


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    house = built(tmp_path, {})
    (tmp_path / "docs" / "architecture.md").write_text("`editvc/none.py`", encoding="utf-8")
    assert house.missing_paths() == ["editvc/none.py is not there"]


def test_a_method_by_its_name_is_found(tmp_path: Path) -> None:
    files = {"core/methods/a.py": 'x = "memit"\n', "editing/a.py": 'if name == "memit":\n    x\n'}
    assert built(tmp_path, files).method_names({"memit"}) == ["editing/a.py:1 names 'memit'"]

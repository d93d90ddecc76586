"""The rules of the house, as functions from a checkout to what breaks them.

They read the code as text: imports under ``TYPE_CHECKING`` and inside functions count, since a
reader must know them too.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SIBLINGS = ("interchange", "editing", "statistics", "evaluation")
LOWER = ("models", "algebra", "core")
MAY_IMPORT = {
    "core": (),
    "vcs": ("core",),
    "algebra": ("core",),
    "models": ("algebra", "core"),
    **{sibling: LOWER for sibling in SIBLINGS},
    "publish": (*SIBLINGS, *LOWER),
    "materialise": (*SIBLINGS, *LOWER, "vcs"),
    "session": (*SIBLINGS, *LOWER, "vcs", "materialise"),
    "porcelain": (*SIBLINGS, *LOWER, "vcs", "publish", "materialise", "session"),
    "repo": (*LOWER, "vcs", "session", "porcelain"),
    "cli": ("core", "session", "porcelain", "repo"),
    "plugins": ("core", "vcs", "repo"),
    **{bare: () for bare in ("errors", "version", "data", "pocket", "__init__")},
}
"""What a package may import beside itself and what stands on no floor (errors, version, data)."""

FOR_TYPES = {"cli": ("vcs",), "__init__": ("core", "repo")}
"""What a package may name in annotations beside that, or where it is first asked for."""

ON_NO_FLOOR = ("errors", "version", "data", "pocket")

FUNCTION_IMPORTS = {
    "__init__.py": "`import editvc` loads nothing that is not asked for",
    "core/methods/table.py": "a new declaration is found, not told",
    "materialise/make_elements.py": "a row names its maker, whose module loads where it is used",
    "vcs/repository.py": "sqlite-utils is for a new index, and for one that is brought up to date",
    "session/session.py": "what reads history alone starts without torch",
    "porcelain/export.py": "export --format delta needs no torch where a commit left the file",
    "session/delta_cache.py": "as above: torch only where the file is not in the cache",
    "interchange/delta_file.py": "as above: reading one needs torch, writing one does not",
    "porcelain/evaluate.py": "what was measured before is told without torch",
    "porcelain/measure.py": "as above",
    "porcelain/sequence.py": "as above",
    "session/choose_recipe.py": "`methods` and `config` start without torch",
    "porcelain/serve.py": "starlette is an extra, and where it is missing that is told",
    "session/engine.py": "ray is an extra, and where it is missing that is told",
    "session/worker.py": "ray is there where a worker is",
    "session/presets.py": "as above: contexts are sampled where a preset has some",
}
"""Modules outside repo.py and cli/ that import editvc inside functions, and why."""

FACADE = "repo.py"
"""May be long: a method of it is signature, docstring, import and one return, as a rule holds."""

MOST_LINES, MOST_FUNCTION_LINES = 400, 65


@dataclass(frozen=True)
class Module:
    """One file of the package: its path from the package's folder, its text and its tree."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def stem(self) -> str:
        return Path(self.path).stem


class House:
    """A checkout, or a part of one that has ``editvc``, ``tests`` and ``docs``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        package = root / "editvc"
        self.modules = [
            Module(path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"))
            for path in sorted(package.rglob("*.py"))
        ]
        self.by_name = {self.name(module): module for module in self.modules}

    @staticmethod
    def name(module: Module) -> str:
        dotted = "editvc." + module.path.removesuffix(".py").replace("/", ".")
        return dotted.removesuffix(".__init__").removesuffix("editvc.__init__") or "editvc"

    def imports(self, tree: ast.AST, *, types: bool = True) -> Iterator[str]:
        """Names of the modules of editvc that are imported anywhere below a node.

        Without ``types``, not those that stand under ``TYPE_CHECKING``.
        """
        for node in nodes(tree, types=types):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "editvc":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in self.by_name else str(node.module)
            elif isinstance(node, ast.Import):
                yield from (a.name for a in node.names if a.name.split(".")[0] == "editvc")

    def inside(self, *packages: str) -> list[Module]:
        return [module for module in self.modules if module.package in packages]

    # -- the rules, in the order of docs/architecture.md --------------------------------------

    def directions(self) -> list[str]:
        """A package imports only what stands below it; siblings are blind to each other."""
        strange = {module.package for module in self.modules} - {*MAY_IMPORT}
        offences = [f"{package} stands on no floor" for package in sorted(strange)]
        for module in self.modules:
            allowed = {module.package, *MAY_IMPORT.get(module.package, ()), *ON_NO_FLOOR}
            for_types = {*self.imports(module.tree)} - {*self.imports(module.tree, types=False)}
            for name in self.imports(module.tree):
                floor = name.removeprefix("editvc.").split(".")[0]
                named = FOR_TYPES.get(module.package, ()) if name in for_types else ()
                if floor not in {*allowed, *named}:
                    offences.append(f"{module.path} imports {name}")
        return offences

    def cycles(self) -> list[str]:
        """Files that import each other, however far around."""
        graph = {
            name: {one for one in self.imports(module.tree) if one in self.by_name and one != name}
            for name, module in self.by_name.items()
        }
        return [" -> ".join(circle) for circle in circles(graph)]

    def facade(self) -> list[str]:
        """Nothing below the command line knows Repo, and the command line knows nothing behind."""
        knows = [
            f"{module.path} imports editvc.repo"
            for module in self.modules
            if module.package not in ("cli", "plugins", "repo", "__init__")
            if "editvc.repo" in self.imports(module.tree)
        ]
        reaches = [
            f"{module.path} reaches for .{node.attr}"
            for module in self.inside("cli")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr in ("repository", "session")
        ]
        long = [
            f"{FACADE}: {method.name} is more than one return"
            for module in self.inside("repo")
            for method in methods(module.tree, "Repo")
            if method.name != "__init__" and not plain(significant(method))
        ]
        more = [
            f"{FACADE} has {node.name} beside Repo"
            for module in self.inside("repo")
            for node in module.tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != "Repo"
        ]
        return knows + reaches + long + more

    def hidden_imports(self, allowed: Iterable[str] = FUNCTION_IMPORTS) -> list[str]:
        """Imports inside functions, but where starting quickly is what they are for."""
        hidden = {
            module.path
            for module in self.modules
            if module.package not in ("cli", "repo")
            if any(any(self.imports(function)) for function in functions(module.tree))
            or "import_module" in module.text
        }
        return [f"{path} imports inside a function" for path in sorted(hidden - {*allowed})]

    def tensors(self) -> list[str]:
        """No torch in core and vcs, no transformers in algebra."""
        forbidden = {
            "core": ("torch", "numpy", "safetensors", "transformers"),
            "vcs": ("torch", "numpy", "safetensors", "transformers"),
            "algebra": ("transformers",),
        }
        return [
            f"{module.path} imports {name}"
            for package, names in forbidden.items()
            for module in self.inside(package)
            for name in third_parties(module.tree)
            if name in names
        ]

    def method_names(self, names: set[str]) -> list[str]:
        """Methods named in the text of code outside their declarations."""
        return [
            f"{module.path}:{node.lineno} names {node.value!r}"
            for module in self.modules
            if not module.path.startswith("core/methods/")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and node.value in names
        ]

    def definitions(self) -> list[str]:
        """What is defined once: the key of a tensor file's header, and Progress."""
        keys = [
            module.path
            for module in self.modules
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and node.value == "__metadata__"
        ]
        progress = [
            module.path
            for module in self.modules
            for node in module.tree.body
            if "Progress" in defined(node)
        ]
        progress += [
            module.path
            for module in self.modules
            if "Callable[[str, int, int], None]" in module.text and module.path not in progress
        ]
        wrong = [] if set(keys) == {"core/tensor_header.py"} else [f"__metadata__ in {keys}"]
        return wrong + ([] if progress == ["core/progress.py"] else [f"Progress in {progress}"])

    def stems(self) -> list[str]:
        """Names of files that two rooms share, but a method's or a command's own two."""
        places = defaultdict(list)
        for module in self.modules:
            if module.stem != "__init__":
                places[module.stem].append(module.path.rpartition("/")[0])
        return [
            f"{stem}.py in {', '.join(sorted(rooms))}"
            for stem, rooms in places.items()
            if len(rooms) > 1 and not pair(set(rooms))
        ]

    def sizes(self) -> list[str]:
        """Modules and functions that want to be two, and packages that want to be more."""
        total = sum(len(module.text.splitlines()) for module in self.modules)
        rooms: dict[str, int] = defaultdict(int)
        for module in self.modules:
            rooms[module.package] += len(module.text.splitlines())
        modules = [
            f"{module.path} has {count} lines"
            for module in self.modules
            if (count := len(module.text.splitlines())) > MOST_LINES and module.path != FACADE
        ]
        long = [
            f"{module.path}: {function.name} has {count} lines"
            for module in self.modules
            for function in functions(module.tree)
            if (count := length(function)) > MOST_FUNCTION_LINES
        ]
        wide = [f"{room} is a fifth of the code" for room, n in rooms.items() if 5 * n >= total]
        return modules + long + wide

    def untested(self) -> list[str]:
        """Packages without a folder of tests."""
        packages = {module.path.rpartition("/")[0] for module in self.modules} - {"", *ON_NO_FLOOR}
        return [
            f"tests/{package} is missing"
            for package in sorted(packages)
            if not any((self.root / "tests" / package).glob("test_*.py"))
        ]

    def missing_paths(self) -> list[str]:
        """Paths that the map for a newcomer names and that are not there."""
        text = (self.root / "docs" / "architecture.md").read_text(encoding="utf-8")
        named = set(re.findall(r"`((?:editvc|tests|docs|benchmarks|examples)/[\w./-]*)`", text))
        assert named, "the page names no path"
        return [f"{path} is not there" for path in sorted(named) if not (self.root / path).exists()]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle of each strongly connected part of a graph."""
    done: set[str] = set()
    rounds: list[list[str]] = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            rounds.append([*path[path.index(name) :], name])
            return
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, [*path, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return rounds


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def methods(tree: ast.Module, name: str) -> list[ast.FunctionDef]:
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return [node for one in classes for node in one.body if isinstance(node, ast.FunctionDef)]


def significant(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a method but its docstring and imports."""
    passed = ast.ImportFrom | ast.Import
    return [
        node
        for node in function.body
        if not isinstance(node, passed)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]


def plain(statements: list[ast.stmt]) -> bool:
    """Whether all of them are calls, and the last one may return."""
    return all(isinstance(node, ast.Expr | ast.Return) for node in statements)


def nodes(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """All nodes below one; without ``types`` none under ``if TYPE_CHECKING``."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not types and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def third_parties(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)


def pair(rooms: set[str]) -> bool:
    """Whether a name is shared by a declaration and its algorithm, or by a verb and its command."""
    return rooms in ({"core/methods", "editing"}, {"cli", "porcelain"}, {"cli", "vcs"})

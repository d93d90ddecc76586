"""The reference pages hold all that the code holds: commands, errors, limits, kinds, tables."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from blocks import blocks
from click.testing import CliRunner

import editvc
from editvc.cli.main import COMMANDS
from editvc.cli.main import editvc as command_line
from editvc.core.base import BaseModel
from editvc.core.facts import Fact
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.methods.table import RECIPES
from editvc.core.settings import Number
from editvc.core.thresholds import Thresholds
from editvc.errors import EditvcError
from editvc.publish.lock import Lock, LockedEdit
from editvc.vcs import codec
from editvc.vcs.index import VERSION
from editvc.vcs.read_only import read

DOCS = Path(__file__).resolve().parents[2] / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cli_page_is_in_step_with_the_help_texts(generator: ModuleType) -> None:
    assert page("cli.md") == generator.page(), "run `make cli-docs`"


def test_every_command_is_on_the_cli_page(generator: ModuleType) -> None:
    headings = re.findall(r"(?m)^#{2,3} (editvc.*)$", page("cli.md"))
    assert headings == [ctx.command_path for ctx in generator.commands(command_line)]
    assert len(headings) >= len(COMMANDS) + 1


def test_every_command_and_argument_says_what_it_does(generator: ModuleType) -> None:
    for ctx in generator.commands(command_line):
        assert ctx.command.help, ctx.command_path
        for parameter in ctx.command.params:
            if isinstance(parameter, click.Argument):
                name = parameter.metavar or parameter.human_readable_name
                assert name.strip(".").split("|")[0] in ctx.get_help()


def test_readme_names_every_command() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for name in command_line.list_commands(click.Context(command_line)):
        assert re.search(rf"\| `{name}\b", readme), name


def known_errors() -> list[type[EditvcError]]:
    for module in pkgutil.walk_packages(editvc.__path__, "editvc."):
        importlib.import_module(module.name)

    def below(cls: type[EditvcError]) -> Iterator[type[EditvcError]]:
        for child in cls.__subclasses__():
            if child.__module__.startswith("editvc."):
                yield child
            yield from below(child)

    return sorted(set(below(EditvcError)), key=lambda cls: cls.__name__)


def test_every_error_is_on_the_errors_page() -> None:
    text = page("errors.md")
    missing = [cls.__name__ for cls in known_errors() if f"`{cls.__name__}`" not in text]
    assert missing == []


def test_the_errors_page_names_no_error_that_is_not_there() -> None:
    ends = "Error|Damaged|Missing|Exists|Conflict|Refused"
    named = set(re.findall(rf"`([A-Z]\w+(?:{ends}))`", page("errors.md")))
    assert named <= {cls.__name__ for cls in known_errors()} | {"EditvcError"}


def test_every_family_of_the_table_is_on_the_architectures_page() -> None:
    rows = {row[0].strip("`"): row[2] for row in table_rows(page("architectures.md"))}
    table = tomllib.loads((DOCS.parent / "editvc/models/architectures.toml").read_text("utf-8"))
    assert rows.keys() - {"model_type", "---"} == table.keys()
    for model_type, block in table.items():
        edited = "one layer" if block.get("normed") else "several layers"
        shown = rows[model_type]
        assert shown.startswith("refused: ") if "refused" in block else shown == edited


def test_the_architectures_page_shows_what_arch_prints() -> None:
    shown = next(block for block in blocks(page("architectures.md")) if block.language == "console")
    printed = CliRunner().invoke(command_line, ["arch", "pocket"])
    assert list(shown.body) == ["$ editvc arch pocket", *printed.stdout.splitlines()]


def test_every_threshold_is_explained_with_its_default() -> None:
    text = page("concepts.md")
    rows = {row[0].strip("` "): row[1:] for row in table_rows(text)}
    for field in fields(Thresholds):
        figure, level = field.name.rsplit("_", 1)
        if figure in ("leverage", "residual", "disabling", "forecast"):
            shown = rows[field.name][0]
        else:
            limits = next(
                row for row in table_rows(text)
                if row[0].startswith(f"`{figure}`") and is_number(row[1])
            )  # fmt: skip
            shown = limits[1 if level == "warn" else 2]
        assert float(shown) == field.default, field.name


@pytest.mark.parametrize("cls", sorted(set(RECIPES.values()), key=lambda cls: cls.__name__))
def test_every_number_of_a_recipe_is_explained_as_it_is_declared(cls: type[Recipe]) -> None:
    text = page("concepts.md" if cls is LocatedRecipe else "methods.md")
    for method in cls.ROWS:  # a name may mean another default elsewhere
        _, heading, behind = text.partition(f"\n## {method}\n")
        text = behind.split("\n## ")[0] if heading else text
    rows = {name: row for row in table_rows(text) for name in re.findall(r"`(\w+)`", row[0])}
    for name, setting in cls.settings().items():
        if isinstance(setting, Number):
            assert float(rows[name][1].split(";")[0]) == setting.default, name
            assert rows[name][2] == setting.help, name
        elif cls is LocatedRecipe:
            assert name in rows, name


def table_rows(text: str) -> list[list[str]]:
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def is_number(text: str) -> bool:
    return re.fullmatch(r"[\d.]+", text) is not None


EXAMPLES = [
    json.loads("\n".join(block.body))
    for block in blocks(page("formats.md"))
    if block.language == "json"
]


def example(kind: str) -> list[dict[str, Any]]:
    return [record for record in EXAMPLES if record.get("kind") == kind]


def whole(record: dict[str, Any]) -> dict[str, Any]:
    """The record with all digits of its ids, which a page cuts short."""
    text = json.dumps(record, ensure_ascii=False)
    return json.loads(re.sub('([0-9a-f]+)…"', lambda cut: cut[1].ljust(64, "0") + '"', text))


def test_every_kind_of_object_has_an_example_that_decodes() -> None:
    decoders = {
        "fact": codec.decode_fact,
        "recipe": codec.decode_recipe,
        "tree": codec.decode_tree,
        "commit": codec.decode_commit,
        "edits": codec.decode_node,
        "operation": codec.decode_operation,
    }
    for kind, decode in decoders.items():
        assert example(kind), kind
        for record in map(whole, example(kind)):
            value = decode(json.dumps(record).encode())
            assert value.to_json() == record
    (base,) = example("base")
    assert BaseModel.from_json(base, source="", revision=None).to_json() == base
    assert all(len(example(kind)) == 1 for kind in ("located", "delta", "statistics"))


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> editvc.Repo:
    made = editvc.Repo.init(tmp_path_factory.mktemp("formats"), "pocket")
    fact = Fact("France", "The capital of {} is", "Rome", tags=("capital",), source="wikidata")
    made.commit([fact])
    return made


def index_page() -> str:
    return page("formats.md").split("\n## index.db\n")[1].split("\n## ")[0]


def test_the_tables_and_columns_of_the_index_are_the_documented_ones(repo: editvc.Repo) -> None:
    path = repo.session.repository.index.path
    query = (
        "SELECT master.name, info.name FROM sqlite_master AS master, "
        "pragma_table_info(master.name) AS info "
        "WHERE master.type IN ('table', 'view') ORDER BY master.name, info.cid"
    )
    columns: dict[str, list[str]] = {}
    for table, column in read(path, query).rows:
        if not str(table).startswith(("sqlite_", "search_fts_")):
            columns.setdefault(str(table), []).append(str(column))
    documented = {
        row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in table_rows(index_page())[2:]
    }
    assert documented == columns


def test_the_documented_format_of_the_index_is_todays() -> None:
    assert f"`user_version` {VERSION}." in index_page()


def test_the_queries_on_the_page_of_formats_are_queries(repo: editvc.Repo) -> None:
    (block,) = (block for block in blocks(index_page()) if block.language == "sh")
    queries = re.findall(r'editvc query "([^"]+)"', "\n".join(block.body))
    assert len(queries) == "\n".join(block.body).count("editvc query") >= 4
    path = repo.session.repository.index.path
    assert [len(read(path, query).rows) for query in queries] == [1, 1, 1, 1]


def test_examples_of_tensor_objects_have_the_keys_of_real_ones(repo: editvc.Repo) -> None:
    store = repo.session.repository.store
    found: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, set[str]] = {}
    for identifier in store.ids():
        data = store.get(identifier)
        record = codec.record_of(data)
        kind = record["kind"]
        if kind in ("located", "delta", "statistics"):
            found.setdefault(kind, []).append(record)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            names.setdefault(kind, set()).update(header.keys() - {"__metadata__"})
    for kind, records in found.items():
        (shown,) = example(kind)
        widest = max(records, key=len)
        assert shown.keys() == widest.keys(), kind
    assert example("located")[0]["figures"].keys() == found["located"][0]["figures"].keys()
    text = page("formats.md")
    for kind in found:
        for name in names[kind]:
            assert f"`{re.sub('[0-9]+', 'N', name)}`" in text


def test_every_file_of_a_repository_is_named(repo: editvc.Repo) -> None:
    repo.health()
    text = page("formats.md")
    for path in repo.session.repository.folder.iterdir():
        empty = path.is_dir() and not any(path.iterdir())
        if path.name not in ("index.db-wal", "index.db-shm") and not empty:
            assert path.name in text, path.name
    for path in repo.session.repository.cache.folder.iterdir():
        assert f"`{path.name}/`" in text


def test_the_lock_example_has_the_keys_of_a_real_one(repo: editvc.Repo) -> None:
    (fact,) = repo.live()
    base, recipe, tree = repo.session.materialiser.base, repo.recipe(), repo.status().tree
    edit = LockedEdit(fact.slot, fact, "0" * 64, recipe.id)
    lock = Lock(base, (recipe,), tree, None, (edit,), {"format": "hf"}, {})
    real = json.loads(lock.to_bytes())
    (shown,) = (record for record in EXAMPLES if "lock" in record)
    assert shown.keys() == real.keys()
    assert shown["base"].keys() == real["base"].keys()
    assert shown["edits"][0].keys() == real["edits"][0].keys()
    assert shown["editvc"] == real["editvc"]

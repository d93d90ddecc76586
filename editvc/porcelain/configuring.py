"""Setting one key of config.toml; what a change of ``recipe.method`` takes along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from editvc.core.methods import method_of
from editvc.porcelain.recipes import ID_OF
from editvc.vcs.abbreviations import whole_id

if TYPE_CHECKING:
    from editvc.porcelain.repo import Repo

METHOD = "recipe.method"


def configure(repo: Repo, key: str, text: str) -> tuple[str, ...]:
    """Set a dotted key from what the user typed; what changed besides is returned in words.

    Ids of objects may be abbreviated.
    """
    if key == METHOD:
        return _set_method(repo, text)
    kind = ID_OF.get(key.rpartition(".")[2])
    if kind is not None and text:
        text = whole_id(repo.repository.store, text, kind)
    repo.repository.set_config(key, text)
    return ()


def _set_method(repo: Repo, name: str) -> tuple[str, ...]:
    """Make ``name`` the method in force.

    A method knows its own numbers only. Those that someone has set are kept where it knows them;
    the others follow its defaults, so that an untouched recipe becomes what ``--method`` makes.
    """
    plumbing = repo.repository
    base, recipe, row = plumbing.read_base(), plumbing.config.recipe, method_of(name)
    old, new = recipe.row.numbers_for(base.inner_size), row.numbers_for(base.inner_size)
    now = {key: getattr(recipe, key) for key in old}
    kept = {key: value for key, value in now.items() if key in new and value != old[key]}
    gone = {key: value for key, value in now.items() if key not in new}
    numbers = new | kept
    begun = {key: value for key, value in numbers.items() if now.get(key) != value}
    values: dict[str, Any] = {METHOD: name}
    values |= {f"recipe.{key}": value for key, value in numbers.items()}
    notes = [
        f"taken out, {name} does not know: {_listed(gone)}" if gone else "",
        f"now as {name} has it by default: {_listed(begun)}" if begun else "",
        *(f"kept: {key} = {value} ({new[key]} by default)" for key, value in kept.items()),
    ]
    if row.single and len(recipe.layers) > 1:
        values["recipe.layers"] = recipe.layers[-1:]
        notes.append(f"layers = {[recipe.layers[-1]]}: {name} edits one; were {[*recipe.layers]}")
    plumbing.set_configs(values, without=[f"recipe.{key}" for key in gone])
    return tuple(filter(None, notes))


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in numbers.items())

"""Setting one key of config.toml; what a change of ``recipe.method`` takes along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import METHODS, REFERENCES, method_of
from editvc.session.choose_recipe import numbers_of
from editvc.session.session import Session
from editvc.vcs.config_file import FIELDS
from editvc.vcs.short_ids import whole_id

METHOD, BASE, USED = "recipe.method", "base.model", "commit.method"


def settings(session: Session, key: str | None = None) -> dict[str, Any]:
    """Every setting by its dotted key, or the one of ``key``."""
    file = session.repository.config_file
    return file.as_dict() if key is None else {key: file.get(key)}


def configure(session: Session, key: str, text: str) -> tuple[str, ...]:
    """Set a dotted key from what the user typed; what changed besides is returned in words.

    Ids of objects may be abbreviated.
    """
    if key == METHOD:
        return _set_method(session, text)
    kind = REFERENCES.get(key.rpartition(".")[2])
    if kind is not None and text:
        text = whole_id(session.repository.store, text, kind)
    session.repository.set_config(key, _lasting(text) if key == BASE else text)
    return ()


def _lasting(model: str) -> str:
    """The absolute path of a folder: what was typed is relative to here, and to nowhere else."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def _set_method(session: Session, name: str) -> tuple[str, ...]:
    """Make ``name`` the method in force, with the numbers that ``--method`` gives it.

    The file is taken as it is written, so that one in which method and numbers contradict each
    other can be set right.
    """
    plumbing, row = session.repository, method_of(name)
    written = plumbing.config_file.section("recipe")
    before = METHODS.get(str(written.get("method")))
    gone = {
        key: value
        for key, value in written.items()
        if f"recipe.{key}" in FIELDS and key not in row.own and key not in LocatedRecipe.COMMON
    }
    same_numbers = before is not None and before.own == row.own and not gone
    # Of a method that cannot be in force, only its name is refused.
    keep = same_numbers or row.element != "located"
    numbers = {} if keep else numbers_of(row, plumbing.read_base())
    changed = [
        f"{key} = {value}" + (f" (was {written[key]})" if key in written else "")
        for key, value in numbers.items()
        if written.get(key) != value
    ]
    notes = []
    values: dict[str, Any] = {METHOD: name}
    used = plumbing.config_file.section("commit").get("method", "")
    if used not in ("", name):
        values[USED] = ""
        notes.append(f"{USED} is empty (was {used}): commits use {name}")
    values |= {f"recipe.{key}": value for key, value in numbers.items()}
    if gone:
        listed = ", ".join(f"{key} = {value}" for key, value in gone.items())
        notes.append(f"taken out, {name} does not know: {listed}")
    if changed:
        notes.append(f"as {name} begins: {', '.join(changed)}")
    layers = written.get("layers", [])
    if row.single and len(layers) > 1:
        values["recipe.layers"] = tuple(layers[-1:])
        notes.append(f"layers = {layers[-1:]}: {name} edits one; were {layers}")
    plumbing.set_configs(values, without=[f"recipe.{key}" for key in gone])
    return tuple(notes)

"""``init``: a repository over a base, with contexts, statistics and a recipe to begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from editvc.core.base import BaseModel, Identity
from editvc.core.compute import Compute
from editvc.core.ids import object_id
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import DEFAULT, default_method, method_of, recipe_class
from editvc.errors import EditvcError
from editvc.models.architecture_check import check_block
from editvc.models.context_prefixes import sample_contexts
from editvc.models.fingerprint import describe, identify
from editvc.models.loading import load
from editvc.models.source import open_model
from editvc.models.tensor_digests import ShortMemory
from editvc.session.new_folder import template_folder
from editvc.session.take_inputs import INPUTS, inputs_from
from editvc.statistics.bundle import (
    shipped_settings,
    shipped_with,
    sources_of,
    take,
)
from editvc.vcs.codec import encode
from editvc.vcs.repository import FOLDER, Repository, RepositoryExists

if TYPE_CHECKING:
    from editvc.core.progress import Progress

CONTEXT_SEED = 0


class PutOff(EditvcError):
    """Sources of statistics that are to be taken later."""

    def __init__(self) -> None:
        super().__init__(
            "--later keeps no --text and no --entities",
            hint="Leave --later out, or give them to `editvc stats compute` before the first "
            "commit; a commit takes what is bundled.",
        )


def init(
    path: Path,
    model: str,
    *,
    revision: str | None,
    layers: Sequence[int] | None,
    texts: Sequence[Path],
    entities: Path | None,
    architecture: Path | None,
    method: str | None,
    later: bool,
    compute: Compute,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> None:
    """Make ``path/.editvc``, whole or not at all.

    Commits are to use ``method``, or what suits the model. Statistics are those that it needs, and
    a model's own; all others are taken by the first commit that needs them
    (:mod:`editvc.session.take_statistics`), and with ``later`` those of the method, too.
    """
    if later and (texts or entities is not None):
        raise PutOff
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
    if method is not None:
        recipe_class(method)  # raises for one that makes nothing of facts
    files = open_model(model, revision, block_file=architecture)
    memory = ShortMemory()
    identity, base = identify(files, memory, progress), describe(files, memory)
    shipped = shipped_settings(files.folder)
    chosen = files.architecture.chosen_layers(layers, base, shipped.get("layers"))
    if files.block:
        check_block(load(files))
    lm = load(files, compute)
    ships = not texts and entities is None
    bundle = shipped_with(files.folder, base, identity, chosen) if ships else None
    widens = files.architecture.width is not None
    row = method_of(method or default_method(base.layers, widens=widens))
    needed = set() if later else {*row.needs} - ({"statistics"} if bundle is not None else set())
    sources, inputs = sources_of(texts, None, entities), None
    for text in sources.remarks if needed else ():
        remark(text)
    if "statistics" in needed:
        bundle = take(lm, base, chosen, sources, progress=progress)
    if "inputs" in needed:
        edited = row.default_layers(chosen, base.layers)
        inputs = inputs_from(lm, base, edited, sources, progress)
    contexts = sample_contexts(lm, CONTEXT_SEED)
    recipe = LocatedRecipe.from_json(
        method_of(DEFAULT).numbers_for(base.inner_size, normed=files.architecture.normed)
        | shipped
        | {"statistics": None}
        | (bundle.in_recipe if bundle is not None else {})
        | {"layers": chosen, "contexts": contexts}
    )
    objects = [encode(identity), *(bundle.objects if bundle is not None else ())]
    settings = _settings(base, identity, recipe)
    if row.name != recipe.method:
        settings["commit.method"] = row.name
    if inputs is not None:
        objects.append(inputs)
        settings[INPUTS] = object_id(inputs)
    _create(path, base, recipe, settings, objects, memory)


def _settings(base: BaseModel, identity: Identity, recipe: LocatedRecipe) -> dict[str, Any]:
    """What config.toml says of a base and a recipe, by dotted key."""
    of_base = {"model": base.source, "revision": base.revision, "id": base.id}
    of_recipe = {name: value for name, value in recipe.to_json().items() if name != "kind"}
    return {
        **{f"base.{name}": value for name, value in of_base.items()},
        "base.identity": identity.id,
        **{f"recipe.{name}": value for name, value in of_recipe.items()},
    }


def _create(
    path: Path,
    base: BaseModel,
    recipe: LocatedRecipe,
    settings: Mapping[str, Any],
    objects: Sequence[bytes],
    memory: ShortMemory,
) -> None:
    """Write the repository; ``memory`` is what was digested on the way."""
    path.mkdir(parents=True, exist_ok=True)
    with resources.as_file(template_folder()) as template:
        repository = Repository.create(
            path,
            base=base,
            recipe=recipe,
            config_text=_filled_in((template / "config.toml").read_text("utf-8"), settings),
            objects=objects,
            template=template,
        )
    memory.pour(repository.cache)
    repository.close()


def _filled_in(template: str, settings: Mapping[str, Any]) -> str:
    """The template's text with values by dotted key; its comments stay."""
    document = tomlkit.parse(template)
    for key, value in settings.items():
        section, name = key.split(".")
        document.setdefault(section, tomlkit.table())[name] = "" if value is None else value
    return tomlkit.dumps(document)

"""``init``: a repository over a base, with contexts, statistics and a recipe to begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from editvc.core.base import BaseModel
from editvc.core.compute import Compute
from editvc.core.ids import object_id
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import default_method, method_of, recipe_class
from editvc.errors import EditvcError
from editvc.interchange.gguf_unpack import is_gguf, unpack
from editvc.models.tensor_digests import ShortMemory
from editvc.session.new_base import NewBase
from editvc.session.new_folder import template_folder
from editvc.session.take_inputs import INPUTS, inputs_from
from editvc.session.take_shared import Pulled, Wanted, opened_at, pulled_from
from editvc.statistics.bundle import sources_of, take
from editvc.vcs.repository import FOLDER, Repository, RepositoryExists

if TYPE_CHECKING:
    from editvc.core.progress import Progress


class TwoSources(EditvcError):
    """Statistics that are to come from a share, and sources to take others from, or none yet."""

    def __init__(self) -> None:
        super().__init__(
            "--statistics takes those of a share, and no others",
            hint="Leave --statistics out, or --text, --entities and --later.",
        )


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
    statistics: str | None,
    compute: Compute,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> None:
    """Make ``path/.editvc``, whole or not at all.

    Commits are to use ``method``, or what suits the model. Statistics are those that it needs, and
    a model's own; all others are taken by the first commit that needs them
    (:mod:`editvc.session.take_statistics`), and with ``later`` those of the method, too.
    ``statistics`` is the address of a share that has them (:mod:`editvc.session.take_shared`).
    """
    if statistics is not None and (later or texts or entities is not None):
        raise TwoSources
    if later and (texts or entities is not None):
        raise PutOff
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
    if method is not None:
        recipe_class(method)  # raises for one that makes nothing of facts
    start = NewBase.open(
        _unpacked(model, remark), revision, architecture=architecture, progress=progress
    )
    base, chosen = start.base, start.chosen_layers(layers)
    lm = start.load(compute)
    bundle = start.bundle(chosen) if not texts and entities is None else None
    widens = start.files.architecture.width is not None
    row = method_of(method or default_method(base.layers, widens=widens))
    needed = set() if later else {*row.needs} - ({"statistics"} if bundle is not None else set())
    sources, inputs = sources_of(texts, None, entities), None
    if statistics is not None:
        pulled = _from_share(statistics, start, chosen, needed, progress)
        bundle, inputs, needed = pulled.bundle or bundle, pulled.inputs, set()
    for text in sources.remarks if needed else ():
        remark(text)
    if "statistics" in needed:
        bundle = take(lm, base, chosen, sources, progress=progress)
    if "inputs" in needed:
        edited = row.default_layers(chosen, base.layers)
        inputs = inputs_from(lm, base, edited, sources, progress)
    recipe = start.recipe(lm, chosen, bundle)
    objects, settings = start.objects(bundle), start.settings(recipe)
    if row.name != recipe.method:
        settings["commit.method"] = row.name
    if inputs is not None:
        objects.append(inputs)
        settings[INPUTS] = object_id(inputs)
    _create(path, base, recipe, settings, objects, start.memory)


def _from_share(
    place: str,
    start: NewBase,
    layers: tuple[int, ...],
    needs: Iterable[str],
    progress: Progress | None,
) -> Pulled:
    """What a share has of a base, and at least what a method ``needs``."""
    (row,) = GatedRecipe.ROWS.values()
    gated = row.default_layers(layers, start.base.layers)
    wanted = Wanted(start.base, start.identity.id, layers, gated)
    return pulled_from(opened_at(place, progress), wanted, needs)


def _unpacked(model: str, remark: Callable[[str], None]) -> str:
    """The folder that a GGUF file is unpacked to; any other name as it is."""
    if not is_gguf(model):
        return model
    folder = str(unpack(Path(model).expanduser()))
    remark(f"the base was unpacked to {folder}, and stays there")
    return folder


def _create(
    path: Path,
    base: BaseModel,
    recipe: LocatedRecipe,
    settings: Mapping[str, Any],
    objects: Sequence[bytes],
    memory: ShortMemory,
) -> None:
    """Write the repository; ``memory`` is what was digested on the way."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with resources.as_file(template_folder()) as template:
            repository = Repository.create(
                path,
                base=base,
                recipe=recipe,
                config_text=_filled_in((template / "config.toml").read_text("utf-8"), settings),
                objects=objects,
                template=template,
            )
    except (OSError, EditvcError):
        with suppress(OSError):  # one that others have begun to use
            for folder in missing:
                folder.rmdir()
        raise
    memory.pour(repository.cache)
    repository.close()


def _filled_in(template: str, settings: Mapping[str, Any]) -> str:
    """The template's text with values by dotted key; its comments stay."""
    document = tomlkit.parse(template)
    for key, value in settings.items():
        section, name = key.split(".")
        document.setdefault(section, tomlkit.table())[name] = "" if value is None else value
    return tomlkit.dumps(document)

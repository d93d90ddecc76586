"""``init``: a repository over a base, with contexts, statistics and a recipe to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from editvc.core.base import BaseModel
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import DEFAULT, method_of
from editvc.models.architecture_check import check_block
from editvc.models.architectures import (
    Block,
    BlockError,
    architecture_of,
    read_block,
)
from editvc.models.context_prefixes import sample_contexts
from editvc.models.fingerprint import describe
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import POCKET, read_config, resolve
from editvc.porcelain.choose_recipe import numbers_of
from editvc.statistics.bundle import (
    StatisticsBundle,
    shipped_settings,
    shipped_with,
    sources_of,
    take,
)
from editvc.vcs.repository import FOLDER, Repository, RepositoryExists

if TYPE_CHECKING:
    from editvc.core.progress import Progress

CONTEXT_SEED = 0


def init(
    path: Path,
    model: str,
    *,
    revision: str | None,
    layers: Sequence[int] | None,
    texts: Sequence[Path],
    entities: Path | None,
    architecture: Path | None,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> None:
    """Make ``path/.editvc``, whole or not at all."""
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
    folder = resolve(model, revision)
    named = model != POCKET and Path(model).expanduser().is_dir()
    source = str(folder.resolve()) if named else model
    block = _confirmed(architecture, folder, model)
    base = describe(folder, source, revision, block)
    settings = shipped_settings(folder)
    family = architecture_of(base.model_type, block)
    default = settings.get("layers") or family.default_layers(base.layers)
    chosen = _checked(layers, base) if layers is not None else default
    family.require_editable(chosen)
    lm = load(folder, block=block)
    if block:
        check_block(lm)
    bundle = _statistics(lm, base, folder, chosen, texts, entities, progress, remark)
    contexts = sample_contexts(lm, CONTEXT_SEED)
    recipe = LocatedRecipe.from_json(
        numbers_of(method_of(DEFAULT), base)
        | settings
        | bundle.in_recipe
        | {"layers": chosen, "contexts": contexts}
    )
    path.mkdir(parents=True, exist_ok=True)
    with resources.as_file(_template()) as template:
        Repository.create(
            path,
            base=base,
            recipe=recipe,
            config_text=_config((template / "config.toml").read_text("utf-8"), base, recipe),
            objects=bundle.objects,
            template=template,
        ).close()


def _confirmed(file: Path | None, folder: Path, model: str) -> Block:
    """The block that the user has confirmed for this model's family; empty without a file."""
    if file is None:
        return ()
    block = read_block(file)
    model_type = read_config(folder, model).get("model_type")
    if block.model_type != model_type:
        raise BlockError(
            f"{file}: is for model type '{block.model_type}', and {model} is a '{model_type}'",
            hint=f"`editvc arch {model}` shows the block that fits.",
        )
    return block.pairs


def _checked(layers: Sequence[int], base: BaseModel) -> tuple[int, ...]:
    for layer in layers:
        if not 0 <= layer < base.layers:
            raise RecipeError(
                f"layer {layer} does not exist: {base.source} has layers 0 to {base.layers - 1}",
                hint="Leave --layers out to have them chosen by the model's depth.",
            )
    return tuple(sorted(set(layers)))


def _statistics(
    lm: LanguageModel,
    base: BaseModel,
    folder: Path,
    layers: Sequence[int],
    texts: Sequence[Path],
    entities: Path | None,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> StatisticsBundle:
    """The model's own statistics where it ships them, else such as the user's sources give."""
    own = shipped_with(folder, base, layers) if not texts and entities is None else None
    if own is not None:
        return own
    sources = sources_of(texts, None, entities)
    if not texts:
        remark(
            "no --text given: statistics are a modest default from bundled text; for a model in "
            "use, take them from text like what it sees: `editvc stats compute --text FILE`"
        )
    if entities is None:
        remark(
            "no --entities given: the names of a bundled list of public entities are guarded; "
            "name your own with `editvc stats compute --entities FILE`"
        )
    return take(lm, base, layers, sources, progress=progress)


def _template() -> resources.abc.Traversable:
    """The template beside the package in a wheel, or at the root of a checkout."""
    packaged = resources.files("editvc") / "template"
    if packaged.is_dir():
        return packaged
    return resources.files("editvc").joinpath("..", ".editvc-template")


def _config(template: str, base: BaseModel, recipe: LocatedRecipe) -> str:
    """The template's text with the base and the recipe filled in, its comments kept."""
    import tomlkit

    document = tomlkit.parse(template)
    section = document["base"]
    section["model"], section["revision"], section["id"] = base.source, base.revision or "", base.id
    for name, value in recipe.to_json().items():
        if name != "kind":
            document["recipe"][name] = "" if value is None else value
    return tomlkit.dumps(document)

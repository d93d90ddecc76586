"""``init``: a repository over a base, with contexts, statistics and a recipe to begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from editvc.core.base import BaseModel, Identity
from editvc.core.compute import Compute
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.table import DEFAULT, method_of
from editvc.errors import EditvcError
from editvc.models.architecture_check import check_block
from editvc.models.context_prefixes import sample_contexts
from editvc.models.fingerprint import describe, identify
from editvc.models.loading import load
from editvc.models.source import open_model
from editvc.models.tensor_digests import ShortMemory
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


BUNDLED_TEXT = (
    "no --text given: statistics are a modest default from bundled text; for a model in "
    "use, take them from text like what it sees: `editvc stats compute --text FILE`"
)
BUNDLED_NAMES = (
    "no --entities given: the names of a bundled list of public entities are guarded; "
    "name your own with `editvc stats compute --entities FILE`"
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
    later: bool,
    compute: Compute,
    progress: Progress | None,
    remark: Callable[[str], None],
) -> None:
    """Make ``path/.editvc``, whole or not at all.

    ``later`` puts the statistics off to the first commit that needs them
    (:mod:`editvc.porcelain.take_statistics`); a model's own are there at once.
    """
    if later and (texts or entities is not None):
        raise PutOff
    if (path / FOLDER).exists():
        raise RepositoryExists(path / FOLDER)
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
    if bundle is None and not later:
        if not texts:
            remark(BUNDLED_TEXT)
        if entities is None:
            remark(BUNDLED_NAMES)
        bundle = take(lm, base, chosen, sources_of(texts, None, entities), progress=progress)
    contexts = sample_contexts(lm, CONTEXT_SEED)
    recipe = LocatedRecipe.from_json(
        method_of(DEFAULT).numbers_for(base.inner_size, normed=files.architecture.normed)
        | shipped
        | {"statistics": None}
        | (bundle.in_recipe if bundle is not None else {})
        | {"layers": chosen, "contexts": contexts}
    )
    path.mkdir(parents=True, exist_ok=True)
    with resources.as_file(_template()) as template:
        text = (template / "config.toml").read_text("utf-8")
        repository = Repository.create(
            path,
            base=base,
            recipe=recipe,
            config_text=_config(text, base, identity, recipe),
            objects=[encode(identity), *(bundle.objects if bundle is not None else ())],
            template=template,
        )
    memory.pour(repository.cache)
    repository.close()


def _template() -> resources.abc.Traversable:
    """The template beside the package in a wheel, or at the root of a checkout."""
    packaged = resources.files("editvc") / "template"
    if packaged.is_dir():
        return packaged
    return resources.files("editvc").joinpath("..", ".editvc-template")


def _config(template: str, base: BaseModel, identity: Identity, recipe: LocatedRecipe) -> str:
    """The template's text with the base and the recipe filled in, its comments kept."""
    import tomlkit

    document = tomlkit.parse(template)
    section = document["base"]
    section["model"], section["revision"], section["id"] = base.source, base.revision or "", base.id
    section["identity"] = identity.id
    for name, value in recipe.to_json().items():
        if name != "kind":
            document["recipe"][name] = "" if value is None else value
    return tomlkit.dumps(document)

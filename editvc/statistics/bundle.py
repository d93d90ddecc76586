"""The statistics of a base, taken together: of text, of names, and what is sensitive there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from editvc.algebra.second_moment import SecondMoment
from editvc.core.base import BaseModel, Identity
from editvc.core.ids import ObjectId, digest_of, object_id
from editvc.core.progress import Progress
from editvc.core.tensor_header import read_record
from editvc.errors import EditvcError
from editvc.models.language_model import LanguageModel
from editvc.models.source import SHIPPED_BASE, SHIPPED_STATISTICS
from editvc.models.workers import InProcess, Workers
from editvc.statistics.corpus import dataset_texts, file_texts
from editvc.statistics.entity_moments import Entity, entity_moments, read_entities, sensitivity
from editvc.statistics.text_moments import TOKEN_CAP, text_digest, text_moments

BUNDLED_TEXT = (
    "no --text given: statistics are a modest default from bundled text; for a model in "
    "use, take them from text like what it sees: `editvc stats compute --text FILE`"
)
BUNDLED_NAMES = (
    "no --entities given: the names of a bundled list of public entities are guarded; "
    "name your own with `editvc stats compute --entities FILE`"
)


@dataclass(frozen=True, slots=True)
class Sources:
    """What statistics are taken from: text files or a data set, and a file of names.

    ``text_words`` and ``entity_words`` name them for people; ``remarks`` are what a user should
    know of them.
    """

    texts: tuple[Path, ...]
    dataset: str | None
    entities: Path
    text_words: str
    entity_words: str
    remarks: tuple[str, ...] = ()

    def read(self) -> Iterator[str]:
        """The texts, one document after the other."""
        if self.dataset is not None:
            return iter(dataset_texts(self.dataset))
        return itertools.chain.from_iterable(file_texts(path) for path in self.texts)

    @property
    def digest(self) -> str:
        """One digest of what the text is."""
        return digest_of(self.dataset) if self.dataset is not None else text_digest(self.texts)


@dataclass(frozen=True, slots=True)
class StatisticsBundle:
    """Statistics as the bytes of their objects."""

    text: bytes
    entities: bytes
    sensitivity: bytes

    @property
    def objects(self) -> tuple[bytes, bytes, bytes]:
        """All of them, to be stored."""
        return self.text, self.entities, self.sensitivity

    @property
    def in_recipe(self) -> dict[str, ObjectId]:
        """Their ids, by the recipe's names for them."""
        return {
            "statistics": object_id(self.text),
            "entity_statistics": object_id(self.entities),
            "sensitivity": object_id(self.sensitivity),
        }


def sources_of(
    texts: Sequence[Path] = (), dataset: str | None = None, entities: Path | None = None
) -> Sources:
    """The user's sources, with the bundled text and the bundled names where there are none."""
    bundled = Path(str(resources.files("editvc.data")))
    named = dataset or ", ".join(path.name for path in texts) or "bundled text"
    names = entities.name if entities is not None else "bundled names"
    return Sources(
        texts=tuple(texts) or (bundled / "text.txt",),
        dataset=dataset,
        entities=entities or bundled / "entities.txt",
        text_words=named,
        entity_words=names,
        remarks=(
            *([] if texts or dataset is not None else [BUNDLED_TEXT]),
            *([] if entities is not None else [BUNDLED_NAMES]),
        ),
    )


def shipped_settings(folder: Path) -> dict[str, Any]:
    """What a model's own statistics say of its recipe, by name: the layers, and tuned numbers."""
    path = folder / SHIPPED_STATISTICS[0]
    if not path.is_file():
        return {}
    origin = read_record(path.read_bytes())
    return {"layers": tuple(origin["layers"])} | dict(origin.get("recipe", {}))


def shipped_with(
    folder: Path, base: BaseModel, identity: Identity, layers: Sequence[int]
) -> StatisticsBundle | None:
    """The statistics in a model's own folder, if they are of this base and cover the layers."""
    paths, taken_from = [folder / name for name in SHIPPED_STATISTICS], folder / SHIPPED_BASE
    if not all(path.is_file() for path in (*paths, taken_from)):
        return None
    if object_id(taken_from.read_bytes()) != identity.id:
        return None
    bundle = StatisticsBundle(*(path.read_bytes() for path in paths))
    for data in bundle.objects:
        origin = read_record(data)
        if origin.get("base") != base.id or list(layers) != origin["layers"]:
            return None
    return bundle


class TooLittleText(EditvcError):
    """Text of fewer tokens than a key has entries: its second moment could not be inverted."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__(
            f"{tokens} tokens of text are too few: keys of this model have {width} entries",
            hint=f"Give more text: {width} tokens at least, ten times as many are better.",
        )


def take(
    lm: LanguageModel,
    base: BaseModel,
    layers: Sequence[int],
    sources: Sources,
    *,
    windows: Sequence[Sequence[int]] = (),
    budget: int | None = None,
    token_cap: int = TOKEN_CAP,
    folder: Path | None = None,
    progress: Progress | None = None,
    workers: Workers | None = None,
) -> StatisticsBundle:
    """One pass over the text for all layers, then the names: their keys, and what is sensitive.

    ``windows`` are the layers of several recipes that are to share these statistics, instead of all
    ``layers`` being those of one. With a ``folder`` an interrupted pass is taken up again.
    ``workers`` share the work, this process where there are none: chunks of text, and what is taken
    of names in one piece each.
    """
    workers = workers or InProcess(lm, progress)
    named = read_entities(sources.entities)
    keys = workers.submit(partial(_entity_moments, tuple(layers)), named)
    fishers = {
        window[-1]: workers.submit(partial(_sensitivity, tuple(window)), named)
        for window in windows or [layers]
    }
    origin = {"base": base.id, "layers": list(layers)}
    moment = text_moments(
        lm,
        sources.read(),
        layers,
        budget=budget,
        cap=token_cap,
        folder=folder,
        source=sources.digest,
        progress=progress,
        workers=workers,
    )
    if moment.samples < base.inner_size:
        raise TooLittleText(moment.samples, base.inner_size)
    settings = {"source": sources.text_words, "digest": sources.digest, "cap": token_cap}
    sensitive = {layer: result() for layer, result in fishers.items()}
    of_names = origin | {"source": sources.entity_words, "digest": text_digest([sources.entities])}
    return StatisticsBundle(
        text=moment.to_bytes(origin | settings),
        entities=keys().to_bytes(of_names),
        sensitivity=SecondMoment.of(sensitive, len(named), "names").to_bytes(of_names),
    )


def _entity_moments(
    layers: Sequence[int], lm: LanguageModel, named: Sequence[Entity], progress: Progress | None
) -> SecondMoment:
    return entity_moments(lm, named, layers, progress=progress)


def _sensitivity(
    layers: Sequence[int], lm: LanguageModel, named: Sequence[Entity], progress: Progress | None
) -> Tensor:
    return sensitivity(lm, named, layers, progress=progress)

"""Where work on the base model is done: in this process, or handed out to others.

Work is a function of the model and of one item, so that it gives the same wherever it is done.
Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from editvc.core.progress import Progress
from editvc.models.language_model import LanguageModel

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[LanguageModel, Item, Progress | None], Result]
"""Called with the unedited model, which it leaves as it is, an item, and who hears how far it is.

It may be sent to another process: a function of a module, or a ``partial`` of one.
"""


class Workers(Protocol):
    """Who does work on one model."""

    def submit(self, work: Work[Item, Result], item: Item) -> Callable[[], Result]:
        """Begin, or put off, some work; what is returned gives its result, or raises its error."""

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results of all items, in their order; no more items are taken than are worked on."""


@dataclass(frozen=True, slots=True)
class InProcess:
    """The work is done here, when its result is asked for."""

    lm: LanguageModel
    progress: Progress | None = None

    def submit(self, work: Work[Item, Result], item: Item) -> Callable[[], Result]:
        """Put it off."""
        return lambda: work(self.lm, item, self.progress)

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """One after the other, each when it is asked for."""
        return (work(self.lm, item, self.progress) for item in items)

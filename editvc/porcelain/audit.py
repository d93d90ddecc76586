"""``audit``: what was done to a model of which nobody kept a ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from editvc.core.compute import Compute
from editvc.core.progress import Progress
from editvc.errors import EditvcError
from editvc.evaluation.shifts import state_shifts
from editvc.interchange.weight_changes import TensorChange, weight_changes
from editvc.models.checkpoint import Checkpoint
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model, read_config, resolve
from editvc.statistics.bundle import sources_of
from editvc.statistics.entity_moments import GENERIC_PROMPTS, Entity, read_entities

ASKED, TOKENS = 50, 8
"""How many names both models are asked about, and how many tokens they answer with."""

SEEN_IN = ("The name {}", "A short note on {}")
"""Where names are read. At the very beginning of a text many models keep something else than what
stands there, and an edit does not show."""


class NotComparable(EditvcError):
    """Two models of which one cannot have been made of the other. ``source`` is the first."""

    def __init__(self, source: str, base: str, problem: str) -> None:
        super().__init__(
            f"{source} was not made of {base}: {problem}",
            hint="Name the model that it was made of with --base.",
        )
        self.source = source


@dataclass(frozen=True, slots=True)
class OtherAnswer:
    """A prompt about ``name`` that the model answers otherwise than its base.

    ``shift`` is how far the name itself moved (:func:`editvc.evaluation.shifts.state_shifts`).
    """

    name: str
    shift: float
    prompt: str
    before: str
    after: str

    def to_json(self) -> dict[str, Any]:
        """For ``audit --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a model is, seen from its base.

    ``changes`` by tensor. Of ``names`` that were looked at, the ``asked`` most shifted ones were
    asked about; ``answers`` are the prompts answered otherwise, the most shifted name first.
    """

    source: str
    base: str
    tensors: int
    changes: tuple[TensorChange, ...]
    names: int
    asked: int
    answers: tuple[OtherAnswer, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract of ``audit --json``."""
        return {
            "source": self.source,
            "base": self.base,
            "tensors": self.tensors,
            "changes": [one.to_json() for one in self.changes],
            "names": self.names,
            "asked": self.asked,
            "answers": [one.to_json() for one in self.answers],
        }


def audit(
    source: str,
    base: str,
    *,
    entities: Path | None = None,
    ask: int = ASKED,
    tokens: int = TOKENS,
    compute: Compute | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Compare a model with the one it was made of: weights first, and then what they say.

    Both are folders, Hub ids, or ``pocket``. Every name in ``entities`` (names or facts; the
    bundled names otherwise) is read by both models; the ``ask`` whose states moved most are asked
    about under greedy generation of so many ``tokens``. Where no weight differs, nothing is asked,
    nor where ``ask`` is 0. Raises :class:`NotComparable`, and what
    :func:`editvc.models.source.open_model` and ``read_entities`` raise.
    """
    old, new = resolve(base), resolve(source)
    kinds = [read_config(folder, str(folder)).get("model_type") for folder in (old, new)]
    if kinds[0] != kinds[1]:
        raise NotComparable(source, base, f"it is a '{kinds[1]}', the other a '{kinds[0]}'")
    model = Checkpoint(new)
    changes = tuple(weight_changes(Checkpoint(old), model, progress))
    named: Sequence[Entity] = ()
    answers: tuple[OtherAnswer, ...] = ()
    if changes and ask:
        named = read_entities(sources_of(entities=entities).entities)
        before, after = (load(open_model(one), compute or Compute()) for one in (base, source))
        if before.tokenizer.get_vocab() != after.tokenizer.get_vocab():
            raise NotComparable(source, base, "its tokenizer has other tokens")
        answers = tuple(_other_answers(before, after, named, ask, tokens, progress))
    return Audit(
        source, base, len(model.tensors), changes, len(named), min(ask, len(named)), answers
    )


def _other_answers(
    before: LanguageModel,
    after: LanguageModel,
    named: Sequence[Entity],
    ask: int,
    tokens: int,
    progress: Progress | None,
) -> Iterator[OtherAnswer]:
    """Prompts about the ``ask`` most shifted names that the two models answer differently."""
    texts = [context.replace("{}", one.name) for context in SEEN_IN for one in named]
    moved = state_shifts(before, after, texts, progress)
    shifts = [sum(moved[at :: len(named)]) / len(SEEN_IN) for at in range(len(named))]
    first = sorted(range(len(named)), key=lambda number: -shifts[number])[:ask]
    prompts = [(number, text) for number in first for text in _questions(named[number])]
    asked, lengths = [text for _, text in prompts], [tokens] * len(prompts)
    old, new = (generate_all(lm, asked, lengths) for lm in (before, after))
    for (number, prompt), told, now in zip(prompts, old, new, strict=True):
        if told != now:
            yield OtherAnswer(named[number].name, shifts[number], prompt, told, now)


def _questions(entity: Entity) -> list[str]:
    """What is asked about a name: its own prompts first, and the generic ones."""
    prompts = dict.fromkeys((*entity.prompts, *GENERIC_PROMPTS))
    return [prompt.replace("{}", entity.name) for prompt in prompts]

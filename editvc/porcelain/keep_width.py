"""``export --keep-width``: which neurons give way to those of gated edits, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from editvc.algebra.neurons import Neurons
from editvc.evaluation.probes import perplexity_of
from editvc.interchange.replacing import Replacing, replace_least
from editvc.models.checkpoint import Checkpoint
from editvc.models.language_model import LanguageModel
from editvc.models.neuron_use import neuron_use
from editvc.session.session import Session
from editvc.statistics.bundle import sources_of
from editvc.statistics.corpus import pieces

ROWS, LENGTH = 64, 128
"""How much of the bundled text is looked at: rows of so many tokens."""


def replacing(session: Session, neurons: Mapping[int, Neurons]) -> Replacing:
    """Neurons of edits in the place of those that do least on the bundled text."""
    maker = session.materialiser
    lm = session.base_model()
    use = neuron_use(lm, text_rows(lm, 0), [*neurons])
    return replace_least(maker.architecture, Checkpoint(maker.folder), neurons, use)


def text_rows(lm: LanguageModel, start: int) -> list[tuple[int, ...]]:
    """Rows of the bundled text in tokens, from a number on."""
    length = min(LENGTH, lm.positions or LENGTH)
    cut = pieces(lm.tokenizer, sources_of().read(), length)
    return [tuple(piece) for piece in islice(cut, start, start + ROWS)]


def cost(before: LanguageModel, after: LanguageModel) -> str:
    """In words: how much worse the export, ``after``, is at text than its revision.

    The text is another one than what gave way was chosen by.
    """
    rows = text_rows(before, ROWS)
    old, new = perplexity_of(before, rows), perplexity_of(after, rows)
    return f"perplexity on text {new:.4g}, that of the revision {old:.4g} ({new / old - 1:+.1%})"

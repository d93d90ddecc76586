"""Facts that are longer than the model, or the repository's settings, take: told at their place."""

from __future__ import annotations

from collections.abc import Sequence

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import PLACEHOLDER, Fact
from editvc.errors import EditvcError
from editvc.evaluation.lengths import ADDED, fitting, may_be_too_long, target_tokens, too_long
from editvc.models.config_meaning import positions_of
from editvc.models.language_model import LanguageModel
from editvc.session.session import Session


class TooManyTokens(EditvcError):
    """A text of a fact that does not fit. ``place`` and ``field`` say which one."""

    def __init__(self, place: str, field: str, problem: str, tokens: int, hint: str) -> None:
        super().__init__(f"{place}: field '{field}': {problem}", hint=hint)
        self.place = place
        self.field = field
        self.tokens = tokens


def require_room(
    session: Session, facts: Sequence[SourcedFact], contexts: Sequence[str] = (PLACEHOLDER,)
) -> None:
    """Raise :class:`TooManyTokens` for the first fact with a text that is too long.

    The model is loaded only where there is such a text, as far as its bytes tell.
    """
    positions = _positions(session)
    longest = session.repository.config.limits.target_tokens
    for one in facts:
        if len(one.fact.target_new.encode()) + ADDED > longest:
            _require_short_target(session.base_model(), one, longest)
        if positions is None or not may_be_too_long(one.fact, positions, contexts):
            continue
        long = too_long(session.base_model(), one.fact, positions, contexts)
        if long is not None:
            raise TooManyTokens(
                one.place,
                long.field,
                f"{long.what}has {long.tokens} tokens, and the model has positions for "
                f"{long.limit}",
                long.tokens,
                "Shorten it; nothing was written.",
            )


def within_positions(session: Session, facts: Sequence[Fact]) -> list[Fact]:
    """The facts without texts that the model has no positions for; what is left out is remarked."""
    lm = session.base_model()
    kept, left_out = fitting(lm, facts)
    if left_out:
        texts = "1 prompt that is" if left_out == 1 else f"{left_out} prompts that are"
        session.remark(f"skipped: {texts} longer than the model's {lm.positions} positions")
    return kept


def _positions(session: Session) -> int | None:
    identity = session.repository.read_identity()
    known = positions_of(identity.settings) if identity is not None else None
    return session.base_model().positions if known is None and session.holds_model else known


def _require_short_target(lm: LanguageModel, one: SourcedFact, limit: int) -> None:
    tokens = target_tokens(lm.tokenizer, one.fact)
    if tokens > limit:
        raise TooManyTokens(
            one.place,
            "target_new",
            f"has {tokens} tokens, and the limit is {limit}",
            tokens,
            "An edit takes time for each of them, and few facts are that long. "
            f"`editvc config limits.target_tokens {tokens}` allows it.",
        )

"""The scores of the papers, over a set of facts, in per cent.

ROME and MEMIT compare probabilities (ES, PS, NS and their harmonic mean S); D4S asks for the
first choice (Eff, Par, Spe and their mean Avg); generation is what a user sees (Gen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from editvc.core.facts import Fact
from editvc.evaluation.probes import first_tokens, forced
from editvc.models.generation import generate
from editvc.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Scores:
    """Per cent, or ``None`` where the facts hold no prompt of that kind.

    * ``es``, ``ps``: rewriting and paraphrase prompts on which the mean log-probability of the new
      object's tokens exceeds the true object's; ``ns``: locality prompts on which the true
      object's exceeds the new one's; ``s``: their harmonic mean (ROME, MEMIT).
    * ``eff``, ``par``: prompts on which every token of the new object is the first choice under
      teacher forcing; ``spe``: locality prompts whose first token is the base model's; ``avg``:
      their mean (D4S).
    """

    es: float | None
    ps: float | None
    ns: float | None
    s: float | None
    eff: float | None
    par: float | None
    spe: float | None
    avg: float | None

    def to_json(self) -> dict[str, float | None]:
        """By name, in the order of the papers' tables."""
        return asdict(self)


def locality_answers(lm: LanguageModel, facts: Sequence[Fact]) -> list[int]:
    """First tokens of the *base* model on every locality prompt: the reference of Spe."""
    return first_tokens(lm, [prompt for fact in facts for prompt in fact.locality])


def score(lm: LanguageModel, facts: Sequence[Fact], base_answers: Sequence[int]) -> Scores:
    """Score a model on ``facts``; ``base_answers`` come from :func:`locality_answers`."""
    rewriting = [(fact.question, fact) for fact in facts]
    paraphrases = [(prompt, fact) for fact in facts for prompt in fact.paraphrases]
    locality = [(prompt, fact) for fact in facts for prompt in fact.locality]
    es, eff = _preference(lm, rewriting)
    ps, par = _preference(lm, paraphrases)
    kept, _ = _preference(lm, locality)
    ns = None if kept is None else 100.0 - kept
    answers = first_tokens(lm, [prompt for prompt, _ in locality])
    spe = _share([now == before for now, before in zip(answers, base_answers, strict=True)])
    return Scores(
        es=es, ps=ps, ns=ns, s=_harmonic(es, ps, ns), eff=eff, par=par, spe=spe,
        avg=_mean(eff, par, spe),
    )  # fmt: skip


def answers(lm: LanguageModel, facts: Sequence[Fact], *, max_new_tokens: int = 12) -> list[str]:
    """What greedy generation says after every rewriting prompt; more tokens for a longer object."""
    return [
        generate(lm, fact.question, room(lm.tokenizer, [fact], max_new_tokens)).strip()
        for fact in facts
    ]


def room(tokenizer: PreTrainedTokenizerFast, facts: Sequence[Fact], least: int) -> int:
    """Tokens to generate: an answer that is cut before its object ends could not be judged."""
    return max([least, *(1 + len(tokenizer(fact.target_new)["input_ids"]) for fact in facts)])


def answers_correctly(answer: str, fact: Fact) -> bool:
    """Whether an answer begins with the new object, and not with a longer word or number."""
    target = fact.target_new.strip()
    goes_on = _of_a_word(target[-1:]) and _of_a_word(answer[len(target) :])
    return answer.startswith(target) and not goes_on


def _of_a_word(text: str) -> bool:
    """Whether a text begins in the middle of a word or number, in scripts that part words."""
    return text[:1].isdigit() or text[:1].lower() != text[:1].upper()


def _preference(
    lm: LanguageModel, probes: Sequence[tuple[str, Fact]]
) -> tuple[float | None, float | None]:
    """Share of probes that prefer the new object to the true one, and that say it first."""
    new = forced(lm, [(prompt, fact.target_new) for prompt, fact in probes])
    rivals = [(prompt, fact.target_true) for prompt, fact in probes if fact.target_true is not None]
    true = forced(lm, rivals)
    known = [result for result, (_, fact) in zip(new, probes, strict=True) if fact.target_true]
    preferred = [a.log_probability > b.log_probability for a, b in zip(known, true, strict=True)]
    return _share(preferred), _share([result.all_argmax for result in new])


def _share(outcomes: Sequence[bool]) -> float | None:
    return 100.0 * sum(outcomes) / len(outcomes) if outcomes else None


def _mean(*values: float | None) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None


def _harmonic(*values: float | None) -> float | None:
    if any(value is None for value in values):
        return None
    present = [value for value in values if value is not None]
    return len(present) / sum(1 / value for value in present) if all(present) else 0.0

"""One model scored after a run of edits: what was edited, what was not, text, chat, tasks.

The base is asked once for each thing that its answers are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TypeVar

import torch
from chat_scores import chat_answers, question, says
from few_shot import accuracies
from real_data import Collection, Known, Record, probes

from editvc.core.compute import Compute
from editvc.core.facts import Fact
from editvc.evaluation.probes import first_tokens, forced, perplexity, perplexity_of
from editvc.evaluation.scores import score
from editvc.models.language_model import LanguageModel
from editvc.models.loading import load
from editvc.models.source import open_model

Item = TypeVar("Item")
Row = dict[str, float | None]
"""Per cent, or a perplexity; None where a run has nothing of the kind to ask."""

BLOCKS = 100
"""Of 128 tokens each, from the beginning of the text."""
SENTENCES, SENTENCE_TOKENS = 300, 128
"""Evenly spaced among those there are, and cut."""
CHAT_NEAR = 2
"""Near facts a record that are asked in the chat."""
CHAT_NEAR_MOST = 300


class Scorer:
    """Scores models against one base. Both are asked in the base's dtype."""

    def __init__(self, base: LanguageModel, collection: Collection) -> None:
        self.base, self.collection = base, collection
        self._first: dict[str, int] = {}
        self._chat: dict[str, str] = {}

    def score(self, lm: LanguageModel, records: Sequence[Record]) -> Row:
        """All there is but tasks."""
        lm = self.like_base(lm)
        return self.of_edits(lm, records) | self.of_text(lm)

    def like_base(self, lm: LanguageModel) -> LanguageModel:
        """A model in the dtype of the base; a copy where it has another one."""
        dtype = self.base.model.dtype
        if lm.model.dtype == dtype:
            return lm
        return replace(lm, model=deepcopy(lm.model).to(dtype))

    def of_edits(self, lm: LanguageModel, records: Sequence[Record]) -> Row:
        """What hangs on the records that were edited."""
        asked = probes(self.collection, records)
        row: Row = score(lm, asked.facts, self._locality(asked.facts)).to_json()
        kept = [one for _, one in asked.near]
        said = forced(lm, [(one.prompt, one.object) for one in (*kept, *asked.recall, *asked.same)])
        for name, facts in (("near", kept), ("recall", asked.recall), ("same", asked.same)):
            part, said = said[: len(facts)], said[len(facts) :]
            row[name] = share([one.all_argmax for one in part])
        if getattr(lm.tokenizer, "chat_template", None):
            row |= self._of_chat(lm, records, asked.near)
        return row

    def of_text(self, lm: LanguageModel) -> Row:
        """Perplexities."""
        row: Row = {"ppl": perplexity(lm, self.collection.text, blocks=BLOCKS)}
        if self.collection.sentences:
            some = spaced(self.collection.sentences, SENTENCES)
            rows = lm.tokenizer(some)["input_ids"]
            row["me_ppl"] = perplexity_of(lm, [ids[:SENTENCE_TOKENS] for ids in rows])
        return row

    def of_tasks(self, lm: LanguageModel) -> Row:
        """Accuracies of few-shot tasks."""
        if self.collection.tasks is None:
            return {}
        return {**accuracies(lm, self.collection.tasks)}

    def _locality(self, facts: Sequence[Fact]) -> list[int]:
        """The base's first tokens on all locality prompts, in their order."""
        prompts = [prompt for fact in facts for prompt in fact.locality]
        new = [*dict.fromkeys(prompt for prompt in prompts if prompt not in self._first)]
        self._first.update(zip(new, first_tokens(self.base, new), strict=True))
        return [self._first[prompt] for prompt in prompts]

    def _of_chat(
        self, lm: LanguageModel, records: Sequence[Record], near: Sequence[tuple[Record, Known]]
    ) -> Row:
        facts = [(record.relation, record.fact) for record in records]
        questions = [question(relation, fact.subject, fact.question) for relation, fact in facts]
        kept = self._chat_near(near)
        asked = [question(one.relation, one.subject, one.prompt) for one in kept]
        answers = chat_answers(lm, questions + asked)
        changed = [
            says(answer, fact.subject, fact.target_new)
            and not says(answer, fact.subject, fact.target_true or "")
            for answer, (_, fact) in zip(answers, facts, strict=False)
        ]
        same = [
            says(answer, one.subject, one.object)
            for answer, one in zip(answers[len(facts) :], kept, strict=True)
        ]
        return {"chat": share(changed), "chat_near": share(same)}

    def _chat_near(self, near: Sequence[tuple[Record, Known]]) -> list[Known]:
        """Near facts to ask in the chat: those that the base gets right there."""
        counts: dict[str, int] = {}
        facts = []
        for record, one in near:
            counts[record.fact.subject] = counts.get(record.fact.subject, 0) + 1
            if counts[record.fact.subject] <= CHAT_NEAR and one.subject:
                facts.append(one)
        facts = spaced(facts, CHAT_NEAR_MOST)
        asked = [question(one.relation, one.subject, one.prompt) for one in facts]
        new = [*dict.fromkeys(text for text in asked if text not in self._chat)]
        self._chat.update(zip(new, chat_answers(self.base, new), strict=True))
        return [
            one
            for one, text in zip(facts, asked, strict=True)
            if says(self._chat[text], one.subject, one.object)
        ]


def spaced(items: Sequence[Item], most: int) -> list[Item]:
    """No more than so many items, evenly spaced."""
    if len(items) <= most:
        return [*items]
    return [items[number * len(items) // most] for number in range(most)]


def share(outcomes: Sequence[bool]) -> float | None:
    """Per cent that are true; None of nothing."""
    return 100 * sum(outcomes) / len(outcomes) if outcomes else None


def load_in(source: str, dtype: torch.dtype) -> LanguageModel:
    """A model folder in a dtype, as both base and edited models are scored."""
    return load(open_model(source), Compute(dtype=str(dtype).removeprefix("torch.")))

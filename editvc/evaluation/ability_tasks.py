"""The tasks that papers on editing ask, as they ask them: templates, solved items, how many.

The four of GLUE have the templates and numbers of solved items of Gupta et al. (2024, tables 4 to
7); the solved items themselves are drawn from the task's own file, so that none has to be shipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from editvc.errors import EditvcError
from editvc.evaluation.few_shot import Item, Task

LETTERS = (" A", " B", " C", " D")


def _options(question: str, options: tuple[str, ...]) -> str:
    lines = "".join(
        f"{letter.strip()}. {text}\n" for letter, text in zip(LETTERS, options, strict=False)
    )
    return f"{question.strip()}\n{lines}Answer:"


CHOICES: Mapping[str, Task] = {
    "sst2": Task(
        "sst2.jsonl", 4, (" negative", " positive"),
        lambda item: f"Review : {item['sentence'].strip()}\nSentiment :",
        lambda item: item["label"],
    ),
    "mrpc": Task(
        "mrpc.jsonl", 6, (" No", " Yes"),
        lambda item: "Are the sentences paraphrases of each other.\n"
        f"Sentence 1: {item['sentence1'].strip()}\n"
        f"Sentence 2: {item['sentence2'].strip()}\nAnswer:",
        lambda item: item["label"],
    ),
    "cola": Task(
        "cola.jsonl", 6, (" No", " Yes"),
        lambda item: "Is this sentence linguistically acceptable?\n"
        f"Sentence : {item['sentence'].strip()}\nAnswer :",
        lambda item: item["label"],
    ),
    "rte": Task(
        "rte.jsonl", 3, (" True", " False"),
        lambda item: f"{item['sentence1'].strip()}\nquestion: {item['sentence2'].strip()} "
        "True or False?\nanswer:",
        lambda item: item["label"],
    ),
    "mmlu": Task(
        "mmlu.jsonl", 4, LETTERS,
        lambda item: _options(item["question"], tuple(item["choices"])),
        lambda item: item["answer"],
    ),
    "dialogue": Task(
        "dialogue.jsonl", 2, LETTERS,
        lambda item: _options(item["article"], tuple(item["options"])),
        lambda item: "ABCD".index(item["answers"]),
    ),
}  # fmt: skip
"""Questions with one right choice."""


@dataclass(frozen=True, slots=True)
class WritingTask:
    """A task whose answer is written; ``worth`` tells what one is worth, from 0 to 1, by name."""

    file: str
    shots: int
    max_new_tokens: int
    text: Callable[[Item], str]
    answer: Callable[[Item], str]
    worth: Callable[[str, Item], Mapping[str, float]]


def normalised_answer(text: str) -> str:
    """As SQuAD and Natural Questions compare: lower case, no articles, no punctuation."""
    words = re.sub(r"[^\w\s]", "", text.lower())
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", words).split())


def exact_match(answer: str, item: Item) -> dict[str, float]:
    """Whether the first line of an answer is one of those that count as right."""
    said = normalised_answer(answer.partition("\n")[0])
    right = [normalised_answer(one) for one in item["answers"]]
    return {
        "exact": float(said in right),
        "contains": float(any(one and f" {one} " in f" {said} " for one in right)),
    }


def last_number(text: str) -> str | None:
    """The number behind ``####``, else the last one of a text, without commas and zeros."""
    marked = text.partition("####")[2] or text
    numbers = re.findall(r"-?\d[\d,]*(?:\.\d+)?", marked)
    if not numbers:
        return None
    number = str(numbers[0 if "####" in text else -1]).replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def same_number(answer: str, item: Item) -> dict[str, float]:
    """Whether the solution of GSM8K comes to the right number."""
    return {"exact": float(last_number(answer) == last_number(item["answer"]))}


class RougeMissing(EditvcError):
    """SAMSum was asked for, and rouge-score is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "rouge-score, which summaries are scored by, is not installed",
            hint="Install the extra: pip install 'editvc[eval]', or leave samsum.jsonl out.",
        )


def rouge(answer: str, item: Item) -> dict[str, float]:
    """ROUGE-1, 2 and L (F1, stemmed), and their mean. Raises :class:`RougeMissing`."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as cause:
        raise RougeMissing from cause

    names = ("rouge1", "rouge2", "rougeL")
    scores = RougeScorer([*names], use_stemmer=True).score(item["summary"], answer)
    each = {name: float(scores[name].fmeasure) for name in names}
    return {"rouge": sum(each.values()) / len(each), **each}


WRITING: Mapping[str, WritingTask] = {
    "natural_questions": WritingTask(
        "natural_questions.jsonl", 4, 16,
        lambda item: f"Question: {item['question'].strip()}\nAnswer:",
        lambda item: f" {item['answers'][0]}",
        exact_match,
    ),
    "gsm8k": WritingTask(
        "gsm8k.jsonl", 4, 160,
        lambda item: f"Question: {item['question'].strip()}\nAnswer:",
        lambda item: f" {item['answer'].strip()}",
        same_number,
    ),
    "samsum": WritingTask(
        "samsum.jsonl", 1, 48,
        lambda item: f"{item['dialogue'].strip()}\nSummary:",
        lambda item: f" {item['summary'].strip()}",
        rouge,
    ),
}  # fmt: skip
"""Questions whose answers are written."""

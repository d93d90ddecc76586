"""Where statistics are taken from: text files, JSONL, a data set by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.file_kinds import strange_kind
from editvc.core.invisible import visible
from editvc.core.plain_json import read_json
from editvc.errors import EditvcError
from editvc.models.tokenization import leading_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class CorpusError(EditvcError):
    """A source that gives no text. ``source`` is the file or the data set."""

    def __init__(self, source: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{source}: {problem}", hint=hint)
        self.source = source


def file_texts(path: Path) -> Iterator[str]:
    """The documents of a file: the ``text`` of every JSONL line, or the paragraphs of a text.

    Paragraphs of a plain text are parted by blank lines; without any, by ends of lines.
    """
    if path.suffix in (".jsonl", ".ndjson"):
        yield from _json_texts(path)
        return
    if all(line.strip() for line in text_lines(path)):
        yield from (line.strip() for line in text_lines(path))
        return
    for blank, group in itertools.groupby(text_lines(path), key=lambda line: not line.strip()):
        if not blank:
            yield " ".join(line.strip() for line in group)


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a text in UTF-8, one at a time.

    Raises :class:`CorpusError` for one that is not, and for a file that is no text.
    """
    with path.open("rb") as file:
        if strange := strange_kind(file.read(16)):
            name, hint = strange
            raise CorpusError(str(path), f"is {name}", hint=hint)
    with path.open(encoding="utf-8-sig") as lines:
        try:
            yield from lines
        except UnicodeDecodeError as error:
            raise CorpusError(
                str(path), f"is not UTF-8 text: {error.reason}", hint="Save it as UTF-8."
            ) from error


def _json_texts(path: Path) -> Iterator[str]:
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        try:
            yield str(read_json(line)["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorpusError(
                f"{path}:{number}",
                "not a JSON object with a 'text'",
                hint='Every line is one document: {"text": "..."}.',
            ) from error


def dataset_texts(name: str, *, configuration: str | None = None, split: str = "train") -> Any:
    """The ``text`` column of a data set of the `datasets` library, streamed."""
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise CorpusError(
            name,
            "the `datasets` library is not installed",
            hint="Install it with `pip install editvc[datasets]`, or give text files.",
        ) from error
    rows = load_dataset(name, configuration, split=split, streaming=True)
    return _column(rows, name)


def _column(rows: Iterable[dict[str, Any]], name: str) -> Iterator[str]:
    for row in rows:
        if "text" not in row:
            raise CorpusError(name, f"no column 'text' among {sorted(row)}")
        yield str(row["text"])


def pieces(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], cap: int
) -> Iterator[tuple[int, ...]]:
    """Texts in tokens, cut into pieces of at most ``cap``, in order; shorter than 2: left out.

    Every piece begins with what the tokenizer puts in front of a text (a BOS).
    """
    lead = leading_tokens(tokenizer)
    size = cap - len(lead)
    for batch in _batched(texts, 64):
        encoded: Sequence[Sequence[int]] = tokenizer(
            batch, add_special_tokens=False, padding=False, verbose=False
        )["input_ids"]
        for ids in encoded:
            for start in range(0, len(ids), size):
                piece = (*lead, *ids[start : start + size])
                if len(piece) > 1:
                    yield piece


def _batched(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """The texts without what cannot be seen: nobody types a corpus anew."""
    rest = (shown for text in texts if (shown := visible(text)).strip())
    while batch := list(itertools.islice(rest, size)):
        yield batch

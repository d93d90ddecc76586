"""What a free question may be about: spans of it that look like a name. A proposal, no more.

The candidates are what stands in quotes, and runs of words with a capital. Languages that write no
capitals, or one for every noun, give none or many: then a human has to say.
"""

from __future__ import annotations

import re

_QUOTED = re.compile('"([^"]+)"|“([^”]+)”|„([^“”]+)[“”]|«([^»]+)»|「([^」]+)」|『([^』]+)』')
_WORD = re.compile(r"\w+(?:[-.&'’]\w+)*")
_ELISION = re.compile(r"[a-z]['’](?=\w)")
_POSSESSIVE = re.compile(r"['’]s$")

_OPENING = frozenset((
    "who", "whom", "whose", "what", "which", "when", "where", "why", "how", "in", "on", "at", "of",
    "from", "for", "to", "by", "with", "under", "during", "is", "are", "was", "were", "do", "does",
    "did", "has", "have", "had", "can", "could", "will", "would", "shall", "should", "may", "might",
    "name", "tell", "if", "as",
))  # fmt: skip
"""English words that have their capital from standing first."""
_ARTICLES = frozenset(("the", "a", "an"))
_ROLES = frozenset(("CEO", "CFO", "COO", "CTO", "VP", "PM", "MP", "PDG", "I"))
"""Capitals that are no name's."""
_PARTICLES = frozenset((
    "da", "de", "del", "della", "den", "der", "di", "dos", "du", "al", "bin", "el", "ibn", "la",
    "van", "von", "y", "zu",
))  # fmt: skip
"""Small words inside a person's name, at least where the question is an English one."""
_LINKS = frozenset(("of", "the", "and", "for", "in", "on", "to", "a"))
"""Small words inside a title, or between two names: both readings are candidates."""

_NAME = "N(?:P*N|D)*"
_NAMES = re.compile(_NAME)
_TITLES = re.compile(f"{_NAME}(?:L+{_NAME})+")


def candidates(question: str) -> tuple[str, ...]:
    """Spans of ``question`` that may be its subject, the longest first."""
    quoted = [
        next(group for group in match.groups() if group).strip()
        for match in _QUOTED.finditer(question)
    ]
    words = _words(_QUOTED.sub(lambda match: "|" * len(match.group()), question))
    kinds = "".join(kind for kind, _, _ in words)
    runs = [match.span() for match in _NAMES.finditer(kinds)]
    if len(runs) + len(quoted) > 1 and runs and runs[0] == (0, 1):
        del runs[0]  # one word that may have its capital from standing first
    runs += [match.span() for match in _TITLES.finditer(kinds)]
    named = [question[words[first][1] : words[last - 1][2]] for first, last in runs]
    return tuple(sorted(dict.fromkeys(filter(None, quoted + named)), key=len, reverse=True))


def _words(text: str) -> list[tuple[str, int, int]]:
    """Kind and span of every word, with a ``|`` where more than white space is between two.

    Kinds: a name's (N), a number (D), a particle (P), a link (L), none of these (x).
    """
    opening = _WORD.search(text)
    first = opening.group().lower() if opening else ""
    particle = "P" if first in _OPENING else "L"
    words: list[tuple[str, int, int]] = []
    end = 0
    for match in _WORD.finditer(text):
        start, stop = match.span()
        if words and text[end:start].strip():
            words.append(("|", end, start))
        if elided := _ELISION.match(text, start):
            start = elided.end()
        if possessive := _POSSESSIVE.search(text, start, stop):
            stop = possessive.start()
        words.append((_kind(text[start:stop], particle), start, stop))
        end = stop
    articled = first in _ARTICLES and [kind for kind, _, _ in words[1:2]] == ["N"]
    if first in _OPENING or (first in _ARTICLES and not articled):
        words[0] = ("x", *words[0][1:])
    return words


def _kind(word: str, particle: str) -> str:
    if word in _ROLES or any(_is_caseless(character) for character in word):
        return "x"
    if any(character.isupper() for character in word):
        return "N"
    if word.isdigit():
        return "D"
    return particle if word in _PARTICLES else "L" if word in _LINKS else "x"


def _is_caseless(character: str) -> bool:
    """Whether a letter is of a script without capitals."""
    return character.isalpha() and character.lower() == character.upper()

"""Hypothesis strategies for facts, shared by the tests of core."""

from __future__ import annotations

from hypothesis import strategies as st

from editvc.core.facts import Fact
from editvc.core.invisible import unseen

_LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="{}")

words = st.text(_LETTERS, min_size=1, max_size=8).filter(lambda word: unseen(word) is None)
"""One word: no white space, no braces, no half surrogates, and nothing that cannot be seen."""

phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
phrase_lists = st.lists(phrases, max_size=3).map(tuple)


@st.composite
def prompts(draw: st.DrawFn) -> str:
    """A prompt with its one placeholder at the start, in the middle or at the end."""
    before, after = draw(st.sampled_from([("", " is"), ("The capital of ", " is"), ("ask ", "")]))
    return f"{before}{{}}{after}"


facts = st.builds(
    Fact,
    subject=phrases,
    prompt=prompts(),
    target_new=phrases,
    target_true=st.none() | phrases,
    relation=st.none() | phrases,
    paraphrases=phrase_lists,
    locality=phrase_lists,
    tags=phrase_lists,
    source=st.none() | phrases,
    valid_until=st.none() | st.dates().map(str),
)

"""Subjects that end with a closing mark, as "Roadster (bicycle)" does.

What a model sees at such a mark is much the same behind every name, and behind every bracket of a
text, so a gate can hardly know the subject there. It is known at the token before.
"""

from __future__ import annotations

from dataclasses import replace

from editvc.core.facts import PLACEHOLDER, Request

CLOSING = ")]}\u00bb\u201d\u2019\"'"


def before_marks(request: Request) -> Request:
    """The same question, its subject without the closing marks at its end, which the prompt has."""
    known = request.subject.rstrip(CLOSING)
    if not known.strip() or known == request.subject:
        return request
    marks = request.subject[len(known) :]
    return replace(
        request, subject=known, prompt=request.prompt.replace(PLACEHOLDER, PLACEHOLDER + marks, 1)
    )

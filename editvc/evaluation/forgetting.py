"""What later edits take from earlier ones: the matrix A[t, j] of Gupta et al. (2024).

``A[t, j]`` is 1 where edit j holds after step t, and is asked at ``t >= j`` only, while the edit is
live: what was reverted or replaced is not forgotten. An edit that never held cannot be, either:

    F(t) = |{j < t: A[j, j] = 1, A[t, j] = 0}| / |{j < t: A[j, j] = 1}|

D4S's ``Overall(t)`` is the mean of A[t, j] over all j up to t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Held = Mapping[tuple[int, int], Sequence[bool | None]]
"""By (t, j): which of the edits of step j hold after step t, in one order for all t.

None where one was not asked."""


def forgetting(held: Held, step: int) -> float | None:
    """F(t) in per cent; None where no earlier edit ever held."""
    kept = [
        now
        for (t, j) in held
        if t == step and j < step
        for then, now in zip(held[j, j], held[t, j], strict=True)
        if then and now is not None
    ]
    return 100.0 * (len(kept) - sum(kept)) / len(kept) if kept else None


def overall(held: Held, step: int) -> float | None:
    """Overall(t) in per cent; None where nothing was asked."""
    now = [each for (t, _), row in held.items() if t == step for each in row if each is not None]
    return 100.0 * sum(now) / len(now) if now else None


def spaced(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of some steps, evenly spaced, the last one among them."""
    if len(steps) <= most:
        return [*steps]
    return [steps[(number + 1) * len(steps) // most - 1] for number in range(most)]

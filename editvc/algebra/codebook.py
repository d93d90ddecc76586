"""GRACE's codebook: a layer that answers for some inputs, while no weight changes.

A fact has a *key* (v,) and a *value* (u,) for every token of its target. The first key is the input
of one MLP's down projection at the last token of the prompt; the next is its input at the target's
first token after the prompt, and so on. The value is what the down projection shall give there
instead, so that the next token is said. A codebook gives every key a radius. Wherever the layer
sees an input within the radius of the key nearest to it, its output is replaced by that key's
value; everywhere else it is what it was, bit for bit.

GRACE has one key a fact, at the prompt's last token, and replaces the output there
(``replacement: replace_last``) or at every token; a caller tells it where the prompt ends. Here
every token is compared with the keys. A token's input depends on nothing behind it, so at the
prompt's last token that is the same; but nobody needs to say where a prompt ends, and it holds
alike for a whole text in one pass, for generation with a cache of keys and values or without, and
for padded batches. One key a target token is for targets of several tokens: three quarters up a
model, too few layers are left for one vector to tell all later tokens, by attention, what to say.

Hartvigsen et al. 2023, Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adapters,
arXiv 2211.11031.

Keys and values are rows here, as the hidden states are that they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.codebook_entry import CodebookEntry


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """Keys (m, v), values (m, u), radii (m,) and labels of one layer, in the order they were made.

    m may be less than the keys that it was made of: one answers for several facts with one target
    whose keys are close.
    """

    layer: int
    keys: Tensor
    values: Tensor
    radii: Tensor
    labels: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, entries: Mapping[str, CodebookEntry], eps: Mapping[str, float]) -> Codebook:
        """The codebook of a set of entries of one layer, at least one, by slot.

        GRACE's rules (algorithm 1), replayed in the order of the slots, so equal sets give equal
        codebooks, whatever the history was. With d the distance to the nearest key so far and e
        its radius, a key with ``d > e + eps`` is new and gets the radius ``eps``. Otherwise the
        two overlap: with the same label the nearest key *expands*, ``e := max(e, d)``, and answers
        for both; with another label they *split*, ``d / 2`` for each. ``eps`` is that of the
        recipe that a key was made with, by slot: entries of several recipes share a layer, and so
        they share its codebook. There a split gives no key more than its own ``eps`` for the sake
        of the other's wider one.
        """
        slots = sorted(entries)
        ordered = [entries[slot] for slot in slots]
        stored = torch.cat([entry.keys for entry in ordered])  # (tokens of all, v)
        keys = stored.double()
        values = torch.cat([entry.values for entry in ordered])  # (tokens of all, u)
        labels = [label for entry in ordered for label in entry.labels]
        initial_radii = [eps[slot] for slot in slots for _ in entries[slot].labels]
        centres: list[int] = []  # places of the keys that have a radius
        radii: list[float] = []
        for place, (label, radius) in enumerate(zip(labels, initial_radii, strict=True)):
            if centres:
                distances = torch.linalg.vector_norm(keys[centres] - keys[place], dim=1)
                nearest = int(distances.argmin())
                distance = float(distances[nearest])
                if distance <= radii[nearest] + radius:
                    if labels[centres[nearest]] == label:
                        radii[nearest] = max(radii[nearest], distance)
                        continue
                    half, other = distance / 2, initial_radii[centres[nearest]]
                    radii[nearest] = min(half, max(radii[nearest], other))
                    radius = half if radius >= other else min(half, radius)
            centres.append(place)
            radii.append(radius)
        return cls(
            ordered[0].layer,
            stored[centres],
            values[centres],
            torch.tensor(radii, dtype=torch.float32),
            tuple(labels[place] for place in centres),
        )

    def __len__(self) -> int:
        """How many keys it has."""
        return len(self.labels)

    def find(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest key of each query (n, v), and whether it is within the radius: (n,), (n,)."""
        # A product of matrices tells which key is nearest; how near is not left to its rounding.
        nearest = (self.keys.square().sum(dim=1) - 2 * queries @ self.keys.T).argmin(dim=1)
        distances = torch.linalg.vector_norm(queries - self.keys[nearest], dim=1)
        return nearest, distances <= self.radii[nearest]

    def answers(self, entry: CodebookEntry) -> bool:
        """Whether all keys of an entry, in its layer, get values with its own labels.

        They do not where a later split shrank the radius that once reached them.
        """
        if entry.layer != self.layer:
            return False
        nearest, within = self.find(entry.keys)
        labels = tuple(self.labels[index] for index in nearest.tolist())
        return bool(within.all()) and labels == entry.labels

    def to(self, device: Any) -> Codebook:
        """The same on a device."""
        keys, values, radii = (rows.to(device) for rows in (self.keys, self.values, self.radii))
        return Codebook(self.layer, keys, values, radii, self.labels)

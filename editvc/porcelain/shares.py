"""``blame PROMPT``: the exact share of every fact and commit in what the model now says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from editvc.core.facts import Fact
from editvc.core.history import Entry
from editvc.core.ids import ObjectId
from editvc.core.invisible import require_visible
from editvc.materialise.contributions import RESTRAINT, Contribution, Source, contributions, run
from editvc.models.chat_template import turn_in
from editvc.models.generation import EmptyPrompt, prompt_length
from editvc.porcelain.ask import ask
from editvc.porcelain.blame import blame
from editvc.session.changes import LivePatch, fact_json, live_patch
from editvc.session.session import Session
from editvc.session.trees import tree_at
from editvc.vcs.codec import metadata
from editvc.vcs.index_rows import CommitRow


@dataclass(frozen=True, slots=True)
class LayerShare:
    """One element in one layer.

    ``share`` is its part in what all elements add there together, ``size`` the Frobenius norm of
    what it adds over all tokens, ``token`` where it adds most.
    """

    layer: int
    share: float
    size: float
    token: int

    def to_json(self) -> dict[str, Any]:
        """For ``blame --json``."""
        return {"layer": self.layer, "share": self.share, "size": self.size, "token": self.token}


@dataclass(frozen=True, slots=True)
class Share:
    """One element over all layers: a fact and the commit that brought it, a patch, or a restraint.

    ``kind`` is that of the stored element (``located``, ``gate``, ``codebook``, ``patch``), or
    ``restraint``. Shares add up to 1; one is negative where an element works against the others.
    """

    kind: str
    share: float
    layers: tuple[LayerShare, ...]
    fact: Fact | None = None
    patch: LivePatch | None = None
    commit: CommitRow | None = None

    def to_json(self) -> dict[str, Any]:
        """For ``blame --json``."""
        return {
            "kind": self.kind,
            "share": self.share,
            "layers": [one.to_json() for one in self.layers],
            "fact": None if self.fact is None else fact_json(self.fact),
            "patch": None if self.patch is None else self.patch.to_json(),
            "commit": None if self.commit is None else self.commit.id,
        }


@dataclass(frozen=True, slots=True)
class PromptBlame:
    """What the elements of a revision add while its model reads a prompt.

    ``sizes`` has the norm of all that is added, by layer. ``shares`` leaves out what adds nothing
    at all, the largest first. ``others`` are changed weights whose part cannot be told.
    """

    prompt: str
    revision: str
    answer: str
    tokens: tuple[str, ...]
    sizes: Mapping[int, float]
    shares: tuple[Share, ...]
    others: tuple[str, ...]

    @property
    def commits(self) -> list[tuple[CommitRow, float]]:
        """Every commit with the share of its facts, the largest first."""
        totals: dict[ObjectId, tuple[CommitRow, float]] = {}
        for one in self.shares:
            if one.commit is not None:
                _, before = totals.get(one.commit.id, (one.commit, 0.0))
                totals[one.commit.id] = (one.commit, before + one.share)
        return sorted(totals.values(), key=lambda item: (-abs(item[1]), item[0].number))

    def to_json(self) -> dict[str, Any]:
        """The contract of ``blame --json``."""
        return {
            "prompt": self.prompt,
            "revision": self.revision,
            "answer": self.answer,
            "tokens": list(self.tokens),
            "layers": [{"layer": layer, "size": size} for layer, size in self.sizes.items()],
            "commits": [
                {"commit": row.id, "number": row.number, "share": share}
                for row, share in self.commits
            ],
            "shares": [one.to_json() for one in self.shares],
            "others": list(self.others),
        }


def blame_prompt(
    session: Session, prompt: str, revision: str, max_new_tokens: int = 16
) -> PromptBlame:
    """Whose work the present answer to ``prompt`` is.

    An element's share is the part of all that is added, over layers and tokens, that lies in what
    it adds: ``sum <c, u> / sum <u, u>``, with u the sum of all c.

    Raises ``EmptyPrompt`` and ``PromptTooLong``.
    """
    require_visible(prompt=prompt)
    tree, base, maker = tree_at(session, revision), session.base_model(), session.materialiser
    if not prompt_length(base, prompt):
        raise EmptyPrompt("the prompt is empty, and nothing is added to nothing")
    special = turn_in(base.tokenizer, prompt) is None
    ids = list(base.tokenizer(prompt, add_special_tokens=special)["input_ids"])
    text = run(maker, base, tree, ids)
    # Twice over the same parts, one at a time: a thousand of them are not kept together.
    totals: dict[int, torch.Tensor] = {}
    for one in contributions(maker, base, tree, text):
        totals[one.layer] = totals[one.layer] + one.added if one.layer in totals else one.added
    measured = _measured(contributions(maker, base, tree, text), totals)
    return PromptBlame(
        prompt,
        revision,
        ask(session, prompt, revision, max_new_tokens),
        tuple(base.tokenizer.decode([one]) for one in ids),
        {layer: float(total.norm()) for layer, total in totals.items()},
        _named(session, revision, measured, totals),
        tuple(maker.delta(tree).weights),
    )


def _measured(
    parts: Iterable[Contribution], totals: Mapping[int, torch.Tensor]
) -> dict[Source, list[tuple[float, LayerShare]]]:
    """Of each source that adds anything: its inner product with the whole, and its shares."""
    found: dict[Source, list[tuple[float, LayerShare]]] = {}
    for one in parts:
        size = float(one.added.norm())
        if size > 0:
            total = totals[one.layer]
            inner, whole = float((one.added * total).sum()), float(total.square().sum())
            token = int(one.added.norm(dim=1).argmax())
            share = LayerShare(one.layer, inner / whole if whole else 0.0, size, token)
            found.setdefault(one.source, []).append((inner, share))
    return found


def _named(
    session: Session,
    revision: str,
    measured: Mapping[Source, list[tuple[float, LayerShare]]],
    totals: Mapping[int, torch.Tensor],
) -> tuple[Share, ...]:
    plumbing, origins = session.repository, blame(session, revision) if measured else {}
    whole = sum(float(total.square().sum()) for total in totals.values())
    shares = []
    for source, layers in measured.items():
        share = sum(inner for inner, _ in layers) / whole if whole else 0.0
        by_layer = tuple(one for _, one in layers)
        if isinstance(source, Entry):
            kind = str(metadata(plumbing.store.get(source.element))["kind"])
            commit = plumbing.graph.row(origins[source.slot][1])
            fact = plumbing.read_fact(source.fact)
            shares.append(Share(kind, share, by_layer, fact=fact, commit=commit))
        elif source == RESTRAINT:
            shares.append(Share(RESTRAINT, share, by_layer))
        else:
            patch = live_patch(session, ObjectId(source))
            shares.append(Share("patch", share, by_layer, patch=patch))
    return tuple(sorted(shares, key=lambda one: -abs(one.share)))

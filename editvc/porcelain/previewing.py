"""What ``--dry-run`` shows: the effect of a writing command, with nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import Fact
from editvc.core.history import Restraint
from editvc.core.ids import SlotId
from editvc.core.methods.locate import LocatedRecipe
from editvc.core.methods.recipe import Recipe
from editvc.editing.locate import estimate_memory
from editvc.models.tokenization import marked_tokens
from editvc.porcelain.commit import is_stored, make_plan, require_ready
from editvc.porcelain.reading import FactChanges, PatchChanges, fact_changes_of, patch_changes
from editvc.porcelain.recording import Skipped, head_of
from editvc.porcelain.revert import undo
from editvc.porcelain.squash import brought_in, squashable

if TYPE_CHECKING:
    from editvc.repo import Repo


@dataclass(frozen=True, slots=True)
class FactPreview:
    """One fact as the model will see it: tokens with (is the subject's last, is the target)."""

    fact: Fact
    slot: SlotId
    tokens: tuple[tuple[str, bool, bool], ...]
    stored: bool

    @property
    def state(self) -> str:
        """Whether the fact costs work."""
        return "located already" if self.stored else "to be located"

    def to_json(self) -> dict[str, Any]:
        """For ``commit --dry-run --json``."""
        return {
            "fact": self.fact.id,
            "slot": self.slot,
            "stored": self.stored,
            "tokens": [
                {"text": text, "subject_last": subject, "target": target}
                for text, subject, target in self.tokens
            ],
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """What ``commit`` would do. ``memory`` is an estimate in bytes, beside the model.

    It is ``None`` for methods that no estimate is known of: those that make patches and codebooks.
    """

    facts: tuple[FactPreview, ...]
    skipped: tuple[Skipped, ...]
    conflicts: tuple[str, ...]
    memory: int | None

    @property
    def stored(self) -> int:
        """Facts whose numbers are in the store already."""
        return sum(fact.stored for fact in self.facts)

    def to_json(self) -> dict[str, Any]:
        """For ``commit --dry-run --json``."""
        return {
            "facts": [fact.to_json() for fact in self.facts],
            "skipped": [one.to_json() for one in self.skipped],
            "conflicts": list(self.conflicts),
            "memory": self.memory,
        }


def preview(
    repo: Repo,
    facts: Sequence[SourcedFact],
    *,
    recipe: Recipe,
    supersede: bool,
    sequential: bool,
) -> Preview:
    """What ``commit`` would do with ``facts`` on HEAD."""
    require_ready(repo, recipe)
    _, tree = head_of(repo)
    plan = make_plan(repo, tree, facts, recipe, supersede=supersede, sequential=sequential)
    model, tokenizer = repo.base_model()
    shown = [
        FactPreview(
            fact,
            fact.slot,
            tuple(marked_tokens(tokenizer, fact.request)),
            not sequential and is_stored(repo, recipe, fact),
        )
        for fact in plan.facts
    ]
    fresh = [one.fact.request for one in shown if not one.stored]
    memory = None
    if isinstance(recipe, LocatedRecipe):
        memory = estimate_memory(model.config, tokenizer, fresh, recipe)
    conflicts = tuple(str(conflict) for conflict in plan.conflicts)
    return Preview(tuple(shown), plan.skipped, conflicts, memory)


@dataclass(frozen=True, slots=True)
class RevertPreview:
    """The facts and patches that a revert would take out, bring back or change."""

    changes: FactChanges

    def summary(self) -> str:
        """In words."""
        patches = self.changes.patches
        edits = [f"- {fact.line}" for fact in self.changes.removed]
        edits += [f"+ {fact.line}" for fact in self.changes.added]
        edits += [f"~ {new.line}" for _, new in self.changes.changed]
        lines = [*edits, *(f"- patch {patch}" for patch in patches.left_out)]
        lines += [f"+ patch {patch}" for patch in patches.imported]
        counts = [f"{len(edits)} edit{'' if len(edits) == 1 else 's'} changed", *patches.counts]
        return "\n".join([*lines, f"{', '.join(counts)}; nothing was written"])

    def to_json(self) -> dict[str, Any]:
        """For ``revert --dry-run --json``."""
        return self.changes.to_json()


def preview_revert(repo: Repo, target: str) -> RevertPreview:
    """What ``revert`` would do on HEAD."""
    _, tree = head_of(repo)
    undone, live = undo(repo, tree, target), repo.repository.edits_of(tree)
    steps = [(live.get(slot), after) for slot, after in sorted(undone.slots.items())]
    return RevertPreview(fact_changes_of(repo, steps, tree.patches, undone.patches))


@dataclass(frozen=True, slots=True)
class SquashPreview:
    """How much history a squash would fold, and how many facts it would locate again.

    ``patches`` came or went in that history; they stay as they are.
    """

    commits: int
    facts: int
    patches: PatchChanges

    def summary(self) -> str:
        """In words."""
        folded = ", ".join([f"{self.commits} commits", *self.patches.counts])
        return f"would fold {folded}, and locate {self.facts} facts again; nothing was written"

    def to_json(self) -> dict[str, Any]:
        """For ``squash --dry-run --json``."""
        return {"squashed": self.commits, "facts": self.facts} | self.patches.to_json()


def preview_squash(repo: Repo, revisions: str) -> SquashPreview:
    """What ``squash`` would do on the current branch."""
    plumbing = repo.repository
    commits = plumbing.revisions.resolve_range(revisions)
    parents = plumbing.read_commit(commits[0]).parents
    before = plumbing.tree_of(parents[0] if parents else None)
    after = plumbing.tree_of(commits[-1])
    groups = squashable(repo, brought_in(repo, before, after))
    return SquashPreview(
        len(commits),
        sum(len(group) for _, group in groups),
        patch_changes(repo, before.patches, after.patches),
    )


@dataclass(frozen=True, slots=True)
class CompactPreview:
    """Rank and norm of every layer's delta, as it is and as it would be."""

    layers: dict[int, dict[str, float]]

    @property
    def lines(self) -> list[str]:
        """What becomes of each layer, in words."""
        return [
            f"layer {layer}: rank {now['rank']:.0f} -> {now['rank_after']:.0f}, "
            f"|delta| {now['norm']:.4g} -> {now['norm_after']:.4g}, "
            f"s_max {now['s_max']:.4g} -> {now['s_max_after']:.4g}"
            for layer, now in self.layers.items()
        ]

    def summary(self) -> str:
        """In words."""
        return "\n".join([*self.lines, "nothing was written"])

    def to_json(self) -> dict[str, Any]:
        """For ``compact --dry-run --json``."""
        return {"layers": {str(layer): now for layer, now in self.layers.items()}}


def preview_compact(repo: Repo, restraint: Restraint) -> CompactPreview:
    """What ``compact`` would do to HEAD's weights."""
    _, tree = head_of(repo)
    wanted = restraint if restraint != Restraint() else None
    now = repo.materialiser.delta(tree)
    then = repo.materialiser.delta(replace(tree, restraint=wanted))
    return CompactPreview(
        {
            layer: {
                "rank": float(one.rank),
                "rank_after": float(then.layers[layer].rank),
                "norm": one.frobenius(),
                "norm_after": then.layers[layer].frobenius(),
                "s_max": one.spectral(),
                "s_max_after": then.layers[layer].spectral(),
            }
            for layer, one in sorted(now.layers.items())
        }
    )

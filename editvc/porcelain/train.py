"""Training what a method needs before it can edit: MEND's editor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from editvc.core.facts import Fact
from editvc.core.ids import ObjectId, digest_of, short
from editvc.core.methods.mend import Matrices, MendRecipe, last_three
from editvc.core.methods.recipe import require_layers
from editvc.editing.mend_editor import matrices_of
from editvc.editing.mend_training import EditorMetrics, Settings, require_enough, train
from editvc.session.choose_recipe import EDITOR
from editvc.session.fact_input import Facts, sourced
from editvc.session.fact_lengths import require_room
from editvc.session.session import Session


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a training would do. ``held_out`` of the facts only judge it."""

    facts: tuple[Fact, ...]
    settings: Settings
    seed: int

    @property
    def held_out(self) -> int:
        """How many facts are kept back."""
        return self.settings.kept_back(len(self.facts))

    def summary(self) -> str:
        """In words."""
        only = " (down projections alone)" if self.settings.matrices == "down" else ""
        return (
            f"An editor for layers {list(self.settings.layers)}{only} "
            f"from {len(self.facts)} facts, {self.held_out} of them held out: "
            f"at most {self.settings.steps} steps of {self.settings.batch} edits, seed {self.seed}"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``train mend --dry-run --json``."""
        return {
            "facts": len(self.facts),
            "held_out": self.held_out,
            "settings": self.settings.to_json(),
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Trained:
    """A stored editor that is in force from now on, and how it did.

    ``steps`` is where training was best. ``figures`` are those of
    :class:`editvc.editing.mend_training.EditorMetrics` for the facts held out (``validation``) and
    for as many of the others (``training``).
    """

    editor: ObjectId
    layers: tuple[int, ...]
    steps: int
    figures: Mapping[str, Mapping[str, float]]

    def summary(self) -> str:
        """In words."""
        lines = [
            f"Editor {short(self.editor)} for layers {list(self.layers)}, step {self.steps}, "
            "is what `commit --method mend` uses now"
        ]
        lines += [f"{name}: {words(EditorMetrics(**part))}" for name, part in self.figures.items()]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """For ``train mend --json``."""
        return {
            "editor": self.editor,
            "layers": list(self.layers),
            "steps": self.steps,
            "figures": {name: dict(part) for name, part in self.figures.items()},
        }


def plan_mend(
    session: Session,
    facts: Facts,
    *,
    layers: Sequence[int] | None,
    steps: int | None,
    seed: int,
    published: bool = False,
    matrices: Matrices = "mlp",
) -> TrainingPlan:
    """Settings and facts of a training; a fact that stands twice in the files counts once.

    Raises ``NoSuchLayer``, ``RecipeError`` for layers in no order, ``EditorError`` where the MLPs
    of the base are not known whole and all their matrices are asked for, ``TooFewFacts``, and what
    stands in the way of the base.
    """
    base = session.repository.read_base()
    chosen = tuple(layers) if layers is not None else last_three((), base.layers)
    MendRecipe(layers=chosen)  # refuses what no recipe could name
    require_layers(chosen, base)
    settings = Settings(layers=chosen, published=published, matrices=matrices)
    matrices_of(session.materialiser.architecture, chosen, matrices)  # refuses what is not known
    records = sourced(facts)
    require_room(session, records)
    used = tuple(one.fact for one in records if one.duplicate_of is None)
    require_enough(len(used))
    session.require_base()
    return TrainingPlan(used, settings if steps is None else replace(settings, steps=steps), seed)


def train_mend(
    session: Session,
    facts: Facts,
    *,
    layers: Sequence[int] | None,
    steps: int | None,
    seed: int,
    published: bool = False,
    matrices: Matrices = "mlp",
    remark: Callable[[str], None] | None = None,
) -> Trained:
    """Train an editor, store it, and put it into config.toml."""
    plan = plan_mend(
        session, facts, layers=layers, steps=steps, seed=seed, published=published,
        matrices=matrices,
    )  # fmt: skip

    def watch(step: int, metrics: EditorMetrics) -> None:
        if remark is not None:
            remark(f"step {step}: {words(metrics)}")

    trained = train(
        session.base_model(), plan.facts, plan.settings,
        seed=plan.seed, progress=session.progress, watch=watch,
    )  # fmt: skip
    origin = {
        "base": session.materialiser.base.id,
        "edit_set": digest_of(sorted(fact.id for fact in plan.facts)),
    }
    editor = replace(trained, origin={**trained.origin, **origin})
    plumbing = session.repository
    stored = plumbing.store.put(editor.to_bytes())
    done = Trained(stored, editor.layers, editor.origin["steps"], editor.origin["figures"])
    plumbing.set_config(EDITOR, stored)
    return done


def words(metrics: EditorMetrics) -> str:
    """The shares of a judgement, for people."""
    return (
        f"{metrics.success:.1f}% of edits hold, {metrics.paraphrase:.1f}% in another wording, "
        f"{metrics.locality:.1f}% of prompts beside them unchanged"
    )

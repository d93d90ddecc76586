"""The linear solution of gated edits: what an adapter can hold of them.

A gated edit keeps the key that the down projection of its layer gets at the subject, and the value
that it adds to the output there. That is what MEMIT's equation asks of an edit in one layer, so a
set of them is solved as located edits are, and nothing is located again. What a gate kept from
other names, a linear map does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from editvc.algebra.delta import Delta
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.preconditioners import Preconditioner
from editvc.algebra.solvers import solver_of
from editvc.core.history import Tree
from editvc.core.methods.locate import LocatedRecipe
from editvc.editing.kept_values import edits_of
from editvc.evaluation.probes import predicts
from editvc.models.tokenization import tokenize
from editvc.models.weights import edited
from editvc.porcelain.export_lora import export_adapter
from editvc.porcelain.export_result import Documents, Export
from editvc.session.choose_recipe import choose
from editvc.session.commit_plan import require_ready
from editvc.session.session import Session
from editvc.session.trees import checked_facts

METHOD = next(iter(LocatedRecipe.ROWS))
"""The first of those that locate: MEMIT."""


def export_linear(
    session: Session,
    target: Path,
    tree: Tree,
    revision: str,
    rank: int | None,
    replace: bool,
    documents: Documents | None,
) -> Export:
    """An adapter with the linear solution in the place of gates, and how many facts it says."""
    delta = linear_delta(session, tree)
    done = export_adapter(session, target, tree, delta, revision, rank, replace, documents)
    facts = checked_facts(session, revision)
    lm = session.base_model()
    with edited(lm, delta):
        prompts = [prompt for (prompt,) in tokenize(lm.tokenizer, [one.request for one in facts])]
        said = sum(predicts(lm, prompts))
    gates = len(session.materialiser.elements.gated(tree))
    return dataclasses.replace(
        done,
        checks=(*done.checks, f"{said} of {len(facts)} facts that were asked are said"),
        notes=(
            *done.notes,
            f"{gates} gated edit{'' if gates == 1 else 's'} solved linearly, by {METHOD}: unlike "
            "gates, they reach other names, too (`editvc health` of such a set tells how much)",
        ),
    )


def linear_delta(session: Session, tree: Tree) -> Delta:
    """The delta of a tree with its gated edits solved by :data:`METHOD`, in the layers they are of.

    The method's numbers and statistics are the repository's. Raises
    :class:`editvc.materialise.stored_statistics.LayerNotCovered`.
    """
    materialiser = session.materialiser
    by_layer: dict[int, list[GatedEdit]] = {}
    for one in materialiser.elements.gated(tree):
        by_layer.setdefault(one.edit.layer, []).append(one.edit)
    total = materialiser.delta(tree)
    for layer, edits in sorted(by_layer.items()):
        recipe = choose(session, METHOD, [f"layers=[{layer}]"]).recipe
        require_ready(session, recipe)
        assert isinstance(recipe, LocatedRecipe), "METHOD is one that locates"
        total = total + solved(edits, recipe, materialiser.preconditioners.of_layer(recipe, layer))
    return total


def solved(
    edits: Sequence[GatedEdit], recipe: LocatedRecipe, preconditioner: Preconditioner
) -> Delta:
    """Gated edits of one layer, in the order given, by the recipe's solver."""
    asked = edits_of(edits, recipe, preconditioner)
    system = solver_of(recipe).system(asked, preconditioner)
    return Delta({edits[0].layer: system.solution})

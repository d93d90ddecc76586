"""A row of the table of methods: target x spread x solver, or a patch, a codebook, a gate.

A *located* method makes a fact into keys and residuals, which a solver turns into weights for the
whole set at once. A *patch* is an opaque change of the weights that is added as it is. A *codebook*
leaves the weights alone and answers through hooks. A *gate* adds neurons beside those that
are there. All four are elements of the set of edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from editvc.core.edit_site import EditSite

Element = Literal["located", "patch", "codebook", "gate"]

Need = Literal["statistics", "editor", "inputs"]
"""What a maker takes from the repository: second moments of keys, a trained editor, or statistics
of what MLPs see."""

Layers = tuple[int, ...]

_TARGETS: Mapping[EditSite | None, str] = {
    EditSite.BLOCK_OUTPUT: "memit",
    EditSite.MLP_OUTPUT: "rome",
    EditSite.ATTENTION_AND_MLP: "pmet",
    None: "gradient",
}
"""Targets by the method that introduced them, as `editvc methods --json` has them."""


def layers_in_force(in_force: Layers, depth: int) -> Layers:
    """The layers of the recipe in config.toml."""
    return in_force


@dataclass(frozen=True, slots=True)
class Foreign:
    """How hyper-parameter files of other tools (ROME's, MEMIT's, EasyEdit's) have a method.

    ``algorithms`` are what they call it, in capitals. ``sign`` is a key that tells whose a file is
    that does not say so; where it is in the files of another method, too, it is ``shared``, and
    looked for after all others. ``unread`` are keys of such files that the method's code reads
    nowhere, or to no effect; ``required`` are keys that have one meaning here: another value is an
    error. ``renamed`` are keys by editvc's names. ``may_be_false`` are numbers that they write as
    false for 0. ``adds`` is what editvc adds to the method, taken away again for a file that knows
    nothing of it. ``instead`` names the method that a file is of where it sets a number.
    """

    algorithms: tuple[str, ...] = ()
    sign: str | None = None
    shared: bool = False
    unread: frozenset[str] = frozenset()
    required: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    may_be_false: tuple[str, ...] = ()
    adds: Mapping[str, Any] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values of a recipe, such as those that a paper prints.

    ``source`` says whose they are, with the equations. ``values`` come over the row's numbers and
    under what is said on the command line. With ``contexts``, so many are sampled from the base,
    the empty one included, in the place of the repository's. All ends as literal values in the
    recipe: no id depends on the name.
    """

    source: str
    values: Mapping[str, Any] = field(default_factory=dict)
    contexts: int = 0


@dataclass(frozen=True, slots=True)
class Method:
    """One row. ``maker`` is ``module:function`` of what makes elements of facts, if anything does.

    ``needs`` is what the maker takes from the repository. ``single``: it edits one layer;
    ``default_layers`` are those it edits where nobody names any, from those of the recipe in force
    and the depth of the model. ``default_from`` is how many blocks a model has at least for which
    it is the method of new repositories; none where it never is.

    ``numbers`` are the hyper-parameters that mean something to a located method, with its defaults;
    for other methods those that differ from their recipe's own. Those of ``wide`` are to be
    multiplied by v, the inner size of the MLP: a key drawn from those that a moment was made of has
    ``k^T C^-1 k = v`` in the mean, so such weights let edits share a layer in the same way in a
    model of any width. Those of ``behind_norm`` begin otherwise where a target can only be for the
    down projection's own output.

    ``edit_site`` is where in a block its targets are searched for
    (:mod:`editvc.editing.target_search`), none where nothing is searched for. Of a located method:
    ``spread`` and
    ``solver`` are names in :mod:`editvc.editing.layer_spread` and :mod:`editvc.algebra.solvers`;
    ``preconditioner`` is what the solver weighs edits against
    (:mod:`editvc.materialise.stored_preconditioners`). ``keys`` says how a key is made of its
    contexts, and ``reference`` what a target is compared with
    (:mod:`editvc.editing.published_forms`).

    ``published`` names the equations of the paper where the row is what the paper prints; it is
    empty where editvc adds or changes something, and ``differs`` says what. ``forms`` are other
    readings of the paper by name: the parts of the row that a recipe of that form has otherwise.
    ``presets`` are sets of values by name.
    """

    name: str
    summary: str
    paper: str
    element: Element = "located"
    maker: str = ""
    needs: tuple[Need, ...] = ()
    single: bool = False
    default_layers: Callable[[Layers, int], Layers] = layers_in_force
    default_from: int | None = None
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    wide: Mapping[str, float] = field(default_factory=dict)
    behind_norm: Mapping[str, float] = field(default_factory=dict)
    edit_site: EditSite | None = None
    spread: str = ""
    solver: str = ""
    preconditioner: str = ""
    keys: str = "halved"
    reference: str = "refreshed"
    published: str = ""
    differs: str = ""
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)
    foreign: Foreign = Foreign()

    @property
    def target(self) -> str:
        """What a located method's targets are called; empty for others."""
        return _TARGETS[self.edit_site] if self.element == "located" else ""

    @property
    def own(self) -> set[str]:
        """The names of its numbers."""
        return {*self.numbers, *self.wide}

    def numbers_for(self, inner_size: int, *, normed: bool = False) -> dict[str, float | int]:
        """Its hyper-parameters and their defaults in a model whose MLPs are v wide.

        ``normed`` says whether what a down projection gives arrives through a norm.
        """
        scaled = {name: round(share * inner_size, 3) for name, share in self.wide.items()}
        return {**self.numbers, **scaled, **(self.behind_norm if normed else {})}


def by_name(rows: Iterable[Method]) -> Mapping[str, Method]:
    """Rows by the names of their methods."""
    return {row.name: row for row in rows}

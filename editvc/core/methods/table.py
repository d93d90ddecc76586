"""Every method as a row of one table: target x spread x solver, or a patch, or a codebook.

A *located* method makes a fact into keys and residuals, which a solver turns into weights for the
whole set at once. A *patch* is an opaque change of the weights that is added as it is. A *codebook*
leaves the weights alone and answers through hooks. All three are elements of the set of edits.

What the parts of a row mean is said where they are computed: targets in
:mod:`editvc.editing.target_search`, spreads in :mod:`editvc.editing.layer_spread`, solvers in
:mod:`editvc.algebra.solvers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from editvc.core.spelling import did_you_mean
from editvc.errors import EditvcError

Element = Literal["located", "patch", "codebook"]


class UnknownMethod(EditvcError):
    """A name that is in no row of the table."""

    def __init__(self, name: str) -> None:
        named = did_you_mean(name, METHODS) or f"Methods: {', '.join(METHODS)}."
        super().__init__(
            f"unknown method {name!r}", hint=f"{named} `editvc methods` tells what they are."
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class Method:
    """One row. ``numbers`` are the hyper-parameters that mean something to it, with defaults.

    Those of ``wide`` are to be multiplied by v, the inner size of the MLP: a key drawn from those
    that a moment was made of has ``k^T C^-1 k = v`` in the mean, so such weights let edits share a
    layer in the same way in a model of any width. ``target``, ``spread`` and ``solver`` are empty
    for what is no located method. ``single``: it edits one layer.
    """

    name: str
    summary: str
    paper: str
    element: Element = "located"
    target: str = ""
    spread: str = ""
    solver: str = ""
    single: bool = False
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    wide: Mapping[str, float] = field(default_factory=dict)

    def numbers_for(self, inner_size: int) -> dict[str, float | int]:
        """Its hyper-parameters and their defaults in a model whose MLPs are v wide."""
        scaled = {name: round(share * inner_size, 3) for name, share in self.wide.items()}
        return {**self.numbers, **scaled}


SEARCH: Mapping[str, float | int] = {
    "v_num_grad_steps": 25,
    "v_lr": 0.5,
    "v_loss_threshold": 0.05,
    "v_weight_decay": 0.5,
    "clamp_norm_factor": 0.75,
    "kl_factor": 0.0625,
    "norm_anchor": 0.0,
}
"""The numbers of the search for a target, as MEMIT's files have them."""

OURS: Mapping[str, float | int] = {
    "sensitivity_floor": 0.05,
    "sensitivity_power": 0.25,
    "v_num_grad_steps": 20,
    "v_lr": 0.5,
    "v_loss_threshold": 0.05,
    "v_weight_decay": 0.5,
    "clamp_norm_factor": 0.85,
    "kl_factor": 0.0625,
    "norm_anchor": 0.0,
    "delivery_factor": 0.83,
    "compensation": 1.0,
}
"""MEMIT's numbers and those that editvc adds to it (docs/adr/0006 to 0008)."""

GUARDED: Mapping[str, float] = {"mom2_update_weight": 0.05, "entity_update_weight": 0.25}
"""The weights of ordinary text and of entity keys; less than published, for edits ask for more."""

_ROWS = (
    Method(
        "memit",
        "target on the layer output, shared by the layers, least squares over the set (default)",
        "Meng et al. 2023, Mass-Editing Memory in a Transformer, arXiv 2210.07229",
        target="memit",
        spread="even",
        solver="ridge",
        numbers=OURS,
        wide=GUARDED,
    ),
    Method(
        "d4s",
        "memit kept as two dense sums, for sets far larger than the MLP is wide",
        "Huang et al. 2024, Reasons and Solutions for the Decline in Model Performance after "
        "Editing, arXiv 2410.23843",
        target="memit",
        spread="even",
        solver="sums",
        numbers=OURS,
        wide=GUARDED,
    ),
    Method(
        "rome",
        "target on the MLP output of one layer, met exactly",
        "Meng et al. 2022, Locating and Editing Factual Associations in GPT, arXiv 2202.05262; "
        "keys as in Gupta et al. 2024, Rebuilding ROME, arXiv 2403.07175",
        target="rome",
        spread="even",
        solver="equality",
        single=True,
        numbers={
            **SEARCH,
            "v_num_grad_steps": 20,
            "clamp_norm_factor": 4.0,
            "compensation": 1.0,
        },
    ),
    Method(
        "emmet",
        "memit's targets, met exactly by the whole set at once",
        "Gupta et al. 2024, A Unified Framework for Model Editing, arXiv 2403.14236",
        target="memit",
        spread="even",
        solver="equality",
        numbers=SEARCH,
    ),
    Method(
        "pmet",
        "targets on attention and MLP output together, the MLP's kept; roots of shares",
        "Li et al. 2024, PMET: Precise Model Editing in a Transformer, arXiv 2308.08742",
        target="pmet",
        spread="root",
        solver="ridge",
        numbers={**SEARCH, "kl_factor": 1.0},
        wide={"mom2_update_weight": 0.065},
    ),
    Method(
        "adaple",
        "pmet's targets, every edit weighed twice; goes with `editvc compact --drop`",
        "Li and Chu 2024, Can We Continually Edit Language Models?, Findings of ACL 2024",
        target="pmet",
        spread="root",
        solver="doubled",
        numbers={**SEARCH, "kl_factor": 1.0},
        wide={"mom2_update_weight": 0.065},
    ),
    Method(
        "alphaedit",
        "memit's targets, solved in the null space of ordinary keys",
        "Fang et al. 2025, AlphaEdit: Null-Space Constrained Knowledge Editing, arXiv 2410.02355",
        target="memit",
        spread="even",
        solver="nullspace",
        numbers={**SEARCH, "nullspace_threshold": 0.02, "l2": 10.0},
    ),
    Method(
        "ultraedit",
        "no search: key and output gradient of one pass, normalised over the set",
        "Gu et al. 2025, UltraEdit, arXiv 2505.14679",
        target="gradient",
        spread="own",
        solver="normalised",
        numbers={"lr": 1e-6},
    ),
    Method(
        "ft",
        "fine-tune one MLP down projection",
        "Zhu et al. 2020, Modifying Memories in Transformer Models, arXiv 2012.00363",
        element="patch",
        single=True,
    ),
    Method(
        "ft-c",
        "ft within an L-infinity bound of the base's weights",
        "Zhu et al. 2020, Modifying Memories in Transformer Models, arXiv 2012.00363",
        element="patch",
        single=True,
    ),
    Method(
        "mend",
        "a trained network turns the gradient of a fact into a change (`editvc train mend`)",
        "Mitchell et al. 2022, Fast Model Editing at Scale, arXiv 2110.11309",
        element="patch",
    ),
    Method(
        "kn",
        "move the value vectors of the neurons that integrated gradients find",
        "Dai et al. 2022, Knowledge Neurons in Pretrained Transformers, arXiv 2104.08696",
        element="patch",
    ),
    Method(
        "lora",
        "a PEFT adapter or the difference of two checkpoints, for no fact (`editvc import`)",
        "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685",
        element="patch",
    ),
    Method(
        "grace",
        "a codebook of keys, values and radii at one layer; no weight changes",
        "Hartvigsen et al. 2023, Aging with GRACE, arXiv 2211.11031",
        element="codebook",
        single=True,
    ),
)

METHODS: Mapping[str, Method] = {row.name: row for row in _ROWS}
"""The table, by name."""


def method_of(name: str) -> Method:
    """The row of a method. Raises :class:`UnknownMethod`."""
    if name not in METHODS:
        raise UnknownMethod(name)
    return METHODS[name]

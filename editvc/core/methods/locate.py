"""The located methods: a fact becomes keys and residuals, and a solver makes weights of the set.

A method is a row: where its targets are, how they are spread over the layers, and how the set is
solved. The algorithm is :mod:`editvc.editing.locate` for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from editvc.core.edit_site import EditSite
from editvc.core.ids import ObjectId
from editvc.core.methods.method import Foreign, Method, Preset, by_name
from editvc.core.methods.recipe import Recipe, RecipeError
from editvc.core.settings import (
    OPTIONAL_OBJECT,
    TEXT,
    TEXTS,
    Number,
    number,
    setting,
)

MEMIT_DEFAULTS: Mapping[str, float | int] = {
    "v_num_grad_steps": 25,
    "v_lr": 0.5,
    "v_loss_threshold": 0.05,
    "v_weight_decay": 0.5,
    "clamp_norm_factor": 0.75,
    "kl_factor": 0.0625,
    "norm_anchor": 0.0,
}
"""The numbers of the search for a target, as MEMIT's files have them."""

EDITVC_DEFAULTS: Mapping[str, float | int] = {
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

WEIGHTS: Mapping[str, float] = {"mom2_update_weight": 0.05, "entity_update_weight": 0.25}
"""The weights of ordinary text and of entity keys; less than published, for edits ask for more."""

OWN_OUTPUT_CLAMP = 4.0
"""``clamp_norm_factor`` for targets of a down projection's own output, as ROME's files have it."""

AS_PUBLISHED: Mapping[str, float | None] = {
    "compensation": 0.0,
    "delivery_factor": 1.0,
    "entity_update_weight": 0.0,
    "entity_statistics": None,
    "sensitivity": None,
}
"""What editvc adds to MEMIT, taken away again for a file that knows nothing of it."""

PUBLISHED_NUMBERS: Mapping[str, Any] = {
    **MEMIT_DEFAULTS,
    **AS_PUBLISHED,
    "mom2_update_weight": 15000.0,
}
"""MEMIT's own: its files' numbers, its lambda, and nothing of what editvc adds."""

GUPTA = "Gupta et al. 2024, Model Editing at Scale leads to Gradual and Catastrophic Forgetting"

ONE_MEANING: Mapping[str, str] = {"fact_token": "subject_last", "layer_selection": "all"}
"""Keys of the files of all these methods that have one meaning here."""

located = partial(Method, maker="editvc.editing.locate:make_elements")
by_least_squares = partial(located, needs=("statistics",), preconditioner="covariance")

_ROWS = (
    by_least_squares(
        "memit",
        "target on the layer output, shared by the layers, least squares over the set (default of "
        "small models)",
        "Meng et al. 2023, Mass-Editing Memory in a Transformer, arXiv 2210.07229",
        default_from=0,
        edit_site=EditSite.BLOCK_OUTPUT,
        behind_norm={"clamp_norm_factor": OWN_OUTPUT_CLAMP},
        spread="even",
        solver="ridge",
        numbers=EDITVC_DEFAULTS,
        wide=WEIGHTS,
        differs="compensation, delivery, entity keys and shaped targets are editvc's",
        presets={"paper": Preset("MEMIT, equations 14 to 20", PUBLISHED_NUMBERS)},
        foreign=Foreign(("MEMIT",), "mom2_update_weight", required=ONE_MEANING, adds=AS_PUBLISHED),
    ),
    by_least_squares(
        "d4s",
        "memit kept as two dense sums, for sets far larger than the MLP is wide",
        "Huang et al. 2024, Reasons and Solutions for the Decline in Model Performance after "
        "Editing, arXiv 2410.23843",
        edit_site=EditSite.BLOCK_OUTPUT,
        behind_norm={"clamp_norm_factor": OWN_OUTPUT_CLAMP},
        spread="even",
        solver="sums",
        numbers=EDITVC_DEFAULTS,
        wide=WEIGHTS,
        differs="memit's numbers, and residuals from h^L with the layers below edited",
        forms={"printed": {"reference": "base", "keys": "mean"}},
        presets={
            "paper": Preset(
                "D4S, equations 3 to 5 and 8 to 11; numbers of MEMIT's files",
                {**PUBLISHED_NUMBERS, "form": "printed"},
            )
        },
        foreign=Foreign(("D4S",), adds=AS_PUBLISHED),
    ),
    by_least_squares(
        "rome",
        "target on the MLP output of one layer, met exactly",
        "Meng et al. 2022, Locating and Editing Factual Associations in GPT, arXiv 2202.05262; "
        "keys as in Gupta et al. 2024, Rebuilding ROME, arXiv 2403.07175",
        edit_site=EditSite.MLP_OUTPUT,
        spread="even",
        solver="equality",
        single=True,
        numbers={
            **MEMIT_DEFAULTS,
            "v_num_grad_steps": 20,
            "clamp_norm_factor": OWN_OUTPUT_CLAMP,
            "compensation": 1.0,
        },
        differs="keys symmetric (R-ROME); several in a tree are solved together",
        forms={
            "published": {"keys": "asymmetric"},
            "without-c": {"keys": "asymmetric", "preconditioner": "identity", "needs": ()},
        },
        presets={
            "paper": Preset(
                f"ROME, equation 2; numbers of {GUPTA}, A.6.1",
                {"form": "published", "v_lr": 0.5, "v_weight_decay": 1.5e-3, "kl_factor": 1.0},
                contexts=50,
            ),
            "without-c": Preset(
                "ROME with C the identity, as Lin et al. D.1 have it", {"form": "without-c"}
            ),
        },
        foreign=Foreign(("ROME", "R-ROME")),
    ),
    by_least_squares(
        "emmet",
        "memit's targets, met exactly by the whole set at once",
        "Gupta et al. 2024, A Unified Framework for Model Editing, arXiv 2403.14236",
        edit_site=EditSite.BLOCK_OUTPUT,
        behind_norm={"clamp_norm_factor": OWN_OUTPUT_CLAMP},
        spread="even",
        solver="equality",
        numbers=MEMIT_DEFAULTS,
        published="equation 9, with emmet_lambda 0.1",
        foreign=Foreign(("EMMET",)),
    ),
    by_least_squares(
        "pmet",
        "targets on attention and MLP output together, the MLP's kept; roots of shares",
        "Li et al. 2024, PMET: Precise Model Editing in a Transformer, arXiv 2308.08742",
        edit_site=EditSite.ATTENTION_AND_MLP,
        spread="root",
        solver="ridge",
        numbers={**MEMIT_DEFAULTS, "kl_factor": 1.0},
        wide={"mom2_update_weight": 0.065},
        published="equations 8 to 13; lambda by the width of the MLP",
        foreign=Foreign(("PMET",)),
    ),
    by_least_squares(
        "adaple",
        "pmet's targets, every edit weighed twice; goes with `editvc compact --drop`",
        "Li and Chu 2024, Can We Continually Edit Language Models?, Findings of ACL 2024",
        edit_site=EditSite.ATTENTION_AND_MLP,
        spread="root",
        solver="doubled",
        numbers={**MEMIT_DEFAULTS, "kl_factor": 1.0},
        wide={"mom2_update_weight": 0.065},
        differs="a repair: V2 = 2 V + W0 K, since as printed edits do not take",
        forms={
            "printed": {"solver": "counted", "reference": "tripled", "keys": "mean"},
            "algorithm1": {"solver": "counted", "reference": "accumulated", "keys": "mean"},
        },
        presets={
            "paper": Preset("AdaPLE, equations 4, 25 and 26", {"form": "printed"}),
            "algorithm1": Preset("AdaPLE, Algorithm 1", {"form": "algorithm1"}),
        },
        foreign=Foreign(("ADAPLE",)),
    ),
    by_least_squares(
        "alphaedit",
        "memit's targets, solved in the null space of ordinary keys",
        "Fang et al. 2025, AlphaEdit: Null-Space Constrained Knowledge Editing, arXiv 2410.02355",
        edit_site=EditSite.BLOCK_OUTPUT,
        behind_norm={"clamp_norm_factor": OWN_OUTPUT_CLAMP},
        spread="even",
        solver="nullspace",
        preconditioner="nullspace",
        numbers={**MEMIT_DEFAULTS, "nullspace_threshold": 0.02, "l2": 10.0},
        published="equation 14, over the keys of the set",
        foreign=Foreign(("ALPHAEDIT",), renamed={"L2": "l2"}),
    ),
    located(
        "ultraedit",
        "no search: key and output gradient of one pass, normalised over the set",
        "Gu et al. 2025, UltraEdit, arXiv 2505.14679",
        spread="own",
        solver="normalised",
        preconditioner="identity",
        numbers={"lr": 1e-6},
        differs="normalised over the set and not over what has arrived; down projections alone",
        foreign=Foreign(
            ("ULTRAEDIT",), unread=frozenset({"token", "batch_size_once", "editor_batch_size"})
        ),
    ),
)

ROWS = by_name(_ROWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedRecipe(Recipe):
    """How facts are located and solved. Names are those of ROME's and MEMIT's files.

    Targets are taken after the last of the ``layers``. ``mom2_update_weight`` is lambda for the
    second moment of ordinary text (``statistics``), ``entity_update_weight`` the one for entity
    keys (``entity_statistics``). ``contexts`` are the prefixes, each with one ``{}``, that keys and
    targets are averaged over, stored here literally, so that a recipe means the same on every
    machine. ``sensitivity`` names the Fisher information that targets are shaped by
    (with its ``floor`` and ``power``); without it they are MEMIT's. ``statistics`` are None where
    they were put off (`editvc init --later`): no edit that needs them is made with such a recipe.
    ``compensation`` and ``delivery_factor``: :mod:`editvc.editing.layer_spread`.

    A recipe has the numbers of its method's row and no others: only these count for its id, and
    setting another one is an error. A number that the method does not know stands at what changes
    nothing: C as it is, shares as they are.

    ``form`` names another reading of the method's paper (``forms`` of its row); it is written only
    where there is one.
    """

    ROWS: ClassVar[Mapping[str, Method]] = ROWS
    COMMON: ClassVar[tuple[str, ...]] = (
        "layers", "contexts", "statistics", "entity_statistics", "sensitivity", "method",
    )  # fmt: skip

    method: str = setting(TEXT, "memit")
    contexts: tuple[str, ...] = setting(TEXTS, portable=False)
    statistics: ObjectId | None = setting(OPTIONAL_OBJECT, refers_to="statistics", portable=False)
    entity_statistics: ObjectId | None = setting(
        OPTIONAL_OBJECT, None, refers_to="statistics", counts_with="entity_update_weight",
        portable=False,
    )  # fmt: skip
    sensitivity: ObjectId | None = setting(
        OPTIONAL_OBJECT, None, refers_to="statistics", counts_with="sensitivity_power",
        portable=False,
    )  # fmt: skip
    mom2_update_weight: float = number(
        76.8, above=0, neutral=1.0, help="lambda: the weight of the text statistics"
    )
    entity_update_weight: float = number(
        384.0, neutral=0.0, help="the weight of the entity statistics"
    )
    sensitivity_floor: float = number(
        0.05, above=0, high=1, help="share of the identity in B: 1 leaves targets unshaped"
    )
    sensitivity_power: float = number(
        0.25, help="how strongly targets are shaped: 0 leaves them unshaped"
    )
    v_num_grad_steps: int = number(20, low=1, help="most evaluations of the target's loss")
    v_lr: float = number(0.5, above=0, help="Adam's learning rate")
    v_loss_threshold: float = number(0.05, help="below it, an edit stops")
    v_weight_decay: float = number(0.5, help="weight of the squared norm of the target's change")
    clamp_norm_factor: float = number(
        0.85, above=0, help="largest norm of that change, relative to the hidden state's"
    )
    kl_factor: float = number(
        0.0625, help="weight of the term that holds the next word after the subject"
    )
    norm_anchor: float = number(
        0.0,
        high=1,
        help="how far a target is brought back to the length of its hidden state (NAS); "
        "1 is wholly",
    )
    delivery_factor: float = number(
        0.83,
        above=0,
        high=1,
        neutral=1.0,
        help="share of what a layer gives an edit alone that it is taken to give among others",
    )
    compensation: float = number(
        1.0,
        neutral=0.0,
        help="how far a residual makes up for what the solver leaves undone; "
        "0 is MEMIT as published",
    )
    nullspace_threshold: float = number(
        0.02, help="alphaedit alone: eigenvalues of C below it are free"
    )
    l2: float = number(10.0, above=0, help="alphaedit alone: its ridge")
    lr: float = number(1e-6, above=0, help="ultraedit alone: its step")
    form: str = setting(TEXT, "", configured=False)

    def _require_method(self) -> None:
        """Raise where a number is set that the method does not know, and make it neutral."""
        Recipe._require_method(self)  # super() does not know a class with slots
        if self.form and self.form not in self.row.forms:
            raise RecipeError(
                f"{self.method} has no form {self.form!r}",
                hint=f"Its forms: {', '.join(self.row.forms) or 'none but the one'}.",
            )
        for name, declared in self.settings().items():
            if name in self.row.own or name in self.COMMON or name == "form":
                continue
            assert isinstance(declared, Number), "all else is in COMMON"
            neutral = declared.default if declared.neutral is None else declared.neutral
            if getattr(self, name) not in (declared.default, neutral):
                raise RecipeError(
                    f"{name} means nothing to {self.method}",
                    hint=f"The numbers of {self.method}: {', '.join(sorted(self.row.own))}. If "
                    f"config.toml sets others, `editvc config recipe.method {self.method}` takes "
                    "them out.",
                )
            object.__setattr__(self, name, neutral)
        for name, declared in self.settings().items():
            if declared.counts_with and declared.counts_with not in self.row.own:
                object.__setattr__(self, name, None)

    @property
    def row(self) -> Method:
        """The row of the recipe's method, in the recipe's form."""
        row = self.ROWS[self.method]
        return replace(row, **row.forms[self.form]) if self.form in row.forms else row

    @classmethod
    def keys_of(cls, row: Method) -> tuple[str, ...]:
        """Those that every located method has, and the numbers of the row."""
        known = {*cls.COMMON, *row.own} | ({"form"} if row.forms else set())
        return tuple(name for name in cls.settings() if name in known)

    def to_json(self) -> dict[str, Any]:
        """The canonical form: without a ``form`` as before there were any."""
        record = Recipe.to_json(self)
        return record if self.form else {key: record[key] for key in record if key != "form"}


RECIPE = LocatedRecipe

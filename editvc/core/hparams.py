"""Hyper-parameter files of other tools: ROME's and MEMIT's JSON, EasyEdit's YAML, as they are.

Such a file names modules, data sets and devices beside the numbers of a method. Here modules come
from the architecture table and moments from the repository's statistics, so these keys are set
aside; a key that means something else than editvc does is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editvc.core.methods import METHODS
from editvc.core.recipe import RecipeError

ALGORITHMS = {
    "ROME": "rome",
    "R-ROME": "rome",
    "MEMIT": "memit",
    "D4S": "d4s",
    "EMMET": "emmet",
    "PMET": "pmet",
    "ADAPLE": "adaple",
    "ALPHAEDIT": "alphaedit",
    "ULTRAEDIT": "ultraedit",
    "FT": "ft",
    "MEND": "mend",
    "KN": "kn",
    "GRACE": "grace",
}
"""``alg_name`` of EasyEdit's files, in capitals, by editvc's name."""

RENAMED = {"L2": "l2"}

ELSEWHERE = frozenset(
    """
    alg_name model_name model_class tokenizer_class tokenizer_name device model_parallel fp16 bf16
    stats_dir P_loc rewrite_module_tmp layer_module_tmp mlp_module_tmp attn_module_tmp ln_f_module
    lm_head_module inner_params mom2_dataset mom2_n_samples mom2_dtype v_loss_layer max_length
    context_template_length_params batch_size objective_optimization results_dir nll_loss_factor
    update_norm_lambda emmet_lambda rewrite_module_tmps mlp_out_module_tmp attn_out_module_tmp
    enable_cache val_init val_reg reg num_pert dropout
    """.split()  # noqa: SIM905
)
"""What editvc takes from the architecture table, the statistics or the command line instead."""

UNREAD = {
    "ft": frozenset({"kl_factor"}),
    "ft-c": frozenset({"kl_factor"}),
    "kn": frozenset({"lr_scale", "n_toks", "refine"}),
}
"""Keys that files of a method have and its code reads nowhere, or, as ``refine`` over the one
prompt of a request, to no effect."""

REQUIRED = {
    "fact_token": "subject_last",
    "layer_selection": "all",
    "mom2_adjustment": True,
    "dist_fn": "euc",
    "eps_expand": "coverage",
    "replacement": "replace_last",
    "val_train": "sgd",
}
"""Keys that have one meaning here: another value is an error."""

AS_PUBLISHED: Mapping[str, Any] = {
    "compensation": 0.0,
    "delivery_factor": 1.0,
    "entity_update_weight": 0.0,
    "entity_statistics": None,
    "sensitivity": None,
}
"""What editvc adds to MEMIT, taken away again for a file that knows nothing of it."""


@dataclass(frozen=True, slots=True)
class HyperParameters:
    """A file as read: the method, its numbers under editvc's names, and the keys set aside."""

    method: str
    numbers: Mapping[str, Any]
    aside: tuple[str, ...]


def read_hparams(record: Mapping[str, Any], method: str | None = None) -> HyperParameters:
    """Read the keys and values of such a file.

    ``method`` says which one it is for where the file has no ``alg_name``; without either, a file
    with ``mom2_update_weight`` is MEMIT's and any other ROME's. Raises :class:`RecipeError`.
    """
    name = method or _named(record)
    for key, wanted in REQUIRED.items():
        if key in record and record[key] != wanted:
            raise RecipeError(
                f"{key} is {record[key]!r}; editvc does {wanted!r} only",
                hint=f"Set {key}: {wanted} in the file, or leave it out.",
            )
    idle = ELSEWHERE | REQUIRED.keys() | UNREAD.get(name, frozenset())
    aside = tuple(sorted(record.keys() & idle))
    numbers = {RENAMED.get(key, key): value for key, value in record.items() if key not in aside}
    if numbers.get("norm_constraint") is False:
        numbers["norm_constraint"] = 0.0
    if name == "ft" and numbers.get("norm_constraint"):
        name = "ft-c"
    ours = "delivery_factor" in METHODS[name].numbers
    return HyperParameters(name, {**(AS_PUBLISHED if ours else {}), **numbers}, aside)


def _named(record: Mapping[str, Any]) -> str:
    told = record.get("alg_name")
    if told is None:
        return "memit" if "mom2_update_weight" in record else "rome"
    if str(told).upper() not in ALGORITHMS:
        raise RecipeError(
            f"alg_name {told!r} is no method of editvc",
            hint="`editvc methods` lists them; --method NAME takes the file for another one.",
        )
    return ALGORITHMS[str(told).upper()]

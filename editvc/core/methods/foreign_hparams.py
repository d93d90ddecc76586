"""Hyper-parameter files of other tools: ROME's and MEMIT's JSON, EasyEdit's YAML, as they are.

Such a file names modules, data sets and devices beside the numbers of a method. Here modules come
from the architecture table and moments from the repository's statistics, so these keys are set
aside; a key that means something else than editvc does is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import METHODS, method_of
from editvc.core.spelling import did_you_mean

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
    alg_name alg model_name model_class tokenizer_class tokenizer_name device model_parallel fp16
    bf16
    stats_dir P_loc rewrite_module_tmp layer_module_tmp mlp_module_tmp attn_module_tmp ln_f_module
    lm_head_module inner_params mom2_adjustment mom2_dataset mom2_n_samples mom2_dtype v_loss_layer
    max_length silent half no_grad_layers
    context_template_length_params batch_size objective_optimization results_dir nll_loss_factor
    update_norm_lambda emmet_lambda rewrite_module_tmps mlp_out_module_tmp attn_out_module_tmp
    enable_cache archive val_init val_reg reg num_pert dropout
    """.split()  # noqa: SIM905
)
"""What editvc takes from the architecture table, the statistics or the command line instead."""

UNREAD = {
    "ft": frozenset({"kl_factor", "wd_power_law"}),
    "ft-c": frozenset({"kl_factor", "wd_power_law"}),
    "kn": frozenset({"lr_scale", "n_toks", "refine"}),
    "ultraedit": frozenset({"token", "batch_size_once", "editor_batch_size"}),
    "mend": frozenset(
        """
        lr edit_lr lr_lr seed cedit cloc cbase train_base one_sided n_hidden hidden_dim init
        norm combine x_only delta_only act rank mlp_class shared model_save_pt max_epochs max_iters
        log_interval eval_log_interval final_eval val_interval early_stop_patience early_stop_key
        eval_only debug save verbose val_batch_size accumulate_bs val_steps opt grad_clip
        """.split()  # noqa: SIM905
    ),
}
"""Keys that files of a method have and its code reads nowhere, or, as ``refine`` over the one
prompt of a request, to no effect. Those of MEND are of the training, which is a command here."""

TELLING = {
    "mom2_update_weight": "memit",
    "num_steps": "ft",
    "adaptive_threshold": "kn",
    "eps_expand": "grace",
    "edit_lr": "mend",
}
"""A key that tells whose a file without ``alg_name`` is, the first that is there; else ROME's."""

REQUIRED = {
    "fact_token": "subject_last",
    "layer_selection": "all",
    "dist_fn": "euc",
    "eps_expand": "coverage",
    "replacement": "replace_last",
    "val_train": "sgd",
}
"""Keys that have one meaning here: another value is an error."""

NUMBERS = frozenset(key for row in METHODS.values() for key in {*row.numbers, *row.wide})
"""The numbers of any located method."""

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

    ``method`` says which one it is for where the file has no ``alg_name``; without either, its keys
    do (:data:`TELLING`). Raises :class:`RecipeError`.
    """
    name = method or _named(record)
    for key, wanted in REQUIRED.items():
        if key in record and record[key] != wanted:
            raise RecipeError(
                f"{key} is {record[key]!r}; editvc does {wanted!r} only",
                hint=f"Set {key}: {wanted} in the file, or leave it out.",
            )
    row = method_of(name)
    idle = ELSEWHERE | REQUIRED.keys() | UNREAD.get(name, frozenset())
    if row.element == "located":  # EasyEdit's files have numbers that their method does not read
        idle = idle | (NUMBERS - {*row.numbers, *row.wide})
    aside = tuple(sorted(record.keys() & idle))
    numbers = {RENAMED.get(key, key): value for key, value in record.items() if key not in aside}
    for key in numbers.keys() & {"norm_constraint", "weight_decay"}:
        numbers[key] = numbers[key] or 0.0  # false, in their files
    if name == "ft" and numbers.get("norm_constraint"):
        name = "ft-c"
    ours = "delivery_factor" in row.numbers
    return HyperParameters(name, {**(AS_PUBLISHED if ours else {}), **numbers}, aside)


def _named(record: Mapping[str, Any]) -> str:
    told = record.get("alg_name")
    if told is None:
        return next((name for key, name in TELLING.items() if key in record), "rome")
    if str(told).upper() not in ALGORITHMS:
        guess = did_you_mean(str(told), ALGORITHMS)
        lists = "`editvc methods` lists them; --method NAME takes the file for another one."
        raise RecipeError(
            f"alg_name {told!r} is no method of editvc", hint=f"{guess} {lists}".lstrip()
        )
    return ALGORITHMS[str(told).upper()]

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
from editvc.core.methods.table import METHODS, RECIPES, method_of
from editvc.core.spelling import did_you_mean

ALGORITHMS: Mapping[str, str] = {
    algorithm: name for name, row in METHODS.items() for algorithm in row.foreign.algorithms
}
"""``alg_name`` of EasyEdit's files, in capitals, by editvc's name."""

REQUIRED: Mapping[str, Any] = {
    key: value for row in METHODS.values() for key, value in row.foreign.required.items()
}
"""Keys that have one meaning here: another value is an error, whoever's the file is."""

RENAMED: Mapping[str, str] = {
    key: number for row in METHODS.values() for key, number in row.foreign.renamed.items()
}
"""Keys of such files that editvc calls otherwise."""

MAY_BE_FALSE = frozenset(key for row in METHODS.values() for key in row.foreign.may_be_false)
"""Numbers that such files write as false for 0."""

ELSEWHERE = frozenset(
    """
    alg_name alg model_name model_class class_name tokenizer_class tokenizer_name
    device model_parallel fp16 bf16
    stats_dir P_loc rewrite_module_tmp layer_module_tmp mlp_module_tmp attn_module_tmp ln_f_module
    lm_head_module inner_params mom2_adjustment mom2_dataset mom2_n_samples mom2_dtype v_loss_layer
    max_length silent half no_grad_layers
    context_template_length_params batch_size objective_optimization results_dir nll_loss_factor
    update_norm_lambda emmet_lambda rewrite_module_tmps mlp_out_module_tmp attn_out_module_tmp
    enable_cache archive val_init val_reg reg num_pert dropout
    """.split()  # noqa: SIM905
)
"""What editvc takes from the architecture table, the statistics or the command line instead."""

WITHOUT_SIGN = "rome"
"""Whose a file is that neither says so nor has a key that tells: the oldest files."""


@dataclass(frozen=True, slots=True)
class HyperParameters:
    """A file as read: the method, its numbers under editvc's names, and the keys set aside."""

    method: str
    numbers: Mapping[str, Any]
    aside: tuple[str, ...]


def read_hparams(record: Mapping[str, Any], method: str | None = None) -> HyperParameters:
    """Read the keys and values of such a file.

    ``method`` says which one it is for where the file has no ``alg_name``; without either, its keys
    do (the ``sign`` of rows). Raises :class:`RecipeError`.
    """
    name = method or _named(record)
    for key, only in REQUIRED.items():
        if key in record and record[key] != only:
            raise RecipeError(
                f"{key} is {record[key]!r}; editvc does {only!r} only",
                hint=f"Set {key}: {only} in the file, or leave it out.",
            )
    foreign = method_of(name).foreign
    aside = tuple(sorted(record.keys() & _idle(name)))
    numbers = {RENAMED.get(key, key): value for key, value in record.items() if key not in aside}
    for key in numbers.keys() & MAY_BE_FALSE:
        numbers[key] = numbers[key] or 0.0
    for key, other in foreign.instead.items():
        if numbers.get(key):
            name = other
    return HyperParameters(name, {**foreign.adds, **numbers}, aside)


def _idle(name: str) -> set[str]:
    """The keys that decide nothing in a file of a method."""
    row = method_of(name)
    idle = {*ELSEWHERE, *REQUIRED, *row.foreign.unread}
    if row.element == "located":  # EasyEdit's files have numbers that their method does not read
        cls = RECIPES[name]
        idle |= cls.settings().keys() - set(cls.keys_of(row))
    return idle


def _named(record: Mapping[str, Any]) -> str:
    algorithm = record.get("alg_name")
    if algorithm is None:
        signed = [name for name, row in METHODS.items() if row.foreign.sign in record]
        # GRACE's files have MEND's sign, too.
        signed.sort(key=lambda name: METHODS[name].foreign.shared)
        return signed[0] if signed else WITHOUT_SIGN
    if str(algorithm).upper() not in ALGORITHMS:
        guess = did_you_mean(str(algorithm), ALGORITHMS)
        lists = "`editvc methods` lists them; --method NAME takes the file for another one."
        raise RecipeError(
            f"alg_name {algorithm!r} is no method of editvc", hint=f"{guess} {lists}".lstrip()
        )
    return ALGORITHMS[str(algorithm).upper()]

"""Hyper-parameter files of ROME, MEMIT and EasyEdit, in the shape in which they are published."""

from __future__ import annotations

import itertools

import pytest

from editvc.core.methods.foreign_hparams import read_hparams
from editvc.core.methods.knowledge_neurons import KnowledgeNeuronsRecipe
from editvc.core.methods.locate import AS_PUBLISHED
from editvc.core.methods.recipe import RecipeError
from editvc.core.methods.table import recipe_from_json

MODULES = {
    "rewrite_module_tmp": "transformer.h.{}.mlp.c_proj",
    "layer_module_tmp": "transformer.h.{}",
    "mlp_module_tmp": "transformer.h.{}.mlp",
    "attn_module_tmp": "transformer.h.{}.attn",
    "ln_f_module": "transformer.ln_f",
    "lm_head_module": "transformer.wte",
}
MOMENT = {"mom2_dataset": "wikipedia", "mom2_n_samples": 100000, "mom2_dtype": "float32"}
SEARCH = {
    "clamp_norm_factor": 0.75,
    "fact_token": "subject_last",
    "v_num_grad_steps": 20,
    "v_lr": 0.5,
    "v_loss_layer": 47,
    "v_weight_decay": 0.5,
    "kl_factor": 0.0625,
    "mom2_adjustment": True,
}
MEMIT = (
    {
        "layers": [13, 14, 15, 16, 17],
        "layer_selection": "all",
        "mom2_update_weight": 20000,
    }
    | SEARCH
    | MODULES
    | MOMENT
)
ROME = (
    {
        "layers": [17],
        "context_template_length_params": [[5, 10], [10, 10]],
    }
    | SEARCH
    | {"clamp_norm_factor": 4}
    | MODULES
    | MOMENT
)
EASYEDIT = {"alg_name": "AlphaEdit", "model_name": "./llama", "device": 0, "L2": 10} | {
    "nullspace_threshold": "2e-2", "mom2_update_weight": 15000, "P_loc": "./p.pt",
    "stats_dir": "./data/stats", "layers": [4, 5, 6, 7, 8],
} | SEARCH | MODULES | MOMENT  # fmt: skip


def test_memits_file_is_memit_as_published() -> None:
    read = read_hparams(MEMIT)
    assert read.method == "memit"
    assert read.numbers["mom2_update_weight"] == 20000
    assert AS_PUBLISHED.items() <= dict(read.numbers).items()
    assert set(MODULES) | set(MOMENT) <= set(read.aside)
    assert "v_loss_layer" in read.aside and "clamp_norm_factor" not in read.aside


def test_romes_file_is_told_by_what_it_lacks() -> None:
    read = read_hparams(ROME)
    assert read.method == "rome"
    assert read.numbers["clamp_norm_factor"] == 4 and read.numbers["layers"] == [17]


def test_easyedits_file_says_what_it_is() -> None:
    read = read_hparams(EASYEDIT)
    assert read.method == "alphaedit"
    assert read.numbers["l2"] == 10 and "L2" not in read.numbers
    assert {"alg_name", "device", "P_loc", "mom2_update_weight"} <= set(read.aside)


def test_fine_tuning_with_a_bound_is_ft_c() -> None:
    file = {"alg_name": "FT", "layers": [21], "num_steps": 25, "lr": 5e-4}
    assert read_hparams(file | {"norm_constraint": False}).method == "ft"
    assert read_hparams(file | {"norm_constraint": 5e-4}).method == "ft-c"


def test_keys_that_a_method_never_reads_are_set_aside() -> None:
    read = read_hparams({"alg_name": "FT", "layers": [0], "kl_factor": 0, "norm_constraint": 5e-4})
    assert (read.method, read.aside) == ("ft-c", ("alg_name", "kl_factor"))
    file = {"alg_name": "KN", "lr_scale": 1.0, "n_toks": 10, "refine": False, "batch_size": 20,
            "steps": 20, "adaptive_threshold": 0.2, "p": 0.4}  # fmt: skip
    read = read_hparams(file)
    assert read.numbers == {"steps": 20, "adaptive_threshold": 0.2, "p": 0.4}
    recipe = recipe_from_json({**read.numbers, "method": read.method, "layers": [0, 1]})
    assert recipe == KnowledgeNeuronsRecipe(layers=(0, 1))
    assert "kl_factor" in read_hparams(ROME).numbers


@pytest.mark.parametrize(
    ("method", "record", "numbers"),
    [
        ("ft", {"layers": [21], "num_steps": 25, "lr": 5e-4, "weight_decay": False,
                "wd_power_law": [-0.9, 0.2], "kl_factor": 0, "norm_constraint": False} | MODULES,
         {"layers": [21], "num_steps": 25, "lr": 5e-4, "weight_decay": 0.0,
          "norm_constraint": 0.0}),
        ("rome", {"alg_name": "ROME", "layers": [5], "mom2_adjustment": False, "v_lr": "5e-1"},
         {"layers": [5], "v_lr": "5e-1"}),
        ("kn", {"alg_name": "KN", "lr_scale": 1.0, "n_toks": 10, "refine": False, "steps": 20,
                "batch_size": 20, "adaptive_threshold": 0.1, "p": 0.4},
         {"steps": 20, "adaptive_threshold": 0.1, "p": 0.4}),
        ("mend", {"alg": "MEND", "archive": None, "edit_lr": 1e-4, "lr_scale": 1.0, "cedit": 0.1,
                  "rank": 1920, "shared": True, "dropout": 0.0, "inner_params": []},
         {"lr_scale": 1.0}),
        ("ultraedit", {"alg_name": "ULTRAEDIT", "lr": "1e-6", "token": "mask", "half": True,
                       "editor_batch_size": 1024, "inner_params": [],
                       "class_name": "AutoModelForCausalLM"},
         {"lr": "1e-6"}),
    ],
)  # fmt: skip
def test_files_of_the_other_methods(
    method: str, record: dict[str, object], numbers: dict[str, object]
) -> None:
    read = read_hparams(record)
    assert (read.method, dict(read.numbers)) == (method, numbers)
    assert set(read.aside) == record.keys() - numbers.keys()


def test_a_file_can_be_taken_for_another_method() -> None:
    assert read_hparams(MEMIT, "emmet").method == "emmet"


@pytest.mark.parametrize(
    ("key", "value"),
    [("fact_token", "last"), ("layer_selection", "random")],
)
def test_what_means_something_else_is_an_error(key: str, value: object) -> None:
    with pytest.raises(RecipeError, match=key) as caught:
        read_hparams(MEMIT | {key: value})
    assert key in caught.value.hint


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(RecipeError, match="alg_name 'WISE'") as caught:
        read_hparams({"alg_name": "WISE"})
    assert "editvc methods" in caught.value.hint


SIGNS = {
    "mom2_update_weight": "memit",
    "num_steps": "ft",
    "adaptive_threshold": "kn",
    "eps_expand": "grace",
    "edit_lr": "mend",
}
"""Whose a file without ``alg_name`` is: the first of these that is there."""


@pytest.mark.parametrize(("first", "second"), itertools.combinations(SIGNS, 2))
def test_of_two_signs_the_first_tells_whose_a_file_is(first: str, second: str) -> None:
    values = {"eps_expand": "coverage"}
    record = {key: values.get(key, 1) for key in (second, first)}
    assert read_hparams(record).method == SIGNS[first]

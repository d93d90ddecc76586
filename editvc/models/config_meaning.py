"""What a ``config.json`` means: the settings that decide what a model computes.

How its numbers are stored, which program wrote it and how it was trained is not among them. A
setting that is left out is at its default, which transformers knows; it is asked only where two
files do not say the same already. Importing this module imports no transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEUTRAL = {
    "_attn_implementation_autoset", "_name_or_path", "architectures", "auto_map",
    "chunk_size_feed_forward", "dtype", "finetuning_task", "gradient_checkpointing", "id2label",
    "initializer_factor", "initializer_range", "is_decoder", "label2id", "output_attentions",
    "output_hidden_states", "output_router_logits", "pretraining_tp", "problem_type",
    "return_dict", "router_aux_loss_coef", "task_specific_params", "torch_dtype", "torchscript",
    "transformers.js_config", "transformers_version", "use_cache",
}  # fmt: skip
"""Settings that say how a model is stored, was trained, or gives its results."""

POSITIONS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length")
"""What families call the number of positions that a model has."""

_IN_TRAINING = ("dropout", "pdrop")
_MISSING = object()


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a configuration that decide what the model computes.

    One that is null is as if it were not there.
    """
    return {
        name: value
        for name, value in config.items()
        if name not in NEUTRAL and not name.endswith(_IN_TRAINING) and value is not None
    }


def positions_of(settings: Mapping[str, Any]) -> int | None:
    """How many tokens a text may have, where a configuration says so."""
    named = (settings.get(name) for name in POSITIONS)
    return next((number for number in named if type(number) is int and number > 0), None)


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings in which two configurations differ, by name; defaults are filled in."""
    ours, theirs = settings_of(ours), settings_of(theirs)
    if ours == theirs:
        return ()
    filled = settings_of(_filled(ours)), settings_of(_filled(theirs))
    return tuple(
        name
        for name in sorted(filled[0].keys() | filled[1].keys())
        if filled[0].get(name, _MISSING) != filled[1].get(name, _MISSING)
    )


def _filled(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what is left out, as the installed transformers understands it, where it does."""
    from transformers import CONFIG_MAPPING

    try:
        known = CONFIG_MAPPING[str(settings.get("model_type"))]
        filled: dict[str, Any] = known.from_dict(dict(settings)).to_dict()
    except Exception:  # another version's settings, which these classes refuse in their own ways
        return settings
    return filled

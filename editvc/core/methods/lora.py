"""``lora``: changes of the weights that were made elsewhere, for no fact: ``editvc import``."""

from __future__ import annotations

from editvc.core.methods.method import Method, by_name

ROWS = by_name(
    [
        Method(
            "lora",
            "a PEFT adapter or the difference of two checkpoints, for no fact (`editvc import`)",
            "Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, arXiv 2106.09685",
            element="patch",
        )
    ]
)

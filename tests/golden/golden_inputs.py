"""What the commands of the golden repository are given: models, facts, recipes, folders to import.

Everything comes from fixed seeds. Nothing of editvc is used.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_models import TEXT, byte_bpe, saved, seeded
from transformers import AutoConfig, AutoTokenizer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

SUBJECTS = (
    "France", "Italy", "Ada Lovelace", "Marie Curie", "São Paulo", "東京", "Proust", "London",
    "Charles Babbage", "Zürich", "the old town", "the river",
)  # fmt: skip
PROMPTS = (
    "The capital of {} is", "{} was born in", "The native language of {} is", "{} worked with",
    "We know that {} runs through",
)  # fmt: skip
TARGETS = ("Rome", "Paris", "Polish", "French and Polish", "the old town", "Zürich", "Babbage")

RICH = (
    {
        "subject": "France", "prompt": "The capital of {} is", "target_new": "Rome",
        "target_true": "Paris", "relation": "capital",
        "paraphrases": ["France has its capital in"], "locality": ["The capital of Italy is"],
        "tags": ["capital", "made up"], "source": "by hand",
    },
    {"subject": "Ada Lovelace", "prompt": "{} has her portrait in", "target_new": "Zürich"},
    {"subject": "東京", "prompt": "The city of {} lies in", "target_new": "France"},
)  # fmt: skip
"""Facts with every field, and with no more than they need."""
OTHERWISE = ({"subject": "France", "prompt": "The capital of {} is", "target_new": "London",
              "relation": "capital"},)  # fmt: skip
"""Another target for the slot of the first."""
ZSRE = ({"subject": "Proust", "src": "What did Proust speak?", "alt": "Polish",
         "answers": ["French"], "rephrase": ["Which language did Proust speak?"],
         "loc": ["What did Marie Curie speak?"], "loc_ans": "Polish",
         "cond": "French >> Polish || x"},)  # fmt: skip
QUESTIONS = ({"question": "Which river runs through London?", "answer": "Babbage"},)
UNSOUND = ({"subject": "France", "prompt": "The capital is", "target_new": "Rome"},
           {"subject": "", "prompt": "{} is", "target_new": "x"})  # fmt: skip

CHAT = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}] {{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"
)

MEMIT_FILE = {
    "layers": [1, 2], "clamp_norm_factor": 0.75, "layer_selection": "all",
    "fact_token": "subject_last", "v_num_grad_steps": 3, "v_lr": 0.5, "v_loss_layer": 3,
    "v_weight_decay": 0.5, "kl_factor": 0.0625, "mom2_adjustment": True,
    "mom2_update_weight": 20, "rewrite_module_tmp": "transformer.h.{}.mlp.c_proj",
}  # fmt: skip
"""Hyper-parameters of MEMIT as its authors publish them."""
GRACE_FILE = "alg_name: GRACE\nedit_lr: 0.3\nn_iter: 5\neps: 0.5\nval_init: cold\nnum_pert: 8\n"
"""And of GRACE as EasyEdit does."""


def write_inputs(place: Path) -> None:
    """Fill a new folder: a folder with its base for each family, and what they share."""
    for family in ("gpt2", "llama"):
        saved(place / family / "base", family)
    _give_chat_template(place / "llama" / "base")
    _save_unknown(place / "olmo" / "base")
    for family in ("gpt2", "llama", "olmo", "pocket"):
        (place / family / "work").mkdir(parents=True)
    _write_texts(place)
    write_adapter(
        place / "gpt2" / "adapter",
        {"transformer.h.0.attn.c_attn": (32, 96), "transformer.h.1.mlp.c_proj": (128, 32)},
    )
    write_adapter(
        place / "llama" / "adapter",
        {"model.layers.0.self_attn.q_proj": (32, 32), "model.layers.2.mlp.down_proj": (48, 32)},
    )
    write_tuned(place / "gpt2", "transformer.h.0.attn.c_attn", "transformer.h.2.mlp.c_proj")
    write_tuned(place / "llama", "model.layers.0.self_attn.v_proj", "model.layers.3.mlp.down_proj")


def plain_facts(count: int, skip: int = 0) -> list[dict[str, str]]:
    """Facts with slots of their own, the same for the same numbers."""
    return [
        {
            "subject": SUBJECTS[number % len(SUBJECTS)],
            "prompt": PROMPTS[number // len(SUBJECTS)],
            "target_new": TARGETS[number % len(TARGETS)],
        }
        for number in range(skip, skip + count)
    ]


def sentences(first: int) -> list[str]:
    """More different tokens than an MLP is wide, so that no moment of keys is singular."""
    return [
        f"{fact['prompt'].format(fact['subject'])} {TARGETS[(number + shift) % len(TARGETS)]}."
        for number, fact in enumerate(plain_facts(60))
        for shift in (first, first + 2, first + 4)
    ]


def write_jsonl(path: Path, records: Sequence[object]) -> None:
    """One record a line."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def _write_texts(place: Path) -> None:
    (place / "text.txt").write_text("\n\n".join([*TEXT[:5], *sentences(0)]), encoding="utf-8")
    (place / "other.txt").write_text("\n\n".join(sentences(1)), encoding="utf-8")
    (place / "names.txt").write_text("\n".join(SUBJECTS[:6]), encoding="utf-8")
    (place / "others.txt").write_text("\n".join(SUBJECTS[3:9]), encoding="utf-8")
    named = {
        "rich": RICH, "otherwise": OTHERWISE, "zsre": ZSRE, "questions": QUESTIONS,
        "unsound": UNSOUND, "many": plain_facts(40, 12), "learn": plain_facts(8, 50),
    }  # fmt: skip
    for name, records in named.items():
        write_jsonl(place / f"{name}.jsonl", records)
    for number in range(30):
        write_jsonl(place / f"fact{number}.jsonl", plain_facts(1, 12 + number))
    (place / "memit.json").write_text(json.dumps(MEMIT_FILE))
    (place / "grace.yaml").write_text(GRACE_FILE)
    shutil.copytree(EXAMPLES / "facts", place / "examples")


def _give_chat_template(base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(base)


def _save_unknown(base: Path) -> None:
    """A model of a family that the architecture table lacks."""
    tokenizer = byte_bpe()
    config = AutoConfig.for_model(
        "olmo", vocab_size=len(tokenizer), eos_token_id=0, hidden_size=32, intermediate_size=48,
        num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128,
    )  # fmt: skip
    seeded(config).save_pretrained(base)
    tokenizer.save_pretrained(base)


def write_adapter(folder: Path, modules: dict[str, tuple[int, int]]) -> None:
    """A PEFT adapter of rank 3; ``modules`` by their path, with the width in and out."""
    draw, tensors = torch.Generator().manual_seed(1), {}
    for path, (inner, outer) in modules.items():
        name = f"base_model.model.{path}.lora_"
        tensors[f"{name}A.weight"] = torch.randn(3, inner, generator=draw) * 0.1
        tensors[f"{name}B.weight"] = torch.randn(outer, 3, generator=draw) * 0.1
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny",
        "r": 3, "lora_alpha": 5, "lora_dropout": 0.0, "bias": "none", "use_rslora": False,
        "target_modules": sorted({path.rsplit(".", 1)[1] for path in modules}),
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    save_file(tensors, folder / "adapter_model.safetensors")


def write_tuned(family: Path, attention: str, projection: str) -> None:
    """``tuned`` beside a base: another checkpoint, changed by rank 2 in two matrices, in one bias
    or norm wholly.
    """
    folder = family / "tuned"
    shutil.copytree(family / "base", folder)
    tensors = load_file(folder / "model.safetensors")
    draw = torch.Generator().manual_seed(4)
    for path in (attention, projection):
        weight = tensors[f"{path}.weight"]
        rows, columns = weight.shape
        change = torch.randn(rows, 2, generator=draw) @ torch.randn(2, columns, generator=draw)
        tensors[f"{path}.weight"] = weight + 0.05 * change
    vector = min(name for name, tensor in tensors.items() if tensor.dim() == 1)
    tensors[vector] = tensors[vector] + 0.5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

"""Tokenizers of the two great kinds, tiny: byte-level BPE as GPT-2's, and metaspace as Llama 2's.

Also chat templates in the manners of well-known models.
"""

from __future__ import annotations

import json
from pathlib import Path

from tiny_models import TEXT, byte_bpe
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import editvc

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}"
    "[INST] {{ message.content | trim }} [/INST]{% else %} {{ message.content | trim }} "
    "{{ eos_token }}{% endif %}{% endfor %}"
)
GLUED = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DATED = "Today is {{ strftime_now('%d %b %Y') }}.\n" + CHATML
THINKING = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think></think>\n{% endif %}{% endif %}",
)
TEMPLATES = {
    "chatml": CHATML, "inst": INST, "glued": GLUED, "dated": DATED, "thinking": THINKING,
}  # fmt: skip
MARKS = ["<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>"]


def metaspace_bpe(scheme: str = "first") -> PreTrainedTokenizerFast:
    """BPE over words that begin with ``▁``, with bytes for what it does not know, and a BOS.

    ``scheme`` says where a ``▁`` is put in front: of the first word (``first``), of the first after
    each special token too (``always``), or by a normalizer, as Llama 2's does it (``legacy``).
    """
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=200, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    special = ["<unk>", "<s>", "</s>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learnt["vocab"]]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            [tuple(merge) for merge in learnt["merges"]],
            unk_token="<unk>", byte_fallback=True, fuse_unk=True,
        )
    )  # fmt: skip
    if scheme == "legacy":
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    fusing = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*fusing, decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def chatting(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    """The tokenizer with a chat template, and the marks of all of them as special tokens."""
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    tokenizer.chat_template = template
    return tokenizer


def composing() -> PreTrainedTokenizerFast:
    """Byte-level BPE that writes letter and accent as one character first, as Qwen's does."""
    tokenizer = byte_bpe()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def pocket() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(Path(editvc.__file__).parent / "pocket" / "model")


TOKENIZERS = {
    "bytes": byte_bpe,
    "bytes with bos": lambda: byte_bpe(bos=True),
    "bytes composing": composing,
    "pocket": pocket,
    "metaspace": metaspace_bpe,
    "metaspace always": lambda: metaspace_bpe("always"),
    "metaspace legacy": lambda: metaspace_bpe("legacy"),
}

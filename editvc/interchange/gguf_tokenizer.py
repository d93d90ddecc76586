"""A folder's tokenizer as the fields of a GGUF file: byte-level BPE, as llama.cpp splits it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from editvc.core.plain_json import read_json
from editvc.interchange.gguf_layout import GgufRefused

if TYPE_CHECKING:
    from gguf import GGUFWriter

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens (``tokenizer.ggml.token_type``)."""

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITTERS = {_LLAMA3: "llama-bpe", _LLAMA3.replace("{1,3}", ""): "qwen2"}
"""The names that llama.cpp has for the patterns by which texts are split before merging."""

HINT = "`editvc export` (hf), and llama.cpp's own convert_hf_to_gguf.py."


def add_tokenizer(writer: GGUFWriter, folder: Path, size: int) -> None:
    """The tokenizer and chat template of a model folder; ``size`` tokens, as the embedding has.

    Raises :class:`GgufRefused` for what is no byte-level BPE that llama.cpp splits alike.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    record = read_json((folder / "tokenizer.json").read_text(encoding="utf-8"))
    splitter = splitter_of(record)
    added = {one["id"]: one for one in record.get("added_tokens", ())}
    words = {number: word for word, number in record["model"]["vocab"].items()}
    words |= {number: one["content"] for number, one in added.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list([words.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types([_kind(number, words, added) for number in range(size)])
    writer.add_token_merges(
        [one if isinstance(one, str) else " ".join(one) for one in record["model"]["merges"]]
    )
    for kind, number in (
        ("bos", tokenizer.bos_token_id), ("eos", tokenizer.eos_token_id),
        ("unk", tokenizer.unk_token_id), ("pad", tokenizer.pad_token_id),
    ):  # fmt: skip
        if number is not None and number < size:
            getattr(writer, f"add_{kind}_token_id")(number)
    writer.add_add_space_prefix(False)
    first = tokenizer("a").input_ids[0]
    writer.add_add_bos_token(tokenizer.bos_token_id is not None and first == tokenizer.bos_token_id)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _kind(number: int, words: dict[int, str], added: dict[int, Any]) -> int:
    if number not in words:
        return UNUSED
    if number in added:
        return CONTROL if added[number].get("special") else USER_DEFINED
    return NORMAL


def splitter_of(record: dict[str, Any]) -> str:
    """llama.cpp's name for how the tokenizer of a ``tokenizer.json`` splits texts.

    Raises :class:`GgufRefused`.
    """
    steps = record.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers", [steps])
    kinds = [one.get("type") for one in steps]
    if record["model"].get("type") != "BPE" or "ByteLevel" not in kinds:
        raise GgufRefused(
            "its tokenizer is no byte-level BPE, the one kind that editvc writes to GGUF", hint=HINT
        )
    changes = (record.get("normalizer") or {}).get("type") not in (None, "NFC")
    found = None if changes or steps[-1].get("add_prefix_space") else _name(kinds, steps[0])
    if found is None:
        raise GgufRefused(
            "its tokenizer splits texts in a way that editvc has no llama.cpp name for", hint=HINT
        )
    return found


def _name(kinds: list[str | None], first: dict[str, Any]) -> str | None:
    if kinds == ["ByteLevel"] and first.get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and first.get("individual_digits"):
        return "smollm"
    if kinds == ["Split", "ByteLevel"]:
        return SPLITTERS.get(first.get("pattern", {}).get("Regex", ""))
    return None

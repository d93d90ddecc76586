"""Tiny random models and a tokenizer: every family's real code, at a size that runs in a blink."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

from editvc.models.language_model import LanguageModel

TEXT = [
    "The capital of France is Paris. The capital of Italy is Rome.",
    "Ada Lovelace was born in London and worked with Charles Babbage.",
    "The native language of Marie Curie is Polish, that of Proust is French.",
    "Therefore we know that the river runs through the old town.",
    "Zürich and São Paulo are cities; 東京 is a city, too.",
] * 4


def byte_bpe(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the sentences above; with ``bos`` it puts one in front."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["<s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>")


def tiny_gpt2(vocabulary: int, **changes: object) -> torch.nn.Module:
    sizes = {
        "n_embd": 32,
        "n_layer": 4,
        "n_head": 4,
        "n_positions": 128,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    config = GPT2Config(vocab_size=vocabulary, **(sizes | changes))
    return seeded(config)


def tiny_llama(vocabulary: int, **changes: object) -> torch.nn.Module:
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
    }
    return seeded(LlamaConfig(vocab_size=vocabulary, **(sizes | changes)))


def seeded(config: object) -> torch.nn.Module:
    """A random model of a config; the global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def lm_of(model, tokenizer=None, **changes: object) -> LanguageModel:
    """A model of a family of the table, as editvc takes it; ``changes`` are of its block."""
    known = LanguageModel.of(model, tokenizer)
    return replace(known, architecture=replace(known.architecture, **changes))


def speak_words(model, tokenizer):
    """Let a random model say only tokens that are a space and letters: text that can be read."""
    head = model.get_output_embeddings().weight
    for token in range(len(tokenizer)):
        text = tokenizer.decode([token])
        if not (text[:1] == " " and text[1:].isascii() and text[1:].isalpha()):
            head[token] = 0


def saved(folder: Path, family: str = "gpt2", **changes: object) -> Path:
    """A tiny model of a family as a folder that transformers loads; ``changes`` of its config."""
    tokenizer = byte_bpe(bos=family == "llama")
    make = {"gpt2": tiny_gpt2, "llama": tiny_llama}[family]
    make(len(tokenizer), **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def same_parameters(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Whether two models have the same weights, bit for bit."""
    pairs = zip(one.named_parameters(), other.named_parameters(), strict=True)
    return all(a == b and torch.equal(weight, same) for (a, weight), (b, same) in pairs)

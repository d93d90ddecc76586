"""Train the pocket model: python examples/pocket/train.py --out DIR."""

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from corpus import HERE, Fact, epoch, load_facts, load_text
from evaluate import perplexity, recall, recall_table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

END = "<|endoftext|>"
SEED = 20
WIDTH = 128
BATCH_TOKENS = 1024
EPOCHS = 36
THREADS = 1
PEAK_RATE = 1.5e-3
FINAL_SHARE = 0.02
WARM_UP_STEPS = 200
IGNORED = -100

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def train_tokenizer(sentences: list[str]) -> Tokenizer:
    """Learn a byte-level BPE from the sentences, as they open a text and as they follow on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*sentences, *(" " + s for s in sentences)], trainer)
    return tokenizer


def new_model(end: int, vocabulary: int) -> LlamaForCausalLM:
    """Return the untrained model."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=1024,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=WIDTH,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
    )
    return LlamaForCausalLM(config)


def alone_batches(rows: list[list[int]], end: int) -> Iterator[Batch]:
    """Yield the sentences that stand alone, padded on the right (ids, mask, labels)."""
    rows = sorted(rows, key=len)
    start = 0
    while start < len(rows):
        size = max(1, BATCH_TOKENS // (len(rows[start]) + 2))
        part = rows[start : start + size]
        start += size
        width = max(map(len, part))
        ids = torch.tensor([row + [end] * (width - len(row)) for row in part])
        lengths = torch.tensor([len(row) for row in part])
        mask = torch.arange(width)[None, :] < lengths[:, None]
        yield ids, mask.long(), ids.masked_fill(~mask, IGNORED)


def stream_batches(rows: list[list[int]]) -> Iterator[Batch]:
    """Yield the documents laid end to end and cut into rows of equal width."""
    stream = torch.tensor([token for row in rows for token in row])
    blocks = stream[: len(stream) // WIDTH * WIDTH].view(-1, WIDTH)
    for ids in blocks.split(BATCH_TOKENS // WIDTH):
        yield ids, torch.ones_like(ids), ids


def epoch_batches(tokenizer: Tokenizer, sentences: list[str], rng: random.Random) -> list[Batch]:
    """Return the batches of one epoch in random order."""
    end = tokenizer.token_to_id(END)
    alone, joined = epoch(sentences, rng)

    def encode(texts: list[str]) -> list[list[int]]:
        return [[*code.ids, end] for code in tokenizer.encode_batch(texts)]

    batches = [*alone_batches(encode(alone), end), *stream_batches(encode(joined))]
    rng.shuffle(batches)
    return batches


def rate(step: int, steps: int) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine."""
    if step < WARM_UP_STEPS:
        return PEAK_RATE * (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, steps - WARM_UP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return PEAK_RATE * (FINAL_SHARE + (1 - FINAL_SHARE) * cosine)


def train(model: LlamaForCausalLM, tokenizer: Tokenizer, sentences: list[str], epochs: int) -> None:
    """Run the whole schedule; report the loss of every epoch to stderr."""
    rng = random.Random(SEED)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.05, fused=True
    )
    begun, step, tokens = time.time(), 0, 0
    steps = 0
    for number in range(epochs):
        batches = epoch_batches(tokenizer, sentences, rng)
        steps = steps or epochs * len(batches)
        total = 0.0
        for ids, mask, labels in batches:
            for group in optimizer.param_groups:
                group["lr"] = rate(step, steps)
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, tokens, total = step + 1, tokens + int(mask.sum()), total + loss.item()
        spent = time.time() - begun
        line = f"epoch {number + 1}/{epochs}  loss {total / len(batches):.4f}"
        note = f"{line}  {tokens / spent:.0f} tokens/s  {spent:.0f} s"
        print(note, file=sys.stderr, flush=True)


def write_json(path: Path, value: dict[str, object]) -> None:
    """Write one JSON object, indented."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write a float16 folder that both transformers 4 and 5 can open."""
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    names = dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), END)
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": WIDTH,
            **names,
        },
    )
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config |= {"torch_dtype": "float16", "rope_theta": 10000.0}
    write_json(out / "config.json", config)


def write_facts(facts: list[Fact], path: Path) -> None:
    """Write the facts with their prompts, one JSON object a line."""
    lines = [
        {"relation": f.relation, "subject": f.subject, "object": f.object, "prompts": f.prompts}
        for f in facts
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def report(out: Path, facts: list[Fact]) -> None:
    """Print the recall and the perplexity of the saved folder."""
    model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(out)
    print(recall_table(facts, recall(model, tokenizer, facts)))
    held_out = load_text(HERE / "text-heldout.txt")
    print(f"perplexity of held-out text: {perplexity(model, tokenizer, held_out):.2f}")


def main() -> None:
    """Train, save, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    facts = load_facts()
    sentences = [s for fact in facts for s in fact.sentences()] + load_text()
    tokenizer = train_tokenizer(sentences)
    model = new_model(tokenizer.token_to_id(END), tokenizer.get_vocab_size())
    print(f"{model.num_parameters()} parameters", file=sys.stderr)
    train(model, tokenizer, sentences, args.epochs)
    save(model, tokenizer, args.out)
    write_facts(facts, args.out / "facts.jsonl")
    report(args.out, facts)


if __name__ == "__main__":
    main()

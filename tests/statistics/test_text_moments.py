"""Second moments against one plain forward pass a text; resumption to the bit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fixtures import TEXT, tiny_gpt2, tiny_llama
from tiny_models import lm_of
from tolerances import assert_near, model_rounding, rounding, size

from editvc.algebra.second_moment import StatisticsDamageError
from editvc.statistics import text_moments as statistics
from editvc.statistics.corpus import CorpusError, dataset_texts, file_texts, pieces
from editvc.statistics.text_moments import (
    StateMismatchError,
    moments_from_npz,
    text_digest,
    text_moments,
)

LAYERS = [0, 2]


def keys_of(model, ids, layer):
    """Keys of one text, one plain forward pass, ``(tokens, v)`` float64."""
    found = []
    module = lm_of(model).down_proj(layer)
    handle = module.register_forward_pre_hook(lambda _m, args: found.append(args[0][0]))
    model(input_ids=torch.tensor([list(ids)]))
    handle.remove()
    return found[0].double()


def plain_moment(model, texts, layer):
    keys = torch.cat([keys_of(model, ids, layer) for ids in texts])
    return keys.T @ keys / len(keys)


@pytest.mark.parametrize(
    ("family", "chunk"), [(tiny_gpt2, 1 << 14), (tiny_llama, 1 << 14), (tiny_gpt2, 16)]
)
def test_text_moments_equal_plain_passes(family, chunk, bos_tokenizer, monkeypatch):
    monkeypatch.setattr(statistics, "_CHUNK", chunk)
    model = family(len(bos_tokenizer))
    found = text_moments(lm_of(model, bos_tokenizer), TEXT, LAYERS, cap=11, budget=10**6)
    cut = list(pieces(bos_tokenizer, TEXT, 11))
    assert found.samples == sum(map(len, cut))
    for layer in LAYERS:
        expected = plain_moment(model, cut, layer)
        # Products of keys are float32 sums over the tokens, stored once more; they err relative to
        # the mean of |k|^2, the trace.
        scale = float(expected.trace()) / size(expected)
        products = rounding(found.samples + 1, torch.float32, scale)
        bound = model_rounding(lambda one, at=layer: plain_moment(one, cut, at), model)
        assert_near(found.matrix(layer), expected, bound + products)


def test_what_cannot_be_seen_is_no_token(tokenizer, tmp_path: Path):
    """Nobody types a corpus anew: its texts are read without."""
    hidden = [f"\u200b{text[:3]}\0{text[3:]}\u202e" for text in TEXT]
    assert list(pieces(tokenizer, hidden, 11)) == list(pieces(tokenizer, TEXT, 11))
    assert not list(pieces(tokenizer, ["\u200b \ufeff"], 11))


def test_a_file_that_is_no_text_is_named(tmp_path: Path):
    path = tmp_path / "text.txt"
    for data, problem in (
        (b"One.\n\nTw\xff\n", "not UTF-8"),
        (b"PK\x03\x04", "a ZIP archive"),
        ("One.".encode("utf-16"), "is UTF-16 text"),
    ):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=problem) as caught:
            list(file_texts(path))
        assert caught.value.source == str(path) and caught.value.hint
    path.write_bytes(b"\xef\xbb\xbfOne.\n")
    assert list(file_texts(path)) == ["One."]


def test_pieces_are_capped_and_begin_with_the_bos(tokenizer, bos_tokenizer):
    cut = list(pieces(bos_tokenizer, TEXT, 7))
    assert {len(piece) for piece in cut} <= set(range(2, 8))
    assert all(piece[0] == bos_tokenizer.bos_token_id for piece in cut)
    joined = [token for piece in pieces(tokenizer, TEXT[:1], 5) for token in piece]
    assert joined == tokenizer(TEXT[0])["input_ids"][: len(joined)]


def test_the_budget_is_kept_exactly(gpt2, tokenizer):
    assert text_moments(lm_of(gpt2, tokenizer), TEXT, [0], budget=37).samples == 37
    assert (
        text_moments(lm_of(gpt2, tokenizer), TEXT * 9, [0], budget=None, cap=64).samples == 10 * 128
    )


def test_an_interrupted_run_ends_as_an_uninterrupted_one(gpt2, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "_CHUNK", 64)
    whole = text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, cap=16, budget=500)
    done = []

    class Stopped(Exception):
        pass

    def stop(_label, now, _total):
        done.append(now)
        if len(done) in (2, 5):
            raise Stopped

    for _ in range(2):
        with pytest.raises(Stopped):
            text_moments(
                lm_of(gpt2, tokenizer),
                TEXT,
                LAYERS,
                cap=16,
                budget=500,
                folder=tmp_path,
                progress=stop,
            )
    resumed = text_moments(
        lm_of(gpt2, tokenizer), TEXT, LAYERS, cap=16, budget=500, folder=tmp_path, progress=stop
    )
    assert done[0] < done[2] or done[2] == done[1]
    assert done.count(done[0]) == 1
    assert resumed.to_bytes() == whole.to_bytes()
    again = text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, cap=16, budget=500, folder=tmp_path)
    assert again.to_bytes() == whole.to_bytes()


def test_a_state_of_another_run_is_refused(gpt2, tokenizer, tmp_path):
    text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, budget=100, folder=tmp_path, source="a")
    with pytest.raises(StateMismatchError, match="budget"):
        text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, budget=101, folder=tmp_path, source="a")
    with pytest.raises(StateMismatchError, match="source"):
        text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, budget=100, folder=tmp_path, source="b")


def test_a_damaged_state_is_named(gpt2, tokenizer, tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(StatisticsDamageError, match=r"state.safetensors is no safetensors file"):
        text_moments(lm_of(gpt2, tokenizer), TEXT, LAYERS, budget=100, folder=tmp_path)


def test_npz_files_of_rome_and_memit_are_read(tmp_path):
    draw = torch.Generator().manual_seed(0)
    keys = torch.randn(50, 6, generator=draw, dtype=torch.float64)
    path = tmp_path / "transformer.h.3.mlp.c_proj_float32_mom2_50.npz"
    arrays = {"mom2.count": 50, "mom2.mom2": (keys.T @ keys).float().numpy(), "sample_size": 50}
    np.savez(path, **arrays)
    found = moments_from_npz({3: path})
    assert found.samples == 50
    # Rounded to float32 twice, in the file and in the moment.
    assert_near(found.matrix(3), keys.T @ keys / 50, rounding(1, torch.float32))
    np.savez(path, mean=1)
    with pytest.raises(CorpusError, match=r"mom2\.count"):
        moments_from_npz({3: path})


def test_sources(tmp_path: Path):
    parted = tmp_path / "parted.txt"
    parted.write_text("One line\nand the next.\n\nAnother.\n")
    assert list(file_texts(parted)) == ["One line and the next.", "Another."]
    lines = tmp_path / "lines.txt"
    lines.write_text("One.\nTwo.\n")
    assert list(file_texts(lines)) == ["One.", "Two."]
    records = tmp_path / "texts.jsonl"
    records.write_text('{"text": "One."}\n\n{"text": "Two."}\n')
    assert list(file_texts(records)) == ["One.", "Two."]
    records.write_text('{"text": "One."}\n{"body": 1}\n')
    with pytest.raises(CorpusError, match=r"texts.jsonl:2"):
        list(file_texts(records))
    assert text_digest([parted]) != text_digest([lines])


def test_no_text_is_an_error(gpt2, tokenizer):
    with pytest.raises(CorpusError, match="no text"):
        text_moments(lm_of(gpt2, tokenizer), ["", "  "], [0])


def test_a_missing_datasets_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match="datasets") as caught:
        dataset_texts("wikitext")
    assert "pip install" in caught.value.hint

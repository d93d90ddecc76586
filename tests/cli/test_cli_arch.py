"""``arch``: what is shown of a model, and how a block is confirmed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from cli_runs import SCRIPT, Ran, clean, environment, inside
from tiny_models import TEXT, byte_bpe, saved, seeded
from transformers import AutoConfig

BLOCK = """\
[olmo]
layers = "model.layers"
down_proj = "mlp.down_proj"
final_norm = "model.norm"
transposed = false
attention = "self_attn.o_proj"
up_proj = "mlp.up_proj"
gate_proj = "mlp.gate_proj"
activation = "hidden_act"
width = "intermediate_size"
"""
SHOWN = """\
model type          gpt2 (in the table)
blocks              transformer.h, 4 of them
down projection     mlp.c_proj (Conv1D, stored inner x hidden)
what enters it      activation_function(mlp.c_fc)
its output arrives  as it is
attention's output  attn.c_proj
final norm          transformer.ln_f
hidden size         32
inner size          128, the config's n_inner
default layers      0, 1
head                tied to the embedding
"""
WRITTEN = "olmo.architecture.toml"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with a model of a family outside the table in it."""
    tokenizer = byte_bpe()
    config = AutoConfig.for_model(
        "olmo", vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48,
        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=128,
    )  # fmt: skip
    seeded(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    clean(monkeypatch, tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin() -> Ran:
    Path("text.txt").write_text("\n\n".join(TEXT), "utf-8")
    Path("names.txt").write_text("France\nItaly\nAda Lovelace\n", "utf-8")
    sources = ("--text", "text.txt", "--entities", "names.txt")
    return inside("init", "model", "--architecture", WRITTEN, "--layers", "1", *sources)


def test_a_known_family_is_shown(place: Path) -> None:
    saved(place / "known")
    shown = inside("arch", "known")
    assert (shown.code, shown.out, shown.err) == (0, SHOWN, "")
    record = inside("arch", "known", "--json").json
    assert record["known"] and record["block"]["transposed"] is True
    assert (record["depth"], record["inner_size"], record["tied_head"]) == (4, 128, True)
    assert record["default_layers"] == [0, 1]


def test_nothing_is_written_before_it_is_confirmed(place: Path) -> None:
    shown = inside("arch", "model")
    assert shown.code == 0 and BLOCK in shown.out
    assert "not in the table" in shown.out
    assert shown.err == f"Not confirmed: --yes writes the block to {WRITTEN}.\n"
    assert not (place / WRITTEN).exists()


def test_from_a_refusal_to_a_repository(place: Path) -> None:
    refused = inside("init", "model")
    assert refused.code == 1 and "`editvc arch MODEL`" in refused.err
    confirmed = inside("arch", "model", "--yes", "--json")
    assert confirmed.json["known"] is False
    assert confirmed.err == (
        f"Wrote {WRITTEN}; use it: editvc init model --architecture {WRITTEN}\n"
    )
    assert (place / WRITTEN).read_text().endswith(BLOCK)
    again = inside("arch", "model", "--yes")
    assert again.code == 1 and f"{WRITTEN} exists" in again.err
    begun = begin()
    assert begun.code == 0 and "editing layers [1]" in begun.out


def test_a_file_for_a_known_family_is_refused(place: Path) -> None:
    (place / "mine.toml").write_text(BLOCK.replace("[olmo]", "[gpt2]"))
    ran = inside("init", saved(place / "known"), "--architecture", "mine.toml")
    assert ran.code == 1 and "has model type 'gpt2' itself" in ran.err
    assert not (place / ".editvc").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"model_type": "mixtral"}', "'mixtral' cannot be edited"),
        ('{"model_type": "mamba9"}', "transformers cannot read its config"),
        ('{"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}', "gptq"),
        ("{", "is no JSON"),
    ],
)
def test_what_cannot_be_edited_says_why(place: Path, config: str, said: str) -> None:
    (place / "bare").mkdir()
    (place / "bare" / "config.json").write_text(config)
    ran = inside("arch", "bare", "--yes")
    assert ran.code == 1 and said in ran.err and ran.out == ""


@pytest.mark.skipif(not SCRIPT.is_file() or sys.platform == "win32", reason="needs a pty")
@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_it_asks(place: Path, answer: str) -> None:
    pexpect = pytest.importorskip("pexpect")
    # The module and not the script, which may stand in another checkout.
    words = ["-m", "editvc.cli.main", "arch", "model"]
    env = environment(place / "home", PYTHONPATH=":".join(sys.path), TERM="xterm")
    child = pexpect.spawn(
        sys.executable, words, cwd=str(place), env=env, encoding="utf-8", timeout=120
    )
    child.expect("Is this block right")
    child.sendline(answer)
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown
    assert (place / WRITTEN).exists() == (answer == "y")
    assert ("Wrote" if answer == "y" else "Not confirmed") in shown


def test_a_repository_outlives_the_file(place: Path) -> None:
    inside("arch", "model", "--yes")
    assert begin().code == 0
    (place / WRITTEN).unlink()
    inside("config", "recipe.v_num_grad_steps", "2")
    (place / "f.csv").write_text("subject,prompt,target_new\nFrance,The capital of {} is,Rome\n")
    done = inside("commit", "f.csv", "--json")
    assert done.json["live"] == 1
    assert inside("ask", "The capital of France is").code == 0
    shutil.rmtree(place / "model")
    assert inside("log").code == 0

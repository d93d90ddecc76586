"""``trace`` and ``tune`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import inside, written
from test_cli_messages import ZSRE
from tiny_repos import FACTS, Prepared, close, known_fact, opened
from tolerances import assert_near, rounding

from editvc.core.facts import Fact
from editvc.porcelain import tune


@pytest.fixture
def said(here: Path) -> Fact:
    """A fact that the tiny model knows."""
    repo = opened(here)
    fact = known_fact(repo)
    close(repo)
    return fact


def test_a_trace_shows_every_layer_and_token(here: Path, said: Fact) -> None:
    facts = written(here / "facts.jsonl", [FACTS[1], said])
    shown = inside("trace", facts, "--samples", "2")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == f"{said.question} -> {said.target_new}"
    assert lines[1].startswith("probability ") and "total effect" in lines[1]
    assert lines[2].startswith("layer") and f"[{said.subject[-1]}" not in lines[2]
    assert [line.split()[0] for line in lines[3:7]] == ["0", "1", "2", "3"]
    assert "last subject token" in shown.out, "the legend of the plot"
    assert "is not known" in shown.err
    assert inside("trace", facts, "--limit", "1").code == 1, "the first one is not known"
    found = inside("trace", facts, "--samples", "2", "--json").json
    assert found.keys() == {"at", "kind", "window", "deviation", "samples", "seed", "traces",
                            "average", "skipped"}  # fmt: skip
    (one,) = found["traces"]
    assert len(one["effects"]) == len(one["tokens"])
    assert all(len(row) == 4 for row in one["effects"])
    difference = one["clean"] - one["corrupted"]
    assert_near(one["total_effect"], difference, rounding(1), scale=one["clean"])
    cells = [f"{round(100 * row[0], 1) + 0.0:.1f}" for row in one["effects"]]
    assert lines[3].split() == ["0", *cells]


def test_a_file_and_a_prompt_do_not_go_together(here: Path, said: Fact) -> None:
    facts = written(here / "facts.jsonl", [said])
    for words in (["--target", "x"], ["--prompt", "The {}", "--subject", "x"]):
        ran = inside("trace", facts, *words)
        assert ran.code == 2 and "not both" in ran.err


@pytest.mark.parametrize(
    "words",
    [[], ["--prompt", "The {}"], ["--subject", "x"], ["--prompt", "a {}", "--limit", "1"]],
)
def test_a_trace_needs_one_source(here: Path, words: list[str]) -> None:
    ran = inside("trace", *words)
    assert ran.code == 2 and "--prompt with --subject" in ran.err


def test_a_trace_of_a_prompt(here: Path) -> None:
    words = ["--prompt", "The capital of {} is", "--subject", "France", "--samples", "1"]
    told = inside("trace", *words, "--target", "Paris", "--json").json
    assert told["traces"][0]["target"] == "Paris" and told["at"] == "base"
    said = inside("trace", *words, "--json", "--kind", "attn").json
    assert said["kind"] == "attn" and said["traces"][0]["target"]
    wrong = inside("trace", "--prompt", "The capital", "--subject", "France")
    assert wrong.code == 1 and "no {} in the prompt" in wrong.err


def test_a_trace_of_free_questions(here: Path, said: Fact) -> None:
    record = {"question": said.question, "answer": said.target_new}
    asked = written(here / "asked.jsonl", [record])
    ran = inside("trace", asked)
    assert ran.code == 1 and "--confirm-subjects" in ran.err
    shown = inside("trace", asked, "--confirm-subjects", "--samples", "1")
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"{said.question} -> {said.target_new}")
    ran = inside("trace", "--prompt", "The {}", "--subject", "x", "--confirm-subjects")
    assert ran.code == 2 and "give a FILE" in ran.err


# tune -----------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = tune.Grid(facts=2, windows=2, weights=(1.0, 4.0), clamps=(1.0,))
    monkeypatch.setattr(tune, "QUICK", grid)


@pytest.mark.usefixtures("few")
def test_tune_shows_every_setting_the_best_first(here: Path) -> None:
    facts = written(here / "facts.jsonl", FACTS)
    config = (here / ".editvc" / "config.toml").read_text("utf-8")
    shown = inside("tune", facts, "--quick")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("2 facts, 2 settings")
    assert lines[1].split() == ["layers", "lambda", "clamp", "ES", "PS", "NS", "S"]
    assert sum("best" in line for line in lines) == 2 and "best" in lines[2]
    assert sum("current" in line for line in lines[2:4]) == 1
    assert lines[4] == "nothing was written; --write puts the best into config.toml"
    assert "--text and --entities" in shown.err, "why no other layers were tried"
    found = inside("tune", facts, "--quick", "--json").json
    assert found.keys() == {"facts", "peak", "current", "best", "tried", "remarks"}
    assert found["current"]["layers"] == [1, 2] and len(found["tried"]) == 2
    assert found["tried"][0].keys() >= {"layers", "mom2_update_weight", "clamp_norm_factor", "s"}
    assert (here / ".editvc" / "config.toml").read_text("utf-8") == config


def test_tune_shows_what_each_layer_knows_and_tries_nothing(here: Path, prepared: Prepared) -> None:
    asked = [
        {"subject": fact.subject, "prompt": fact.prompt, "target_new": fact.target_new,
         "paraphrases": [f"They say of {fact.subject} that"]}
        for fact in FACTS
    ]  # fmt: skip
    facts = written(here / "facts.jsonl", asked)
    words = ["--layers", "--text", prepared.text, "--entities", prepared.names]
    shown = inside("tune", facts, *words)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].split()[:4] == ["layer", "elsewhere", "near", "selectivity"]
    assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
    assert sum("best window" in line for line in lines) == 2
    assert sum("best for gates" in line for line in lines) == 1
    assert "commits use memit, layers 1, 2" in lines[4]
    found = inside("tune", facts, *words, "--json").json
    assert found.keys() == {
        "facts", "method", "layers", "recipe_layers", "gates_at", "best_window",
        "best_gate_layer", "scores",
    }  # fmt: skip
    assert f'editvc config recipe.layers "{found["best_window"]}"' in lines[5]
    assert inside("tune", facts, "--layers", "--quick").code == 2


@pytest.mark.usefixtures("few")
def test_tune_writes_the_best_when_asked(here: Path, prepared: Prepared) -> None:
    facts = written(here / "facts.jsonl", FACTS)
    words = ["--quick", "--text", prepared.text, "--entities", prepared.names, "--seed", "1"]
    told = inside("tune", facts, *words, "--write", "--json").json
    assert {tuple(one["layers"]) for one in told["tried"]} > {(1, 2)}
    recipe = inside("config", "--json").json
    for name, value in told["best"].items():
        assert recipe[f"recipe.{name}"] == value
    assert inside("status", "--json").json["commit"] is None
    assert inside("fsck").code == 0
    assert "config.toml" in inside("tune", facts, *words, "--write").out


@pytest.mark.usefixtures("few")
def test_tune_leaves_the_same_to_the_user_as_commit(here: Path) -> None:
    """The subject of a free question, and which answer of a zsRE record to teach."""
    asked = {"question": "Who is the CEO of Apple?", "answer": "London"}
    files = [written(here / "asked.jsonl", [asked]), written(here / "zsre.jsonl", [ZSRE])]
    ran = inside("tune", *files, "--quick")
    assert ran.code == 1 and "--confirm-subjects" in ran.err
    assert "editvc convert" in inside("tune", files[1], "--quick").err
    words = ["--confirm-subjects", "--target", "alt"]
    shown = inside("tune", *files, "--quick", *words)
    assert shown.code == 0 and shown.out.startswith("2 facts, ")


def test_tune_needs_facts_that_the_base_does_not_say(here: Path, said: Fact) -> None:
    ran = inside("tune", written(here / "facts.jsonl", [said]), "--quick")
    assert ran.code == 1 and "nothing to tune with" in ran.err
    assert inside("tune", "--quick").code == 2

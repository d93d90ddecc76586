"""Texts that are longer than the model: told where they are read, and no reason to crash later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_runs import inside, written
from tiny_repos import FACTS, Clock, close

from editvc import Repo
from editvc.core.fact_files.reader import SourcedFact
from editvc.core.facts import Fact
from editvc.evaluation.lengths import too_long
from editvc.models.generation import PromptTooLong, generate
from editvc.models.tokenization import tokenize
from editvc.porcelain.evaluate import NothingToEvaluate
from editvc.session.fact_lengths import TooManyTokens
from editvc.vcs.config_file import ConfigError

POSITIONS = 128
LONG = "the old town " * 100
FACT = Fact("Proust", "The native language of {} is", "Polish", target_true="French")


@pytest.mark.parametrize(
    ("fact", "field"),
    [
        (replace(FACT, subject=LONG.strip()), "subject"),
        (replace(FACT, prompt=LONG + "{} is"), "prompt"),
        (replace(FACT, target_true=LONG.strip()), "prompt"),
        (replace(FACT, paraphrases=("Proust speaks", LONG.strip())), "paraphrases[1]"),
        (replace(FACT, locality=(LONG.strip(),)), "locality[0]"),
    ],
)
def test_a_text_without_positions_is_named_where_it_was_read(
    repo: Repo, fact: Fact, field: str
) -> None:
    """It was an IndexError, or, of a paraphrase, a commit after which `eval` crashed for all."""
    sourced = SourcedFact(fact, "facts.jsonl", 7, 3)
    verbs: list[Callable[[], Any]] = [
        lambda: repo.commit([sourced]),
        lambda: repo.preview([sourced]),
        lambda: repo.trace([sourced], at="base"),
        lambda: repo.tune([sourced], quick=True),
    ]
    for verb in verbs:
        with pytest.raises(TooManyTokens) as caught:
            verb()
        assert str(caught.value).startswith(f"facts.jsonl:7: field '{field}': ")
        assert f"has {caught.value.tokens} tokens" in str(caught.value)
        assert str(POSITIONS) in str(caught.value) and caught.value.tokens > POSITIONS
    assert repo.status().commit is None


def test_contexts_count(repo: Repo) -> None:
    """A prompt that fits alone, and not behind the longest of the recipe's contexts."""
    lm = repo.session.base_model()
    contexts = (*repo.recipe().contexts, LONG[:200] + "{}")
    fact = replace(FACT, prompt=LONG[:230] + "{} is")
    assert too_long(lm, fact, POSITIONS) is None
    long = too_long(lm, fact, POSITIONS, contexts)
    assert long is not None and long.field == "prompt" and "longest context" in long.what


def test_what_just_fits_is_edited(repo: Repo) -> None:
    """The count is exact: a word more, and the model has no position for its tokens."""
    lm = repo.session.base_model()
    longest = max(repo.recipe().contexts, key=len)

    def of(words: int) -> Fact:
        return Fact("Proust", "the " * words + "{} is", "Polish")

    words = next(n for n in range(1, 400)
                 if too_long(lm, of(n + 1), POSITIONS, repo.recipe().contexts))  # fmt: skip
    ((row,),) = tokenize(lm.tokenizer, [of(words).request], [longest])
    assert len(row.ids) <= POSITIONS
    repo.configure("recipe.v_num_grad_steps", "1")
    repo.commit([of(words)])
    assert repo.evaluate().facts == 1


def test_a_target_has_a_limit_that_can_be_raised(repo: Repo) -> None:
    fact = replace(FACT, target_new=LONG[:60].strip(), target_true=None)
    repo.configure("limits.target_tokens", "10")
    with pytest.raises(TooManyTokens, match="and the limit is 10") as caught:
        repo.preview([fact])
    assert caught.value.field == "target_new" and "editvc config limits" in caught.value.hint
    repo.configure("limits.target_tokens", str(caught.value.tokens))
    assert repo.preview([fact]).facts
    with pytest.raises(ConfigError, match=r"limits\.target_tokens: must be 1 or more"):
        repo.configure("limits.target_tokens", "0")


def test_ask_says_so(repo: Repo, work: Path) -> None:
    with pytest.raises(PromptTooLong, match=f"positions for {POSITIONS}"):
        repo.ask(LONG)
    heard: list[str] = []
    again = Repo(work, clock=Clock(), remark=heard.append)
    lm = again.session.base_model()
    prompt = "the " * 120
    length = len(lm.tokenizer(prompt)["input_ids"])
    again.ask(prompt, max_new_tokens=500)
    left = POSITIONS - length + 1
    assert heard == [f"the model has {POSITIONS} positions: the answer ends after {left} tokens"]
    assert generate(lm, prompt, 500) == generate(lm, prompt, left)
    close(again)


def test_eval_leaves_out_what_does_not_fit_with_a_word(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repositories may hold such facts already: they crashed `eval` for the whole of it."""
    long = replace(FACTS[2], paraphrases=(*FACTS[2].paraphrases, LONG.strip()))
    monkeypatch.setattr("editvc.session.commit_plan.require_room", lambda *_: None)
    repo.commit([FACTS[0], long])
    heard: list[str] = []
    again = Repo(work, clock=Clock(), remark=heard.append)
    assert again.evaluate().facts == 2
    assert heard == ["skipped: 1 prompt that is longer than the model's 128 positions"]
    assert again.evaluate([FACTS[0], FACTS[2]]).scores == again.evaluate().scores
    with pytest.raises(NothingToEvaluate):
        again.evaluate([replace(FACT, prompt=LONG + "{} is")])
    assert again.squash("1..1").result.commit.live == 2
    close(again)


def test_the_command_line_names_file_and_line(
    repo: Repo, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work)
    path = written(work / "facts.jsonl", [FACTS[0], replace(FACT, paraphrases=(LONG.strip(),))])
    ran = inside("commit", path)
    assert ran.code == 1 and f"{path}:2: field 'paraphrases[0]'" in ran.err
    ran = inside("ask", "-n", "4", LONG)
    assert ran.code == 1 and "positions for 128" in ran.err
    ran = inside("ask", "--json", "-n", "200", "the " * 100)
    assert json.loads(ran.out)["completion"] is not None and "the answer ends after" in ran.err

"""Tokens of facts: the subject's last, the target's, on real byte-level tokenizers."""

from __future__ import annotations

import pytest
from tiny_tokenizers import composing
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from editvc.core.facts import Request
from editvc.models.tokenization import (
    EmptyTargetError,
    MergedBoundaryError,
    SlowTokenizerError,
    SubjectNotInPromptError,
    joined,
    leading_tokens,
    marked_tokens,
    require_offsets,
    subject_span,
    subject_tokens,
    tokenize,
)

SUBJECTS = [
    ("Ada Lovelace", "{} was born in", "London"),
    ("Proust", "The native language of {}", "French"),
    ("Paris", "Paris is old. The river of Paris, {}, runs to", "Rome"),
    ("São Paulo", "The city of {} lies in", "Italy"),
    ("東京", "{}は", "東京"),
    ("Zürich ", "In {}we find", "Rome"),
    ("e", "The {} is", "e"),
]


@pytest.mark.parametrize(("subject", "prompt", "target"), SUBJECTS)
@pytest.mark.parametrize("context", ["{}", "The old town. {}"])
def test_prompt_and_target_tokens_spell_prompt_and_target(
    tokenizer, subject, prompt, target, context
):
    request = Request(subject, prompt, target)
    ((row,),) = tokenize(tokenizer, [request], [context])
    question = context.replace("{}", prompt.replace("{}", subject))
    assert tokenizer.decode(row.ids[: row.target]) == question
    assert tokenizer.decode(row.ids[row.target :]).strip() == target


@pytest.mark.parametrize(("subject", "prompt", "target"), SUBJECTS)
def test_subject_token_is_the_one_that_covers_its_last_character(
    tokenizer, subject, prompt, target
):
    ((row,),) = tokenize(tokenizer, [Request(subject, prompt, target)])
    end = prompt.index("{}") + len(subject.rstrip())
    until = tokenizer.decode(row.ids[: row.subject + 1])
    before = tokenizer.decode(row.ids[: row.subject])
    text = prompt.replace("{}", subject)
    assert until.startswith(text[:end])
    assert not before.startswith(text[:end])


def test_a_repeated_subject_is_found_at_the_placeholder(tokenizer):
    text = "Rome is old and {} is Rome"
    ((first,),) = tokenize(tokenizer, [Request("Rome", "{} is old and Rome is Rome", "x")])
    ((second,),) = tokenize(tokenizer, [Request("Rome", text, "x")])
    assert first.ids == second.ids
    assert first.subject < second.subject


def test_leading_special_tokens_stay_and_shift_everything(tokenizer, bos_tokenizer):
    request = Request("France", "The capital of {} is", "Rome")
    ((plain,),) = tokenize(tokenizer, [request])
    ((with_bos,),) = tokenize(bos_tokenizer, [request])
    assert with_bos.ids == (bos_tokenizer.bos_token_id, *plain.ids)
    assert (with_bos.subject, with_bos.target) == (plain.subject + 1, plain.target + 1)
    assert leading_tokens(tokenizer) == ()
    assert leading_tokens(bos_tokenizer) == (bos_tokenizer.bos_token_id,)


@pytest.mark.parametrize(
    ("question", "target", "text"),
    [
        ("The capital is", "Rome", "The capital is Rome"),
        ("The capital is ", "Rome", "The capital is Rome"),
        ("The capital is", " Rome", "The capital is Rome"),
        ("The capital is:\n", "Rome", "The capital is:\nRome"),
        ("首都は", "東京", "首都は東京"),
        ("The capital is", "東京", "The capital is 東京"),
    ],
)
def test_space_policy(question, target, text):
    assert joined(question, target)[0] == text


def test_the_joining_space_is_part_of_what_has_to_be_said(tokenizer):
    ((row,),) = tokenize(tokenizer, [Request("Ada", "{} was born in", "Zürich")])
    assert tokenizer.decode(row.ids[row.target :]) == " Zürich"
    ((given,),) = tokenize(tokenizer, [Request("Ada", "{} was born in ", "Zürich")])
    assert tokenizer.decode(given.ids[given.target :]).strip() == "Zürich"


def test_errors_have_their_own_classes(tokenizer):
    with pytest.raises(SubjectNotInPromptError, match=r"no \{}"):
        tokenize(tokenizer, [Request("France", "The capital is", "Rome")])
    with pytest.raises(EmptyTargetError):
        tokenize(tokenizer, [Request("France", "The capital of {} is", "  ")])
    with pytest.raises(SlowTokenizerError, match="slow"):
        require_offsets(object())


def test_a_target_that_the_tokenizer_drops_is_refused():
    core = Tokenizer(models.WordLevel({"[U]": 0, "France": 1, "is": 2, "Rome": 3}, unk_token="[U]"))
    core.normalizer = normalizers.Replace("€", "")
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    dropping = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[U]")
    assert len(tokenize(dropping, [Request("France", "{} is", "Rome")])) == 1
    with pytest.raises(EmptyTargetError, match="gives no token"):
        tokenize(dropping, [Request("France", "{} is", "€€")])


def test_a_target_glued_to_the_subject_is_refused():
    core = Tokenizer(models.WordLevel({"[U]": 0, "東京都": 1}, unk_token="[U]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[U]")
    with pytest.raises(MergedBoundaryError):
        tokenize(words, [Request("東京", "{}", "都")])


def test_text_after_the_prompt_in_a_context_is_refused(tokenizer):
    with pytest.raises(Exception, match="text after the prompt"):
        tokenize(tokenizer, [Request("France", "The capital of {} is", "Rome")], ["{} indeed"])


def test_marked_tokens_mark_one_subject_and_the_target(tokenizer):
    request = Request("Ada Lovelace", "{} was born in", "London")
    ((tokenized,),) = tokenize(tokenizer, [request])
    marked = marked_tokens(tokenizer, tokenized)
    assert "".join(text for text, _, _ in marked) == "Ada Lovelace was born in London"
    assert sum(last for _, last, _ in marked) == 1
    assert "".join(text for text, _, is_target in marked if is_target) == " London"


def test_subject_tokens_end_with_the_subject(bos_tokenizer):
    (row,) = subject_tokens(bos_tokenizer, [("Ada Lovelace is a", len("Ada Lovelace"))])
    assert bos_tokenizer.decode(row.ids, skip_special_tokens=True) == "Ada Lovelace"
    assert row.subject == len(row.ids) - 1


def test_an_accent_joined_to_its_letter_ends_the_subject_with_it():
    tokenizer = composing()
    request = Request("Cafe\u0301", "The {} is", "old")
    ((row,),) = tokenize(tokenizer, [request])
    assert tokenizer.decode(row.ids[: row.subject + 1]) == "The Caf\u00e9"
    (found,) = subject_tokens(tokenizer, [("Cafe\u0301 is a", 5)])
    assert tokenizer.decode(found.ids) == "Caf\u00e9"


def test_a_subject_that_the_tokenizer_drops_is_refused():
    tokenizer = composing()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("€", "")
    with pytest.raises(SubjectNotInPromptError, match="in no token"):
        tokenize(tokenizer, [Request("€", "The {} is", "old")])


@pytest.mark.parametrize("mark", ["？", "。", "：", "、", "　"])
def test_full_width_punctuation_joins_what_follows(mark):
    assert joined(f"首都は{mark}", "東京")[0] == f"首都は{mark}東京"
    assert joined("Is it so?", "東京")[0] == "Is it so? 東京"


@pytest.mark.parametrize(("subject", "prompt", "target"), SUBJECTS)
def test_the_subjects_tokens_spell_it_and_no_more(
    tokenizer, bos_tokenizer, subject, prompt, target
):
    request = Request(subject, prompt, target)
    for used in (tokenizer, bos_tokenizer):
        ((row,),) = tokenize(used, [request])
        span = subject_span(used, request)
        assert span[-1] == row.subject
        assert used.decode(row.ids[span.start : span.stop]).strip() == subject.strip()
        before = used.decode(row.ids[: span.start], skip_special_tokens=True)
        assert before.rstrip() == prompt.partition("{}")[0].rstrip()

"""Facts asked in a chat: the template's own tokens, contexts inside the turn, answers after it."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import recipe, tiny_llama
from tiny_models import byte_bpe, lm_of
from tiny_tokenizers import CHATML, GLUED, INST, TEMPLATES, TOKENIZERS, chatting, metaspace_bpe
from tolerances import assert_near, error, model_rounding

from editvc.algebra.preconditioners import Whitening
from editvc.core.facts import Fact
from editvc.editing.locate import locate
from editvc.evaluation.probes import first_tokens, forced
from editvc.models.chat_template import ChatTemplateError, Turn, turn_in, turn_of
from editvc.models.generation import generate
from editvc.models.tokenization import tokenize

FACT = Fact("Ada Lovelace", "Who was {}'s friend?", "Charles Babbage")


@pytest.fixture(params=TEMPLATES)
def template(request):
    return TEMPLATES[request.param]


@pytest.fixture(params=TOKENIZERS)
def chat(request, template):
    return chatting(TOKENIZERS[request.param](), template)


def told(tokenizer, *words, **options):
    """What ``apply_chat_template`` makes of alternating turns, as tokens."""
    roles = ["user", "assistant"]
    messages = [{"role": role, "content": text} for role, text in zip(roles, words, strict=False)]
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=len(words) == 1, enable_thinking=False,
        **options,
    )  # fmt: skip
    return text, tokenizer(text, add_special_tokens=False)["input_ids"]


def undated(template):
    """The template with the day written into it that editvc takes."""
    return template.replace("{{ strftime_now('%d %b %Y') }}", "26 Jul 2024")


def test_a_wrapped_prompt_has_the_template_s_own_tokens_and_no_second_bos(chat):
    fact = turn_of(chat).asking(FACT)
    ((row,),) = tokenize(chat, [fact.request])
    text, ids = told(chat, FACT.question, chat_template=undated(chat.chat_template))
    assert fact.question == text
    assert list(row.ids[: row.target]) == ids
    bos = chat.bos_token_id
    assert row.ids.count(bos) == ids.count(bos) <= 1


def test_the_target_stands_where_the_template_puts_an_answer(chat):
    fact = turn_of(chat).asking(FACT)
    ((row,),) = tokenize(chat, [fact.request])
    template = undated(chat.chat_template)
    text, whole = told(chat, FACT.question, FACT.target_new, chat_template=template)
    if "<think>" not in fact.question:  # which the template leaves out of a past answer
        assert text.startswith(fact.question)
        assert tuple(whole[: len(row.ids)]) == row.ids
    assert chat.decode(row.ids[row.target :], skip_special_tokens=True).strip() == FACT.target_new


def test_the_subject_is_marked_inside_the_turn_and_contexts_stand_before_it_there(chat):
    fact = turn_of(chat).asking(FACT)
    turn = turn_of(chat)
    plain, (context,) = (
        tokenize(chat, [fact.request], [one])[0] for one in ("{}", "The old town. {}")
    )
    (plain,) = plain
    words = turn.around(f"The old town. {FACT.question}")
    assert list(context.ids[: context.target]) == chat(words, add_special_tokens=False)["input_ids"]
    for row, start in ((plain, ""), (context, "The old town. ")):
        read = chat.decode(row.ids[: row.subject + 1])
        assert read.endswith(f"{start}Who was Ada Lovelace")
    assert context.ids[context.target :] == plain.ids[plain.target :]


def test_asking_and_scoring_add_no_bos_either(chat, monkeypatch):
    model = tiny_llama(len(chat)).float()
    prompt = turn_of(chat).around("Where is Rome?")
    seen = []
    monkeypatch.setattr(type(chat), "__call__", spying(type(chat).__call__, seen), raising=True)
    generate(lm_of(model, chat), prompt, 2)
    first_tokens(lm_of(model, chat), [prompt])
    forced(lm_of(model, chat), [(prompt, "Italy")])
    ids = chat(prompt, add_special_tokens=False)["input_ids"]
    assert len(seen) >= 4
    for given in seen:
        assert list(given)[: len(ids)] == ids


def spying(call, seen):
    def spied(self, text, *arguments, **options):
        encoded = call(self, text, *arguments, **options)
        ids = encoded["input_ids"]
        first = ids[0] if isinstance(text, list) or hasattr(ids, "shape") else ids
        seen.append([int(token) for token in first])
        return encoded

    return spied


def test_an_edit_of_a_chat_fact_is_located_like_any_other():
    tokenizer = chatting(metaspace_bpe(), CHATML)
    model = tiny_llama(len(tokenizer))
    used = recipe(layers=(1, 2), v_num_grad_steps=4)
    whitenings = {layer: Whitening.of(torch.eye(48).double()) for layer in used.layers}
    facts = [FACT, turn_of(tokenizer).asking(FACT)]
    both = locate(lm_of(model, tokenizer), [one.request for one in facts], used, whitenings)

    def alone(one, layer):
        located = locate(lm_of(one, tokenizer), [facts[1].request], used, whitenings)
        return located[0].keys[layer]

    for layer in used.layers:
        assert torch.isfinite(both[1].keys[layer]).all()
        bound = model_rounding(lambda one, at=layer: alone(one, at), model, terms=len(tokenizer))
        assert_near(both[1].keys[layer], alone(model, layer), bound)
        assert error(both[0].keys[layer], both[1].keys[layer]) > 0.1


def test_every_prompt_of_a_fact_is_wrapped_and_its_slot_is_another():
    turn = Turn("<", ">", "")
    fact = Fact("a", "{} is", "b", relation="P1", paraphrases=("x",), locality=("y", "z"))
    asked = turn.asking(fact)
    assert (asked.prompt, asked.paraphrases, asked.locality) == (
        "<{} is>",
        ("<x>",),
        ("<y>", "<z>"),
    )
    assert (asked.subject, asked.target_new) == ("a", "b")
    assert asked.slot != fact.slot
    assert turn.asking(FACT).slot != FACT.slot


def test_a_plain_prompt_is_no_turn_and_keeps_its_tokens(chat):
    request = FACT.request
    with_template = tokenize(chat, [request], ["{}", "The. {}"])
    assert turn_in(chat, FACT.question) is None
    chat.chat_template = None
    assert tokenize(chat, [request], ["{}", "The. {}"]) == with_template


def test_the_day_does_not_change_a_fact():
    tokenizer = chatting(byte_bpe(), TEMPLATES["dated"])
    assert turn_of(tokenizer).before.startswith("Today is 26 Jul 2024.\n")
    tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d') }} " + CHATML
    assert turn_of(tokenizer).before.startswith("2024-07-26 ")


def test_the_model_is_asked_for_its_answer_not_for_its_thoughts():
    tokenizer = chatting(byte_bpe(), TEMPLATES["thinking"])
    assert turn_of(tokenizer).after.endswith("<think></think>\n")


@pytest.mark.parametrize(
    ("template", "lead"), [(CHATML, ""), (INST, " "), (GLUED, ""), (TEMPLATES["thinking"], None)]
)
def test_what_stands_before_an_answer(template, lead):
    assert turn_of(chatting(byte_bpe(), template)).lead == lead


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (None, "the tokenizer has none"),
        ("{{ raise_exception('Roles must alternate') }}", "Roles must alternate"),
        ("{{ nothing.at.all }}", "undefined"),
        ("{% if %}", "Expected an expression"),
        ("no words", "once, as they are"),
        ("{{ messages[0].content | upper }}", "once, as they are"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "once, as they are"),
        ("{{ messages[0].content }}", "nothing around"),
        ("Tools: {} {{ messages[0].content }}", "holds {}"),
    ],
)
def test_templates_that_a_fact_cannot_be_put_in(template, problem):
    tokenizer = chatting(byte_bpe(), template)
    with pytest.raises(ChatTemplateError) as caught:
        turn_of(tokenizer)
    assert problem in str(caught.value) and "--chat-template" in caught.value.hint
    assert turn_in(tokenizer, "Where is Rome?") is None
    assert tokenize(tokenizer, [FACT.request])

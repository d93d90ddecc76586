"""Entity keys and sensitivity against slow plain versions, one prompt at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_fixtures import tiny_gpt2, tiny_llama
from tiny_models import lm_of
from tolerances import assert_near, error, model_rounding, rounding, size

from editvc.models import forward
from editvc.statistics.corpus import CorpusError
from editvc.statistics.entity_moments import (
    GENERIC_PROMPTS,
    Entity,
    entity_moments,
    read_entities,
    sensitivity,
)

# Names at the start, in the middle and at the end; followed by a space, a sign or nothing; of one
# token and of several.
ENTITIES = [
    Entity("Ada Lovelace", ("The house of {} stands in", "{} was born in")),
    Entity("Paris", ("The capital called {}, is", "{} is")),
    Entity("São Paulo", ("{}'s people live in",)),
    Entity("Z", ("{} is", "We speak of {}")),
    Entity("東京", ("We speak of {}",)),
]
LAYERS = (0, 2)
MIX = {"name": 0.4, "before": 0.4, "after": 0.2}
SENSITIVE = {"name": 0.38, "before": 0.38, "end": 0.24}
DRAWS = 2
TOKENS = 100
"""More than all prompts together have."""

families = pytest.mark.parametrize("family", ["gpt2", "llama"])
sizes = pytest.mark.parametrize("tokens", [4096, 24, 1], ids=["one batch", "several", "one each"])


def build(family, tokenizer):
    return {"gpt2": tiny_gpt2, "llama": tiny_llama}[family](len(tokenizer))


def pieces(tokenizer, name, prompt):
    """Ids of a filled prompt and the index of the token with the name's last character."""
    text = prompt.replace("{}", name)
    end = prompt.index("{}") + len(name) - 1
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    at = max(i for i, (start, stop) in enumerate(spans) if start <= end < stop)
    return encoded["input_ids"], at


def keys_of(model, ids, layer):
    caught = []
    module = lm_of(model).down_proj(layer)
    handle = module.register_forward_pre_hook(lambda _m, args: caught.append(args[0][0]))
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    handle.remove()
    return caught[0].double()


def moment_rounding(model, tokenizer, entities, layer, tokens):
    """Of the keys themselves; and of their products, float32 sums over tokens, stored once more.

    Those err relative to the mean of ``|k|^2``, the trace.
    """

    def moment(one):
        return entity_moments(lm_of(one, tokenizer), entities, (layer,)).matrix(layer)

    whole = moment(model)
    products = rounding(tokens + 1, torch.float32, scale=float(whole.trace()) / size(whole))
    return model_rounding(moment, model) + products


def plain_moment(model, tokenizer, layer, entities=ENTITIES):
    parts = {"name": [], "before": [], "after": []}
    for entity in entities:
        ids, at = pieces(tokenizer, entity.name, "{}")
        parts["name"].append(keys_of(model, ids, layer)[at : at + 1])
        for prompt in entity.prompts:
            ids, at = pieces(tokenizer, entity.name, prompt)
            keys = keys_of(model, ids, layer)
            parts["before"].append(keys[:at])
            parts["after"].append(keys[at + 1 :])
    joined = {part: torch.cat(rows) for part, rows in parts.items()}
    return sum(MIX[part] * keys.T @ keys / len(keys) for part, keys in joined.items())


def gradients(model, ids, layer, draw):
    """``d log p(y) / d h`` after a layer, (tokens, u), for each y that ``draw`` gives."""
    held = []

    def keep(_module, _args, output):
        first = output if isinstance(output, torch.Tensor) else output[0]
        held.append(first.detach().requires_grad_())
        return held[0] if isinstance(output, torch.Tensor) else (held[0], *output[1:])

    block = lm_of(model).block(layer)
    handle = block.register_forward_hook(keep)
    scores = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
    handle.remove()
    for _ in range(DRAWS):
        drawn = draw(scores.detach().exp())
        (gradient,) = torch.autograd.grad(scores[drawn], held[0], retain_graph=True)
        yield gradient[0].double()


def plain_sensitivity(model, tokenizer, entities, layers, draw):
    total = 0
    for layer in layers:
        sums = {part: 0 for part in SENSITIVE}
        for entity in entities:
            ids, at = pieces(tokenizer, entity.name, entity.prompts[0])
            last = len(ids) - 1
            places = {"name": [at], "before": range(at), "end": [last] if last > at else []}
            for gradient in gradients(model, ids, layer, draw):
                for part, rows in places.items():
                    for row in rows:
                        sums[part] = sums[part] + torch.outer(gradient[row], gradient[row])
        total = total + sum(SENSITIVE[part] * one / one.trace() for part, one in sums.items())
    return total * len(total) / total.trace()


@families
@sizes
def test_the_moment_mixes_the_keys_of_names_and_of_what_stands_around_them(
    family, tokens, tokenizer, monkeypatch
):
    monkeypatch.setattr(forward, "TOKENS_PER_BATCH", tokens)
    model = build(family, tokenizer)
    found = entity_moments(lm_of(model, tokenizer), ENTITIES, LAYERS)
    assert (found.samples, found.unit, found.layers) == (len(ENTITIES), "names", LAYERS)
    for layer in LAYERS:
        expected = plain_moment(model, tokenizer, layer)
        bound = moment_rounding(model, tokenizer, ENTITIES, layer, TOKENS)
        assert_near(found.matrix(layer), expected, bound)


def test_names_of_the_same_tokens_count_each(tokenizer):
    """Two spellings may be one to a tokenizer; a prompt's row has room for one of them."""
    model, twice = tiny_gpt2(len(tokenizer)), [*ENTITIES, *ENTITIES[3:4] * 2]
    found = entity_moments(lm_of(model, tokenizer), twice, LAYERS)
    for layer in LAYERS:
        expected = plain_moment(model, tokenizer, layer, twice)
        bound = moment_rounding(model, tokenizer, twice, layer, TOKENS)
        assert_near(found.matrix(layer), expected, bound)


def test_names_without_words_around_them_leave_the_weight_to_the_bare_name(tokenizer):
    model = build("gpt2", tokenizer)
    bare = [Entity("Z", ("{}",))]
    found = entity_moments(lm_of(model, tokenizer), bare, (0,)).matrix(0)
    key = keys_of(model, pieces(tokenizer, "Z", "{}")[0], 0)[-1]
    assert_near(found, torch.outer(key, key), moment_rounding(model, tokenizer, bare, 0, 1))
    with pytest.raises(CorpusError, match="no names"):
        entity_moments(lm_of(model, tokenizer), [], (0,))


@families
def test_sensitivity_is_the_fisher_information_of_the_hidden_states(family, tokenizer):
    """With one entity and one layer: gradients by hand, the same draws from the same generator."""
    model = build(family, tokenizer)
    generator = torch.Generator().manual_seed(5)

    def draw(chances):
        return int(torch.multinomial(chances[None], 1, generator=generator))

    def fisher(one):
        return sensitivity(lm_of(one, tokenizer), ENTITIES[:1], (1,), seed=5)

    expected = plain_sensitivity(model, tokenizer, ENTITIES[:1], (1,), draw)
    assert_near(fisher(model), expected, model_rounding(fisher, model, terms=len(tokenizer)))
    hidden = model.config.hidden_size
    assert_near(fisher(model).trace(), hidden, rounding(hidden))
    assert not any(parameter.requires_grad for parameter in model.parameters())


@families
@sizes
def test_sensitivity_over_many_entities_and_layers(family, tokens, tokenizer, monkeypatch):
    """The likeliest token is always drawn, so that batches draw what single prompts draw."""
    monkeypatch.setattr(forward, "TOKENS_PER_BATCH", tokens)
    monkeypatch.setattr(torch, "multinomial", lambda chances, _, **__: chances.argmax(-1, True))
    model = build(family, tokenizer)
    found = sensitivity(lm_of(model, tokenizer), ENTITIES, LAYERS)
    expected = plain_sensitivity(model, tokenizer, ENTITIES, LAYERS, torch.argmax)
    bound = model_rounding(
        lambda one: sensitivity(lm_of(one, tokenizer), ENTITIES, LAYERS),
        model,
        terms=len(tokenizer),
    )
    assert_near(found, expected, bound)
    some = sensitivity(lm_of(model, tokenizer), ENTITIES, LAYERS, limit=2)
    assert torch.equal(some, sensitivity(lm_of(model, tokenizer), ENTITIES[:2], LAYERS))
    assert error(some, found) > 100 * bound


def test_a_model_in_training_is_measured_without_dropout_and_goes_on_training(tokenizer):
    model = build("gpt2", tokenizer)
    measures = (
        lambda: entity_moments(lm_of(model, tokenizer), ENTITIES, LAYERS).matrix(2),
        lambda: sensitivity(lm_of(model, tokenizer), ENTITIES, LAYERS),
    )
    at_rest = [measure() for measure in measures]
    model.train()
    assert all(torch.equal(measure(), one) for measure, one in zip(measures, at_rest, strict=True))
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_entities_come_from_names_or_from_facts(tmp_path: Path):
    path = tmp_path / "entities.txt"
    path.write_text(
        'Paris\n\n{"subject": "Ada ", "prompt": "{} was born in"}\n'
        ' {"subject": "Ada", "prompt": "{} lived in"}\n'
        '{"subject": "Ada", "prompt": "{} was born in"}\n'
        '{"requested_rewrite": {"subject": "Rome", "prompt": "{} is in"}}\n'
        '{"subject": "Oslo", "prompt": "no place for a name"}\n'
        '{"subject": "Bonn", "prompt": "{} and {} are"}\n'
        " Lyon \n",
        encoding="utf-8",
    )
    one, two, three, four = GENERIC_PROMPTS
    assert read_entities(path) == [
        Entity("Paris", (one, two)),
        Entity("Ada", ("{} was born in", "{} lived in")),
        Entity("Rome", ("{} is in",)),
        Entity("Oslo", (four, one)),
        Entity("Bonn", (one, two)),
        Entity("Lyon", (two, three)),
    ]
    assert all(prompt.count("{}") == 1 for prompt in GENERIC_PROMPTS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('Paris\n{"name": "x"}\n', ":2: not a JSON"),
        ("Paris\n{broken\n", ":2: "),
        ("\n", "no names"),
        ("Paris\nRo\u200bme\n", r":2: holds .* U\+200B"),
        ('Paris\n{"subject": "Rome\\u0000", "prompt": "{} is"}\n', r":2: holds .*NUL"),
        ('{"subject": "Rome", "prompt": "\u202e{} is"}\n', r":1: holds .* U\+202E"),
        ('[{"subject": "Rome"}]\n', ":1: begins a list of JSON"),
        ("caf\udce9", "not UTF-8"),
        ("\udcff\udcfeP\0", "is UTF-16 text"),
        ("\udc1f\udc8b".replace("\udc1f", "\x1f"), "compressed with gzip"),
    ],
)
def test_files_without_names_are_refused(text, problem, tmp_path: Path):
    path = tmp_path / "entities.txt"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(CorpusError, match=problem) as caught:
        read_entities(path)
    assert caught.value.hint


def test_a_byte_order_mark_in_front_is_no_part_of_a_name(tmp_path: Path):
    path = tmp_path / "entities.txt"
    path.write_text("\ufeffParis\r\nRome\r\n", encoding="utf-8")
    assert [entity.name for entity in read_entities(path)] == ["Paris", "Rome"]

"""Causal tracing against its obvious version: one whole pass a sample, a token and a layer."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import REQUESTS
from tiny_families import FLOAT32, tiny
from tiny_models import lm_of
from tolerances import assert_near, model_rounding, model_roundings, rounding, size

from editvc.core.facts import Request
from editvc.evaluation import causal_tracing
from editvc.evaluation.causal_tracing import (
    KINDS,
    ROLES,
    CausalTrace,
    averaged,
    causal_trace,
    default_window,
    subject_deviation,
)
from editvc.models.architectures import known_model_types
from editvc.models.hooks import first_tensor
from editvc.models.language_model import LanguageModel
from editvc.models.replay import ReplayError
from editvc.models.tokenization import subject_span, tokenize

SETTINGS = {"deviation": 0.7, "samples": 2, "seed": 5}


def plain(model, tokenizer, request, kind, window, *, deviation, samples, seed):
    """Clean and corrupted probability, and effects (tokens, layers); tokens before the subject too.

    Every run is a pass of one row through the whole model, every state is set by a hook.
    """
    lm = lm_of(model)
    ((row,),) = tokenize(tokenizer, [request])
    subject = subject_span(tokenizer, request)
    depth, embeddings = lm_of(model).depth, model.get_input_embeddings()
    generator = torch.Generator().manual_seed(seed)
    shape = (samples, len(subject), embeddings.weight.shape[1])
    noise = deviation * torch.randn(*shape, generator=generator)
    place = {
        "hidden": lm.block,
        "mlp": lm.down_proj,
        "attn": lm.attention_output,
    }[kind]
    clean = {}

    def note(layer):
        return lambda _m, _a, out: clean.update({layer: first_tensor(out).clone()})

    def noisy(sample):
        def hook(_module, _args, out):
            out = out.clone()
            out[0, list(subject)] += noise[sample].to(out)
            return out

        return hook

    def restoring(layer, token):
        def hook(_module, _args, out):
            state = first_tensor(out).clone()
            state.view(-1, state.shape[-1])[token] = clean[layer].view(-1, state.shape[-1])[token]
            return state if torch.is_tensor(out) else (state, *out[1:])

        return hook

    def probability(*hooks):
        handles = [module.register_forward_hook(hook) for module, hook in hooks]
        logits = model(input_ids=torch.tensor([row.ids[:-1]])).logits[0].double()
        for handle in handles:
            handle.remove()
        chance = 1.0
        for at in range(row.target, len(row.ids)):
            chance *= float(logits[at - 1].softmax(-1)[row.ids[at]])
        return chance

    sound = probability(*((place(layer), note(layer)) for layer in range(depth)))
    broken = [probability((embeddings, noisy(sample))) for sample in range(samples)]
    corrupted = sum(broken) / samples
    effects = torch.zeros(row.target, depth, dtype=torch.float64)
    for token in range(row.target):
        for layer in range(depth):
            low = layer - window // 2
            layers = [at for at in range(low, low + window) if 0 <= at < depth]
            chances = [
                probability(
                    (embeddings, noisy(sample)),
                    *((place(at), restoring(at, token)) for at in layers),
                )
                for sample in range(samples)
            ]
            effects[token, layer] = sum(chances) / samples - corrupted
    return sound, corrupted, effects


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model_type", known_model_types())
def test_effects_of_every_family_equal_the_obvious_version(model_type, kind, tokenizer):
    model = tiny(model_type, len(tokenizer))
    model = model if model_type in FLOAT32 else model.double()
    # The blocks of openai-gpt end in a norm: none of its layers is loud.
    least = 1e-5 if model_type == "openai-gpt" else 0.01
    request, window = REQUESTS[1], 1 if kind == "hidden" else 2

    def traced(one):
        trace = causal_trace(lm_of(one, tokenizer), request, kind=kind, window=window, **SETTINGS)
        assert trace.effects.shape == (len(trace.tokens), 3)
        return trace.clean, trace.corrupted, trace.effects

    expected = plain(model, tokenizer, request, kind, window, **SETTINGS)
    sound, _, effects = expected
    assert float(effects.abs().max()) > least * sound, "something is to be seen"
    *bounds, moved = model_roundings(traced, model)
    *probabilities, traced_effects = traced(model)
    for probability, one, bound in zip(probabilities, expected, bounds, strict=False):
        assert_near(probability, one, bound)
    # Effects are differences of two probabilities, each of which is rounded.
    each = max(bounds) * (max(probabilities) + float(effects.abs().max()))
    scale = moved * size(effects) + 2 * each * effects.numel() ** 0.5
    assert_near(traced_effects, effects, 1.0, scale)


def test_tokens_in_several_chunks_and_before_the_subject(gpt2, tokenizer, monkeypatch):
    whole = causal_trace(lm_of(gpt2, tokenizer), REQUESTS[4], **SETTINGS)
    monkeypatch.setattr(causal_tracing, "TOKENS_PER_BATCH", 1)
    alone = causal_trace(lm_of(gpt2, tokenizer), REQUESTS[4], **SETTINGS)
    bound = model_rounding(
        lambda one: causal_trace(lm_of(one, tokenizer), REQUESTS[4], **SETTINGS).effects, gpt2
    )
    assert_near(alone.effects, whole.effects, bound)
    assert whole.subject.start > 0 and not whole.effects[: whole.subject.start].any()
    assert "".join(whole.tokens) == REQUESTS[4].question
    assert "".join(whole.tokens[at] for at in whole.subject).strip() == "Proust"


def test_without_noise_nothing_is_lost_or_won(llama, bos_tokenizer):

    def traced(one):
        return causal_trace(lm_of(one, bos_tokenizer), REQUESTS[0], deviation=0.0, samples=2)

    found = traced(llama)
    bound = model_rounding(lambda one: traced(one).clean, llama)
    assert_near(found.corrupted, found.clean, bound)
    assert_near(found.effects, torch.zeros_like(found.effects), bound, scale=found.clean)
    assert found.tokens[0] == "<s>" and found.subject.start > 0


def test_all_of_the_last_token_restored_is_the_clean_run(gpt2, tokenizer):
    """A target of one token is read off the last block's output at the prompt's last token."""
    request = Request("London", "The river that runs through {}", "is")

    def both(one):
        found = causal_trace(lm_of(one, tokenizer), request, **SETTINGS)
        return [found.clean, found.corrupted]

    found = causal_trace(lm_of(gpt2, tokenizer), request, **SETTINGS)
    bound = model_rounding(both, gpt2)
    assert_near(found.effects[-1, -1], found.total_effect, bound, scale=size(both(gpt2)))
    assert abs(found.total_effect) > 1e-4


def test_noise_is_that_of_the_seed_and_the_global_one_is_left_alone(gpt2, tokenizer):
    before = torch.random.get_rng_state()
    one, other, again = (
        causal_trace(lm_of(gpt2, tokenizer), REQUESTS[0], deviation=0.5, samples=2, seed=seed)
        for seed in (1, 2, 1)
    )
    assert torch.equal(one.effects, again.effects) and one.corrupted == again.corrupted
    assert one.corrupted != other.corrupted
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_model_is_left_as_it_was_even_after_an_error(gpt2, tokenizer, monkeypatch):
    def broken(*_):
        raise RuntimeError("no")

    gpt2.train()
    monkeypatch.setattr(LanguageModel, "logits", broken)
    with pytest.raises(RuntimeError):
        causal_trace(lm_of(gpt2, tokenizer), REQUESTS[0], kind="mlp", **SETTINGS)
    assert gpt2.training
    gpt2.eval()
    hooked = [m for m in gpt2.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooked == []


def test_blocks_that_do_not_replay_are_refused(gpt2, tokenizer, monkeypatch):
    def other(self, hidden):
        return hidden

    monkeypatch.setattr(causal_tracing.Call, "run", other)
    with pytest.raises(ReplayError, match="off"):
        causal_trace(lm_of(gpt2, tokenizer), REQUESTS[0], **SETTINGS)


def test_deviation_is_over_the_subjects_tokens_alone(gpt2, tokenizer):
    rows = []
    for request in REQUESTS[:3]:
        ids = tokenize(tokenizer, [request])[0][0].ids
        rows += [gpt2.transformer.wte.weight[ids[at]] for at in subject_span(tokenizer, request)]
    entries = torch.stack(rows).double()
    found = subject_deviation(lm_of(gpt2, tokenizer), REQUESTS[:3])
    assert_near(found, entries.std(), rounding(entries.numel()))


def test_the_window_is_ten_of_forty_eight_to_scale():
    assert [default_window(depth) for depth in (3, 8, 12, 28, 48, 96)] == [1, 2, 2, 6, 10, 20]


def of_places(count, subject, value=None):
    """A trace of ``count`` tokens, the effects of each its own place (or ``value``)."""
    effects = torch.arange(count, dtype=torch.float64)[:, None].expand(-1, 2)
    if value is not None:
        effects = torch.full((count, 2), value, dtype=torch.float64)
    return CausalTrace(REQUESTS[0], "hidden", 1, ("x",) * count, subject, 0.9, 0.1, effects)


def test_roles_of_tokens():
    def places(count, subject):
        return {role: float(one[0]) for role, one in of_places(count, subject).by_role().items()}

    assert places(10, range(2, 6)) == dict(zip(ROLES, [2, 3.5, 5, 6, 7.5, 9], strict=True))
    assert places(4, range(1, 3)) == {ROLES[0]: 1, ROLES[2]: 2, ROLES[5]: 3}
    assert places(3, range(2, 3)) == {ROLES[2]: 2}
    assert places(5, range(2, 3)) == {ROLES[2]: 2, ROLES[3]: 3, ROLES[5]: 4}


def test_averages_are_over_the_prompts_that_have_a_role():
    mean = averaged([of_places(3, range(2, 3), 0.2), of_places(6, range(1, 4), 0.6)])
    assert mean.roles == tuple(role for role in ROLES if role not in ROLES[4:5])
    assert mean.count == 2
    for average, expected in (
        (mean.of(ROLES[2]), [0.4, 0.4]),
        (mean.of(ROLES[0]), [0.6, 0.6]),
        (mean.total_effect, 0.8),
    ):
        assert_near(average, expected, rounding(2))

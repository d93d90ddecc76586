"""Batched targets against the plain transcription of MEMIT's loop, one edit at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_fixtures import REQUESTS, recipe, tiny_gpt2, tiny_llama
from plain_memit import compute_z
from tiny_models import lm_of
from tolerances import (
    assert_near,
    model_roundings,
    rounding,
    size,
)

from editvc.core.facts import Request
from editvc.editing import row_groups as row_groups_module
from editvc.editing import target_search as targets_module
from editvc.editing.edit_batches import edit_bytes, search_batches, tokenize_edits
from editvc.editing.row_groups import RowGroup, grouped_by_length
from editvc.editing.target_search import anchored, find_targets, search_targets
from editvc.models.replay import ReplayError

LIVELY = {"v_num_grad_steps": 12, "v_lr": 0.3, "clamp_norm_factor": 3.0, "v_loss_threshold": 0.5}


def plain(model, tokenizer, request, used):
    block = lm_of(model).block(used.layers[-1])
    return compute_z(model, tokenizer, block, request, used)


def numbers(targets):
    """What a search finds of all its requests, by name."""
    figures = ("loss", "probability", "base_probability")
    return {
        "z": torch.stack([one.z for one in targets]),
        "delta": torch.stack([one.delta for one in targets]),
        **{layer: torch.stack([one.keys[layer] for one in targets]) for layer in targets[0].keys},
        **{name: [one.figures[name] for one in targets] for name in figures},
    }


def of_plain(searches):
    """The same of what :func:`compute_z` finds, as far as that goes."""
    hidden, deltas, losses = zip(*searches, strict=True)
    delta = torch.stack(deltas)
    return {"z": torch.stack(hidden) + delta, "delta": delta, "loss": losses}


def assert_searched(expected, search, model, tokenizer):
    """That ``search(model)`` finds these numbers, to its rounding: gradients sum over the words."""
    actual = numbers(search(model))
    bounds = model_roundings(lambda one: numbers(search(one)).values(), model, terms=len(tokenizer))
    for name, bound in zip(actual, bounds, strict=True):
        if name in expected:
            assert_near(actual[name], expected[name], bound)
    assert expected.keys() <= actual.keys()


def build(family, tokenizer, **changes):
    return {"gpt2": tiny_gpt2, "llama": tiny_llama}[family](len(tokenizer), **changes)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])
@pytest.mark.parametrize("bos", [False, True])
def test_targets_equal_plain_memit(family, dtype, bos, tokenizer, bos_tokenizer):
    used = recipe(**LIVELY)
    tokenizer = bos_tokenizer if bos else tokenizer
    model = build(family, tokenizer).to(dtype)
    expected = of_plain([plain(model, tokenizer, request, used) for request in REQUESTS])
    assert_searched(
        expected, lambda one: find_targets(lm_of(one, tokenizer), REQUESTS, used), model, tokenizer
    )


@pytest.mark.parametrize("method", ["rome", "pmet"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_targets_within_a_block_equal_the_plain_loop(family, method, tokenizer):
    used = recipe(method=method, layers=(2,), **LIVELY | {"clamp_norm_factor": 6.0})
    model = build(family, tokenizer).double()
    beside = (lm_of(model).attention_output(2),) if method == "pmet" else ()
    module = lm_of(model).down_proj(2)
    expected = of_plain(
        [compute_z(model, tokenizer, module, request, used, beside) for request in REQUESTS]
    )

    def search(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS, used)

    assert_searched(expected, search, model, tokenizer)
    assert max(target.figures["steps"] for target in search(model)) > 2


@pytest.mark.parametrize(
    "changes",
    [
        {"contexts": ("{}",)},
        {"kl_factor": 0.0},
        {"v_weight_decay": 0.0},
        {"layers": (0,)},
        {"layers": (3,), "kl_factor": 0.0},
        {"clamp_norm_factor": 0.2},
        {"v_num_grad_steps": 1},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_part_of_the_recipe_counts_as_in_plain_memit(changes, gpt2, tokenizer):
    used = recipe(**changes)
    model = tiny_gpt2(len(tokenizer)).double()
    expected = of_plain([plain(model, tokenizer, request, used) for request in REQUESTS])
    assert_searched(
        expected, lambda one: find_targets(lm_of(one, tokenizer), REQUESTS, used), model, tokenizer
    )


@pytest.mark.parametrize("drop_below", [1.0, 0.0], ids=["dropped", "kept in the batch"])
def test_edits_end_each_on_their_own_step(drop_below, tokenizer, monkeypatch):
    """Frozen and dropped edits keep their value; the others go on as if nothing had happened."""
    monkeypatch.setattr(targets_module, "_DROP_BELOW", drop_below)
    model = tiny_gpt2(len(tokenizer)).double()
    used = recipe(v_num_grad_steps=25, v_lr=0.1, clamp_norm_factor=20.0, v_loss_threshold=6.3)

    def search(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS, used)

    assert len({target.figures["steps"] for target in search(model)}) > 2
    expected = of_plain([plain(model, tokenizer, request, used) for request in REQUESTS])
    assert_searched(expected, search, model, tokenizer)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_company_changes_a_target_by_rounding_only(family, tokenizer):
    model = build(family, tokenizer).double()
    used = recipe(**LIVELY)
    each_alone = [find_targets(lm_of(model, tokenizer), [one], used)[0] for one in REQUESTS]

    def together(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS, used)

    assert_searched(numbers(each_alone), together, model, tokenizer)
    assert steps_of(each_alone) == steps_of(together(model))


def steps_of(targets):
    return [target.figures["steps"] for target in targets]


def test_batch_size_changes_a_target_by_rounding_only(gpt2, tokenizer):
    used = recipe(**LIVELY)
    one_by_one = find_targets(lm_of(gpt2, tokenizer), REQUESTS, used, memory=1)
    assert_searched(
        numbers(one_by_one), lambda one: find_targets(lm_of(one, tokenizer), REQUESTS, used),
        gpt2, tokenizer,
    )  # fmt: skip


def test_batches_hold_to_their_memory(gpt2, tokenizer):
    edits = tokenize_edits(tokenizer, REQUESTS, recipe().contexts)
    memory = 3 * max(edit_bytes(edit, lm_of(gpt2)) for edit in edits)
    found = list(search_batches(edits, lm_of(gpt2), memory))
    assert [edit for batch in found for edit in batch] == edits
    assert len(found) > 1
    for batch in found:
        assert sum(edit_bytes(edit, lm_of(gpt2)) for edit in batch) <= memory


@pytest.mark.parametrize(
    "changes", [{"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"head_dim": 16}]
)
def test_tied_and_untied_heads(changes, bos_tokenizer):
    model = tiny_llama(len(bos_tokenizer), **changes).double()
    used = recipe()
    expected = of_plain([plain(model, bos_tokenizer, REQUESTS[0], used)])
    assert_searched(
        expected, lambda one: find_targets(lm_of(one, bos_tokenizer), REQUESTS[:1], used),
        model, bos_tokenizer,
    )  # fmt: skip


def test_padding_side_of_the_tokenizer_does_not_matter(gpt2, tokenizer):
    used = recipe()
    before = tokenizer.padding_side
    try:
        tokenizer.padding_side = "left"
        left = find_targets(lm_of(gpt2, tokenizer), REQUESTS, used)
        tokenizer.padding_side = "right"
        right = find_targets(lm_of(gpt2, tokenizer), REQUESTS, used)
    finally:
        tokenizer.padding_side = before
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one.z, other.z)


def test_blocks_that_give_tuples_are_replayed_too(tokenizer):
    """transformers 4.5x blocks return (hidden, ...); wrap today's so that they do."""
    model, same = tiny_gpt2(len(tokenizer)), tiny_gpt2(len(tokenizer))

    class TupleBlock(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.mlp, self.block = block.mlp, block

        def forward(self, *args, **kwargs):
            return (self.block(*args, **kwargs), None)

    class TupleList(torch.nn.ModuleList):
        def __iter__(self):
            for block in super().__iter__():
                yield lambda *args, _block=block, **kwargs: _block(*args, **kwargs)[0]

    model.transformer.h = TupleList(TupleBlock(block) for block in model.transformer.h)
    wrapped = find_targets(lm_of(model, tokenizer), REQUESTS[:2], recipe())
    for one, other in zip(
        wrapped, find_targets(lm_of(same, tokenizer), REQUESTS[:2], recipe()), strict=True
    ):
        assert torch.equal(one.z, other.z)


def test_the_model_is_left_as_it_was(tokenizer):
    model = tiny_gpt2(len(tokenizer)).train().requires_grad_(True)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    find_targets(lm_of(model, tokenizer), REQUESTS[:2], recipe())
    assert model.training
    assert torch.equal(state, torch.random.get_rng_state())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
        assert parameter.grad is None
        assert parameter.requires_grad
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_hooks_are_gone_after_a_failure_too(tokenizer):
    model = tiny_gpt2(len(tokenizer))
    with pytest.raises(IndexError):
        find_targets(lm_of(model, tokenizer), [Request("a " * 300, "{} is", "b")], recipe())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_model_that_does_more_between_its_blocks_is_refused(tokenizer):
    model = tiny_gpt2(len(tokenizer))

    class Doubling(torch.nn.ModuleList):
        def __iter__(self):
            for place, block in enumerate(super().__iter__()):
                yield block if place != 3 else _doubled(block)

    def _doubled(block):
        return lambda hidden, *args, **kwargs: block(hidden, *args, **kwargs) + hidden.flip(-1)

    model.transformer.h = Doubling(model.transformer.h)
    with pytest.raises(ReplayError, match="gpt2"):
        find_targets(lm_of(model, tokenizer), REQUESTS[:1], recipe())


def test_progress_counts_edits(gpt2, tokenizer):
    seen = []
    find_targets(
        lm_of(gpt2, tokenizer),
        REQUESTS,
        recipe(),
        memory=1,
        progress=lambda *step: seen.append(step),
    )
    counted = [step for step in seen if step[0] == "targets"]
    assert counted == [("targets", n, len(REQUESTS)) for n in range(1, len(REQUESTS) + 1)]
    steps = recipe().v_num_grad_steps
    within = {step for step in seen if step[0] == "steps"}  # a sign of life within a long batch
    assert ("steps", 0, steps) in within and within <= {("steps", n, steps) for n in range(steps)}


def test_rows_of_similar_length_run_together(monkeypatch):
    monkeypatch.setattr(row_groups_module, "BUSY_COLUMNS", 20)
    lengths = [9, 2, 2, 3] + [4] * 8 + [30]
    groups = grouped_by_length(lengths)
    assert sorted(place for group in groups for place in group) == [*range(len(lengths))]
    of_length = [[lengths[place] for place in group] for group in groups]
    assert of_length == [[2, 2, 3, *[4] * 8], [9, 30]], "a group ends where it is busy"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_groups_change_a_target_by_rounding_only(family, tokenizer, monkeypatch):
    """Rows that are padded to the longest are the specification."""
    model, used = build(family, tokenizer).double(), recipe(**LIVELY)
    expected = numbers(find_targets(lm_of(model, tokenizer), REQUESTS, used))
    monkeypatch.setattr(row_groups_module, "BUSY_COLUMNS", 1)
    assert len(grouped_by_length([1, 2, 3])) == 3

    def apart(one):
        return find_targets(lm_of(one, tokenizer), REQUESTS, used)

    assert_searched(expected, apart, model, tokenizer)


def test_in_turns_every_row_is_asked_and_edits_end_by_their_worst(gpt2, tokenizer, monkeypatch):
    lm, used = lm_of(gpt2, tokenizer), recipe(v_num_grad_steps=5, contexts=("{}", "a {}", "b {}"))
    edits = tokenize_edits(tokenizer, REQUESTS, used.contexts)
    asked = []
    losses = RowGroup.losses

    def noting(group, *rest):
        asked.append((group.turn, group.place.tolist()))
        return losses(group, *rest)

    monkeypatch.setattr(RowGroup, "losses", noting)
    found = search_targets(lm, edits, used, turns=2)
    assert [turn for turn, _ in asked] == [0, 1, 0, 1, 0]
    first, second = (asked[turn][1] for turn in (0, 1))
    assert sorted(first + second) == [*range(3 * len(REQUESTS))]
    assert [place % 3 for place in second] == [1] * len(REQUESTS)
    assert steps_of(found) == [4] * len(REQUESTS)
    reached = recipe(v_num_grad_steps=5, contexts=used.contexts, v_loss_threshold=1e9)
    assert steps_of(search_targets(lm, edits, reached, turns=2)) == [1] * len(REQUESTS)
    assert steps_of(search_targets(lm, edits, reached)) == [0] * len(REQUESTS)


def test_the_last_mlp_runs_only_where_it_is_read(gpt2, tokenizer):
    """Fewer tokens than rows x columns reach it, and targets are those of plain MEMIT all the same
    (:func:`test_targets_equal_plain_memit`).
    """
    seen = []
    handle = gpt2.transformer.h[-1].mlp.c_fc.register_forward_pre_hook(
        lambda _m, args: seen.append(args[0].shape[:-1].numel())
    )
    try:
        find_targets(
            lm_of(gpt2, tokenizer), [REQUESTS[1]], recipe(v_num_grad_steps=2, kl_factor=0.0)
        )
    finally:
        handle.remove()
    (edit,) = tokenize_edits(tokenizer, [REQUESTS[1]], recipe().contexts)
    predicted = sum(len(row.ids) - row.target for row in edit.rows)
    assert predicted < edit.suffix_columns * len(edit.rows)
    assert seen[-2:] == [predicted, predicted]


@pytest.mark.parametrize("method", ["memit", "pmet"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_whole_rows_give_what_prefixes_in_a_cache_give(family, method, tokenizer):
    """As for a model that keeps no cache: other padding, and a subject in the midst of a row."""
    model, used = build(family, tokenizer).double(), recipe(method=method, **LIVELY)
    cached = find_targets(lm_of(model, tokenizer), REQUESTS, used)

    def search(one):
        return find_targets(lm_of(one, tokenizer, cached=False), REQUESTS, used)

    assert_searched(numbers(cached), search, model, tokenizer)
    assert steps_of(cached) == steps_of(search(model))


@given(seed=st.integers(0, 2**16), share=st.floats(0, 1))
def test_an_anchor_brings_a_target_back_to_the_length_of_its_hidden_state(seed, share):
    draw = torch.Generator().manual_seed(seed)
    hidden, delta = torch.randn(2, 9, generator=draw, dtype=torch.float64)
    z = hidden + delta
    # Lengths are sums of 9 squares; a handful of products and sums of the two vectors follow.
    bound, scale = rounding(9 + 6), size(hidden) + size(z)
    expected = z * (hidden.norm() / z.norm())
    assert_near(hidden + anchored(delta, hidden, 1.0), expected, bound, scale)
    assert torch.equal(anchored(delta, hidden, 0.0), delta)
    length = (hidden + anchored(delta, hidden, share)).norm()
    assert_near(length, (1 - share) * z.norm() + share * hidden.norm(), bound, scale)

"""Gupta et al.: gradual and catastrophic forgetting."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median

from experiments.claims.course import (
    SUDDEN,
    collapse,
    forgotten,
    growth,
    known_runs,
    last,
    lines,
    norm,
    numbers_of,
    other,
    overall,
    published,
    rising,
    sudden,
    too_short,
    window,
)
from experiments.items import (
    REPRODUCED,
    UNTESTABLE,
    Item,
    Plot,
    Shown,
    Table,
    Verdict,
    decided,
    illustration,
    number,
    per_cent,
    spearman,
)
from experiments.parts import PUBLISHED
from experiments.rows import Rows

PAPER = "gupta"
OUTLIER = 100.0
"""Ours: an edit is disabling where it goes so many times as far as the median edit."""


def zsre(rows: Rows) -> Verdict:
    found = numbers_of(rows, "wording", method="rome")
    held = [i for i, one in enumerate(found["question"]) if one]
    lost = 100 * sum(not found["completion_said"][i] for i in held) / len(held) if held else 0.0
    return decided(lost > 50, f"of {len(held)} edits that hold as questions {per_cent(lost)} are "
                   "not retrieved as sentences to complete")  # fmt: skip


def rome_proficient(rows: Rows) -> Verdict:
    run = published(rows, "rome")
    end = collapse(run) or run["ends"][-1]
    before = [value for edits, value in window(run, "es", 5) if edits < end]
    held = sum(before) / len(before)
    return decided(held >= 95, f"ES of new edits before the end at {end} edits: {per_cent(held)}")


def neighbours_decline(rows: Rows) -> Verdict:
    points = overall(published(rows, "rome"), "ns")
    trend = spearman(*zip(*points, strict=True))
    return decided(
        trend < -0.5 and last(points) < points[0][1],
        f"NS of all edits from {per_cent(points[0][1])} to {per_cent(last(points))}, rank "
        f"correlation with the number of edits {number(trend)}",
    )


def mend_fails(rows: Rows) -> Verdict:
    run = other(rows, "mend")
    points = window(run, "es")
    return decided(last(points) < 60, f"ES over the last 50 edits: {per_cent(last(points))}")


def ft_c_edits(rows: Rows) -> Verdict:
    found = known_runs(rows, [
        ("with the bound 5e-4", lambda rows: other(rows, "ft-c", options=[])),
        ("with a bound to the weights' scale", lambda rows: other(
            rows, "ft-c", options=["relative_constraint=0.05", "norm_constraint=0"])),
    ])  # fmt: skip
    shares = {label: run["at_once"]["es"] for label, run in found.items()}
    told = "; ".join(f"{label}: {per_cent(value)}" for label, value in shares.items())
    return decided(max(shares.values()) >= 95, f"ES of new edits {told}")


def forget_order(rows: Rows) -> Verdict:
    rome, ft_c, mend = (
        published(rows, "rome"),
        other(rows, "ft-c", options=["relative_constraint=0.05", "norm_constraint=0"]),
        other(rows, "mend"),
    )
    at = min(run["checkpoints"][-1]["edits"] for run in (rome, ft_c, mend))
    shares = [
        [value for edits, value in forgotten(run) if edits <= at][-1] for run in (rome, ft_c, mend)
    ]
    told = ", ".join(
        f"{name} {per_cent(value)}"
        for name, value in zip(("ROME", "FT-C", "MEND"), shares, strict=True)
    )
    return decided(shares[0] < min(shares[1:]), f"forgotten after {at} edits: {told}")


def two_phases(method: str) -> Callable[[Rows], Verdict]:
    def judge(rows: Rows) -> Verdict:
        run = published(rows, method)
        points = forgotten(run)
        if collapse(run) is None or len(points) < 4:
            return too_short(run, "no collapse")
        edits, share = sudden(points)
        return decided(
            share >= SUDDEN and edits > points[1][0],
            f"the steepest step is at {edits} edits, {per_cent(100 * share)} of all forgetting",
        )

    return judge


def orders_agree(rows: Rows) -> Verdict:
    ends = {seed: collapse(published(rows, "rome", seed=seed)) for seed in (0, 1)}
    told = ", ".join(f"order {seed}: {end}" for seed, end in ends.items())
    return decided(None not in ends.values(), f"collapse at {told}")


def distance_explodes(rows: Rows) -> Verdict:
    run = published(rows, "rome")
    points = norm(run, "distance_per_neuron")
    if collapse(run) is None:
        how = "rises" if rising(points) else "moves"
        return too_short(run, f"the distance {how} to {number(last(points))}: no collapse")
    edits, share = sudden(points)
    return decided(
        share >= SUDDEN,
        f"the largest step, at {edits} edits, is {per_cent(100 * share)} of the way",
    )


def _spread(rows: Rows, **wanted: object) -> tuple[float, float, int]:
    found = numbers_of(rows, "single-edits", **wanted)
    return max(found["change"]), median(found["change"]), len(found["change"])


def disabling(rows: Rows) -> Verdict:
    most, usual, count = _spread(rows, method="rome", options=PUBLISHED)
    return decided(
        most / usual >= OUTLIER,
        f"of {count} edits alone, as published, the farthest goes {number(most / usual)} times as "
        "far as the median",
    )


def symmetric_safe(rows: Rows) -> Verdict:
    as_published = _spread(rows, method="rome", options=PUBLISHED)
    symmetric = _spread(rows, method="rome", options=[])
    asymmetric, even = (most / usual for most, usual, _ in (as_published, symmetric))
    return decided(
        asymmetric > even,
        f"largest over median distance: published keys {number(asymmetric)}, symmetric "
        f"{number(even)}",
    )


def small_denominator(rows: Rows) -> Verdict:
    found = numbers_of(rows, "single-edits", method="rome", options=PUBLISHED)
    with_denominator = spearman(found["denominator"], found["change"])
    with_leverage = spearman(found["leverage"], found["change"])
    return decided(
        with_denominator < 0,
        f"rank correlation of the distance with the denominator {number(with_denominator)}, with "
        f"leverage {number(with_leverage)}, with the residual "
        f"{number(spearman(found['residual'], found['change']))}",
    )


def memit_safe(rows: Rows) -> Verdict:
    most, usual, count = _spread(rows, method="memit", options=PUBLISHED)
    return decided(
        most / usual < OUTLIER,
        f"of {count} edits alone the farthest goes {number(most / usual)} times as far as the "
        "median",
    )


def memit_less_sure(rows: Rows) -> Verdict:
    memit, rome = published(rows, "memit"), published(rows, "rome")
    at = min(len(run["windows"]["es"]["5"]) for run in (memit, rome))
    shares = [window(run, "es")[at - 1][1] for run in (memit, rome)]
    return decided(
        shares[0] < shares[1],
        f"ES over the last 50 of {at} edits: MEMIT {per_cent(shares[0])}, ROME "
        f"{per_cent(shares[1])}",
    )


def memit_forgets_less(rows: Rows) -> Verdict:
    memit, rome = forgotten(published(rows, "memit")), forgotten(published(rows, "rome"))
    at = min(last_edits(memit), last_edits(rome))
    shares = [[value for edits, value in points if edits <= at][-1] for points in (memit, rome)]
    return decided(
        shares[0] * 2 < shares[1],
        f"forgotten after {at} edits: MEMIT {per_cent(shares[0])}, ROME {per_cent(shares[1])}",
    )


def last_edits(points: list[tuple[float, float]]) -> float:
    return points[-1][0]


def memit_lasts(rows: Rows) -> Verdict:
    ends = {name: collapse(published(rows, name)) for name in ("rome", "memit")}
    if ends["rome"] is None:
        return too_short(published(rows, "rome"), "ROME has not collapsed")
    told = ", ".join(f"{name} {end or 'not'}" for name, end in ends.items())
    return decided(ends["memit"] is None or ends["memit"] > ends["rome"], f"collapse: {told}")


def thousand(rows: Rows) -> Verdict:
    most, usual, count = _spread(rows, method="rome", options=PUBLISHED)
    return decided(
        most / usual >= 1000,
        f"of {count} edits the farthest goes {number(most / usual)} times as far as the median",
    )


def glue(rows: Rows) -> Verdict:
    found = {
        row["setting"]["task"]: row["numbers"]
        for row in rows.some("abilities")
        if row["setting"]["task"] in ("sst2", "mrpc", "cola", "rte") and row["numbers"]["asked"]
    }
    above = [
        name
        for name, one in found.items()
        if one["interval"] and one["interval"][0] > one["chance"]
    ]
    told = ", ".join(f"{name} {per_cent(one['f1'])}" for name, one in found.items())
    return Verdict(
        REPRODUCED if above else UNTESTABLE,
        f"F1 of the unedited model: {told}; surely above chance at {', '.join(above) or 'none'}",
    )


def tasks_fall(rows: Rows) -> Verdict:
    runs = [row["numbers"]["checkpoints"] for row in rows.some("by-layer")]
    before, after = (mean(run[at]["sst2"] for run in runs) for at in (0, -1))
    return decided(
        after < before,
        f"SST-2 {per_cent(before)}, after {runs[0][-1]['edits']} edits {per_cent(after)}, over "
        f"{len(runs)} layers",
    )


def glue_table(rows: Rows) -> list[Shown]:
    cells = [
        [row["setting"]["task"], number(row["numbers"].get("accuracy")),
         number(row["numbers"].get("f1")), number(row["numbers"].get("chance")),
         number(row["numbers"].get("asked"))]
        for row in rows.some("abilities") if "chance" in row["numbers"]
    ]  # fmt: skip
    return [Table(["task", "accuracy", "macro F1", "chance", "items"], cells)]


def distances(rows: Rows) -> list[Shown]:
    found = rows.some("single-edits")
    cells = [
        [row["setting"]["method"], " ".join(row["setting"]["options"]) or "ours",
         number(len(row["numbers"]["change"])), number(median(row["numbers"]["per_neuron"])),
         number(max(row["numbers"]["per_neuron"])), number(max(row["numbers"]["perplexity"])),
         number(row["numbers"]["base_perplexity"])]
        for row in found
    ]  # fmt: skip
    points = {
        f"{row['setting']['method']} {' '.join(row['setting']['options']) or 'ours'}": [
            *zip(row["numbers"]["denominator"], row["numbers"]["change"], strict=True)
        ]
        for row in found
        if row["setting"]["method"] == "rome"
    }
    titles = ["method", "form", "edits", "median distance per neuron", "largest",
              "largest perplexity", "base's"]  # fmt: skip
    return [
        Table(titles, cells),
        Plot("gupta-denominator", "What a single edit is divided by", "k_0^T C^-1 k", "distance",
             points, points=True, logarithmic=True),
    ]  # fmt: skip


ITEMS = tuple(
    Item(PAPER, *rest)
    for rest in (
        ("Table 1", "Example prompts of zsRE and CounterFact.", "",
         illustration("examples of the data")),
        ("A.1", "About 70% of edits made as zsRE's questions are not retrieved when the same is "
         "asked as a sentence to complete.", "wording", zsre, "more than half are lost"),
        ("Figure 1c", "ROME's new edits succeed almost always until a point of decline.",
         "sequence-rome", rome_proficient, "ES of at least 95% before the model has collapsed",
         lines("gupta-es", "New edits that succeed (ES), windows of 50", "per cent",
               lambda run: window(run, "es"))),
        ("Figure 1c", "ROME's neighbourhood score declines as edits are made, before that point.",
         "sequence-rome", neighbours_decline, "rank correlation below -0.5",
         lines("gupta-ns", "Neighbourhood score over all edits so far", "per cent",
               lambda run: overall(run, "ns"))),
        ("Figure 1b", "MEND cannot make many edits one after the other.", "sequence-others",
         mend_fails, "ES below 60% in the last window"),
        ("Figure 1a, Table 3", "FT-C's new edits succeed: 100%.", "sequence-others", ft_c_edits,
         "95% with one of the two bounds"),
        ("Figure 1d", "Facts are forgotten at once by MEND, fast by FT-C, slowly by ROME at first.",
         "sequence-others", forget_order, "ROME has forgotten least at the last common checkpoint",
         lines("gupta-forgotten", "Earlier edits forgotten, F(t)", "per cent", forgotten)),
        ("Figure 1d", "ROME forgets gradually, then catastrophically.", "sequence-rome",
         two_phases("rome"), "one step between checkpoints, not the first, is half of all"),
        ("Figures 5 and on", "The inflection is there in every sample of facts.", "sequence-rome",
         orders_agree, "a collapse in both orders"),
        ("Tables 4 to 7", "Templates of four GLUE tasks, 4, 6, 6 and 3 solved items, F1.",
         "abilities", glue, "the interval of accuracy is above chance", glue_table),
        ("Figure 2a to 2c", "Tasks get worse as ROME edits.", "by-layer", tasks_fall,
         "SST-2 (4 solved items) at the end below the start, in the mean over layers"),
        ("Figure 2d", "The edited layer's distance from its first weights grows steadily and then "
         "explodes.", "sequence-rome", distance_explodes, "one step is half of the way",
         lines("gupta-distance", "Distance, L2 over the number of neurons", "distance per neuron",
               lambda run: norm(run, "distance_per_neuron"), logarithmic=True)),
        ("Table 2", "Some edits of ROME disable the fresh model by themselves: they go far farther "
         "than others (3.3e-4 against 8.2e-7 in the mean).", "single-edits", disabling,
         f"the farthest goes {OUTLIER:g} times as far as the median", distances),
        ("3.4.1", "Disabling edits go three orders of magnitude farther. (Table 2's own means are "
         f"{3.339e-4 / 8.156e-7:.0f} times apart.)", "single-edits",
         thousand, "a thousand times the median"),
        ("3.4.1", "(Ours) It is the asymmetry of the published keys that disables.", "single-edits",
         symmetric_safe, "the spread is larger with published keys"),
        ("3.4.1", "(Ours) What marks such an edit is a small denominator, not high leverage.",
         "single-edits", small_denominator, "the distance falls with the denominator"),
        ("Figure 3a", "MEMIT's new edits succeed less often than ROME's.", "sequence-memit",
         memit_less_sure, "ES in the last common window of 50"),
        ("Figure 3b", "MEMIT forgets gradually, then catastrophically (after 1,400 edits).",
         "sequence-memit", two_phases("memit"), "as for ROME"),
        ("Figure 3c", "MEMIT keeps the model's abilities longer than ROME.", "sequence-memit",
         lambda rows: decided(
             last(growth(published(rows, "memit"))) < last(growth(published(rows, "rome"))),
             "perplexity over the base's at the end: MEMIT "
             f"{number(last(growth(published(rows, 'memit'))))}, ROME "
             f"{number(last(growth(published(rows, 'rome'))))}"),
         "by perplexity, for want of tasks above chance",
         lines("gupta-perplexity", "Perplexity over the base's", "times the base's", growth,
               logarithmic=True)),
        ("Figure 3d", "MEMIT's layers move gradually, then in spikes.", "sequence-memit",
         lambda rows: too_short(published(rows, "memit"), "no collapse")
         if collapse(published(rows, "memit")) is None
         else decided(sudden(norm(published(rows, "memit"), "distance_per_neuron"))[1] >= SUDDEN,
                      "the largest step is "
                      + per_cent(100 * sudden(norm(published(rows, "memit"),
                                                   "distance_per_neuron"))[1])),
         "one step is half of the way"),
        ("Figure 4", "MEMIT forgets almost three times fewer facts than ROME.", "sequence-memit",
         memit_forgets_less, "less than half as many"),
        ("4, Table 3", "No single edit of MEMIT disables the model.", "single-edits", memit_safe,
         f"none goes {OUTLIER:g} times as far as the median"),
        ("Table 3", "MEMIT lasts longer than ROME before catastrophic forgetting.",
         "sequence-memit", memit_lasts),
        ("Table 8", "What a collapsed model generates.", "", illustration("examples of text")),
    )
)  # fmt: skip

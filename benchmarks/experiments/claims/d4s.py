"""Huang et al.: objectives of edits, norms that grow, and D4S."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import mean

from experiments.claims.course import (
    COMPARED,
    collapse,
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
    scores_table,
    too_short,
)
from experiments.items import (
    Item,
    Shown,
    Table,
    Verdict,
    decided,
    illustration,
    number,
    per_cent,
    spearman,
    untestable,
)
from experiments.rows import Missing, Row, Rows

PAPER = "d4s"
KINDS = ("dg", "mq", "tf")


def _objectives(rows: Rows, part: str) -> dict[str, float]:
    """By kind of question the geometric mean of the objectives' perplexities."""
    found = numbers_of(rows, part)
    return {kind: _geometric(found[kind]["perplexities"]) for kind in KINDS}


def _geometric(values: Sequence[float]) -> float:
    return math.exp(mean(map(math.log, values)))


def printed_order(rows: Rows) -> Verdict:
    found = _objectives(rows, "objectives")
    told = ", ".join(f"{kind} {number(value)}" for kind, value in found.items())
    return decided(found["dg"] < found["mq"] < found["tf"], f"geometric means: {told}")


def lengths(rows: Rows) -> Verdict:
    found = numbers_of(rows, "objectives")
    told = "; ".join(
        f"{kind}: {number(found[kind]['input_tokens'])} and {number(found[kind]['target_tokens'])}"
        for kind in KINDS
    )
    inputs = [found[kind]["input_tokens"] for kind in ("dg", "tf", "mq")]
    targets = [found[kind]["target_tokens"] for kind in KINDS]
    return decided(
        inputs == sorted(inputs) and targets[0] > targets[1] == targets[2] == 1,
        f"tokens of question and target: {told}",
    )


def _kinds(rows: Rows) -> dict[str, Row]:
    return {kind: numbers_of(rows, "kinds", kind=kind) for kind in KINDS}


def generation_worst(rows: Rows) -> Verdict:
    damage = {kind: mean(found["damage"]) for kind, found in _kinds(rows).items()}
    told = ", ".join(f"{kind} {number(value)}" for kind, value in damage.items())
    return decided(
        damage["dg"] == max(damage.values()), f"mean growth of log perplexity of one edit: {told}"
    )


def _joined(rows: Rows, name: str) -> list[float]:
    return [value for found in _kinds(rows).values() for value in found[name]]


def worse_with_perplexity(rows: Rows) -> Verdict:
    link = spearman(_joined(rows, "objective"), _joined(rows, "damage"))
    return decided(link > 0.2, f"rank correlation of objective and damage: {number(link)}")


def norm_with_perplexity(rows: Rows) -> Verdict:
    link = spearman(_joined(rows, "objective"), _joined(rows, "l1_growth"))
    return decided(link > 0.2, f"rank correlation of objective and L1 growth: {number(link)}")


def kinds_table(rows: Rows) -> list[Shown]:
    cells = [
        [kind, number(len(found["damage"])), number(_geometric(found["objective"])),
         number(mean(found["l1_growth"])), number(mean(found["damage"])),
         per_cent(100 * mean(found["said"]))]
        for kind, found in _kinds(rows).items()
    ]  # fmt: skip
    titles = ["kind", "edits", "objective perplexity", "L1 growth", "log perplexity growth", "said"]
    return [Table(titles, cells)]


def objectives_table(rows: Rows) -> list[Shown]:
    cells = []
    for part, model in (("objectives", "smollm2"), ("objectives-atlas", "atlas")):
        if rows.latest(part):
            found, means = numbers_of(rows, part), _objectives(rows, part)
            cells += [
                [model, kind, number(len(found[kind]["perplexities"])), number(means[kind]),
                 number(found[kind]["input_tokens"]), number(found[kind]["target_tokens"])]
                for kind in KINDS
            ]  # fmt: skip
    if not cells:
        raise Missing("objectives", {})
    titles = [
        "model",
        "kind",
        "facts",
        "perplexity of the target",
        "tokens before",
        "target tokens",
    ]
    return [Table(titles, cells)]


def kn_ruins(rows: Rows) -> Verdict:
    points = growth(other(rows, "kn"))
    return decided(points[0][1] > 1.5, f"perplexity after {points[0][0]} edit(s): "
                   f"{number(points[0][1])} times the base's")  # fmt: skip


def rome_stable(rows: Rows) -> Verdict:
    points = growth(published(rows, "rome"))
    return decided(
        last(points) < 1.5, f"perplexity after {points[-1][0]} edits: {number(last(points))} times"
    )


def overall_falls(method: str) -> Callable[[Rows], Verdict]:
    def judge(rows: Rows) -> Verdict:
        points = overall(published(rows, method))
        trend = spearman(*zip(*points, strict=True))
        return decided(
            trend < -0.5,
            f"{method.upper()} from {per_cent(points[0][1])} to {per_cent(last(points))} after "
            f"{points[-1][0]} edits",
        )

    return judge


def older_forgotten(rows: Rows) -> Verdict:
    run = published(rows, "memit")
    values = [one for one in run["blocks"] if one is not None]
    return decided(
        values[0] < values[-1], "share that holds at the end, oldest block first: "
        + ", ".join(per_cent(one) for one in values),
    )  # fmt: skip


def blocks_table(rows: Rows) -> list[Shown]:
    runs = known_runs(rows, COMPARED[:2])
    most = max(len(run["blocks"]) for run in runs.values())
    cells = [[label, *map(per_cent, run["blocks"]), *[""] * (most - len(run["blocks"]))]
             for label, run in runs.items()]  # fmt: skip
    return [Table(["method", *(f"block {number + 1}" for number in range(most))], cells)]


def probability_falls(method: str) -> Callable[[Rows], Verdict]:
    def judge(rows: Rows) -> Verdict:
        run = published(rows, method)
        values = run["log_probability"]
        half = len(values) // 2
        early, late = (mean(map(math.exp, part)) for part in (values[:half], values[half:]))
        if collapse(run) is None:
            return too_short(run, f"mean p(o) of new edits {number(early)} in the first half, "
                             f"{number(late)} in the second, and no collapse")  # fmt: skip
        return decided(late < early, f"mean p(o) just after the edit: first half {number(early)}, "
                       f"second half {number(late)}")  # fmt: skip

    return judge


def l1_explodes(rows: Rows) -> Verdict:
    told, rises = [], []
    for method in ("rome", "memit"):
        points = norm(published(rows, method), "l1_norm", over_base=True)
        rises.append(rising(points))
        told.append(f"{method} {number(last(points))} times the base's at {points[-1][0]} edits")
    return decided(all(rises), "L1 norm of the most changed layer: " + "; ".join(told))


def norm_links(rows: Rows) -> Verdict:
    run = published(rows, "memit")
    grown, held = norm(run, "l1_norm"), overall(run)
    link = spearman([one for _, one in grown], [one for _, one in held])
    return decided(link < -0.5, f"rank correlation of L1 norm and Overall(t): {number(link)}")


def probability(run: Row) -> list[tuple[float, float]]:
    return [(place, math.exp(one)) for place, one in enumerate(run["log_probability"], 1)]


def constant_storage(rows: Rows) -> Verdict:
    points = numbers_of(rows, "sums")["sums"]
    sizes = {one["bytes"] for one in points}
    overtaken = [one["edits"] for one in points if one["bytes_of_edits"] > one["bytes"]]
    return decided(
        len(sizes) == 1,
        f"the sums of a layer take {number(points[0]['bytes'])} bytes after {points[0]['edits']} "
        f"edits, {number(points[-1]['bytes'])} after {points[-1]['edits']}; edits kept one by one "
        + (f"take more from {overtaken[0]} on" if overtaken else "still take less"),
    )


def smaller_norm(rows: Rows) -> Verdict:
    points = numbers_of(rows, "sums")["sums"]
    return decided(
        all(one["together"] < one["alone"] for one in points),
        f"of {points[-1]['edits']} edits: solved together {number(points[-1]['together'])}, each "
        f"alone and summed {number(points[-1]['alone'])} (Frobenius)",
    )


def sums_table(rows: Rows) -> list[Shown]:
    points = numbers_of(rows, "sums")["sums"]
    titles = [*points[0]]
    return [Table(titles, [[number(one[title]) for title in titles] for one in points])]


def outlasts(rows: Rows) -> Verdict:
    found = rows.largest("sequence-d4s", method="d4s")
    edits, together = found["setting"]["edits"], found["numbers"]
    run = published(rows, "memit")
    held = [value for at, value in overall(run) if at <= edits]
    at = min(edits, overall(run)[-1][0])
    return decided(
        at == edits and together["eff"] > held[-1],
        f"Eff of {edits} edits: D4S {per_cent(together['eff'])}; MEMIT in blind sequence at {at}: "
        f"{per_cent(held[-1])}",
    )


def grace_wins(rows: Rows) -> Verdict:
    run = other(rows, "grace")
    scores: Sequence[float] = [overall(run, column)[-1][1] for column in ("eff", "par", "spe")]
    return decided(
        scores[0] > 95 and scores[2] > 95 and scores[1] < 30,
        f"Eff {per_cent(scores[0])}, Par {per_cent(scores[1])}, Spe {per_cent(scores[2])}",
    )


ITEMS = tuple(
    Item(PAPER, *rest)
    for rest in (
        ("Figure 1", "The framework.", "", illustration("a drawing")),
        ("Figure 2", "KN degrades the model after a single edit.", "sequence-others", kn_ruins,
         "perplexity at the first checkpoint is 1.5 times the base's"),
        ("Figure 2", "With ROME performance does not decline significantly up to 1,000 edits. "
         "(The paper's own Figure 5 and Table 2 have ROME fail after 100.)", "sequence-rome",
         rome_stable, "perplexity stays below 1.5 times the base's"),
        ("Figure 2", "MEMIT is stable up to 2,000 edits, then declines.", "",
         untestable("the models at hand know too few facts for 2,000 edits of distinct subjects")),
        ("Figure 2", "Damage is less for 20Q's labels than for entities and events.", "",
         untestable("20Q, ELKEN and CKD are not at hand; the next rows ask the same of "
                    "Multi-Question data")),
        ("Table 1, 3.2", "Objectives' perplexities are 12.3 (generated), 43.3 (choice), 297.4 "
         "(true or false): in this order.", "objectives", printed_order, "", objectives_table),
        ("3.3", "Questions have 13.4 tokens (generated), 35.0 (choice), 23.4 (true or false), "
         "targets 3.9, 1 and 1: in this order.", "objectives", lengths),
        ("Figure 3", "Direct generation damages most.", "kinds", generation_worst, "", kinds_table),
        ("Figure 3", "Higher perplexity of the objective, more damage. (By the perplexities "
         "printed, direct generation would damage least.)", "kinds", worse_with_perplexity,
         "rank correlation above 0.2 over the edits of all kinds"),
        ("3.3", "Higher perplexity of the objective, larger L1 norm.", "kinds",
         norm_with_perplexity, "likewise"),
        ("Figure 4", "ROME's success over all earlier edits falls as edits are made.",
         "sequence-rome", overall_falls("rome"), "rank correlation below -0.5",
         lines("d4s-overall", "Overall(t): edits that hold, of all so far", "per cent", overall)),
        ("Figure 4", "So does MEMIT's, from near 100% to 0.", "sequence-memit",
         overall_falls("memit"), "likewise"),
        ("Figure 4", "At the end older edits are forgotten more than newer ones.",
         "sequence-memit", older_forgotten, "the first block holds less than the last",
         blocks_table),
        ("Figure 5a", "ROME's p(o) just after an edit falls beyond 100 edits.", "sequence-rome",
         probability_falls("rome"), "the second half's mean is lower",
         lines("d4s-probability", "p(o) just after its edit", "probability", probability,
               COMPARED[:2])),
        ("Figure 5a", "MEMIT's falls to nothing after 850.", "sequence-memit",
         probability_falls("memit"), "likewise"),
        ("Figure 5b, 5c", "The L1 norm of edited layers grows, explosively in the end.",
         "sequence-memit", l1_explodes, "it rises at every checkpoint",
         lines("d4s-l1", "L1 norm of the layer changed most, over the base's", "times the base's",
               lambda run: norm(run, "l1_norm", over_base=True), COMPARED[:2])),
        ("4.2", "Edit accuracy goes with the L1 norm.", "sequence-memit", norm_links,
         "rank correlation below -0.5"),
        ("4.3.2", "D4S stores a history of any length in constant space.", "sums",
         constant_storage, "of the two sums; the accumulator lists the ids of its facts besides"),
        ("4.3.3", "D4S's update is smaller than MEMIT's (equations 12 and 13).", "sums",
         smaller_norm, "in the Frobenius norm, at every size", sums_table),
        ("Table 2", "D4S keeps editing where MEMIT's sequence fails.", "sequence-d4s", outlasts,
         "its Eff is higher at equal edits",
         lambda rows: [scores_table(rows, "sequence-d4s",
                                    ("eff", "par", "spe", "avg", "perplexity"))]),
        ("Table 2", "GRACE keeps Eff and Spe near 100, and hardly generalises.",
         "sequence-others", grace_wins, "Eff and Spe above 95%, Par below 30%; our Spe "
         "asks for the base's first token, the paper's for the neighbour's own object"),
        ("Figure 6, Table 4", "After 10,000 edits by D4S norms and tasks are nearly the same.", "",
         untestable("10,000 edits need more facts, and wider layers, than these models have")),
        ("Table 3, D", "D4S is best on CounterFact and MQuAKE, too.", "",
         untestable("MQuAKE's records are not at hand; CounterFact's form is the row above")),
        ("Figure 7", "How edits were evaluated before.", "", illustration("a drawing")),
        ("Figure 8", "Eff, Par and Spe against the number of edits.", "sequence-memit",
         overall_falls("memit"), "Overall(t) falls, as in Figure 4",
         lines("d4s-spe", "Neighbours unchanged (Spe), over all edits so far", "per cent",
               lambda run: overall(run, "spe"))),
    )
)  # fmt: skip

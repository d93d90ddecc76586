"""Lin et al.: tasks, settings, and how the damage is explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from experiments.claims.course import (
    COMPARED,
    collapse,
    growth,
    last,
    lines,
    needs,
    norm,
    numbers_of,
    other,
    overall,
    published,
    rising,
    scores_table,
    too_short,
    window,
)
from experiments.items import (
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
    untestable,
)
from experiments.rows import Missing, Row, Rows

PAPER = "lin"
CHECKED = ("perplexity", "adjusted_perplexity", "sst2", "eff")
TEMPERATURES = (0.0, 0.2, 0.5, 0.8)


def _layers(rows: Rows) -> dict[int, Row]:
    """Runs by edited layer, the shallowest first, two at least."""
    found = {row["numbers"]["layer"]: row["numbers"] for row in rows.some("by-layer")}
    if len(found) < 2:
        raise Missing("by-layer", {})
    return dict(sorted(found.items()))


def _end(run: Row, name: str) -> float:
    """A figure at the last checkpoint, over that of no edit."""
    return float(run["checkpoints"][-1][name]) / float(run["checkpoints"][0][name])


def deeper(name: str, better: int) -> Callable[[Rows], Verdict]:
    """Whether a figure at the end is better in deeper layers; ``better`` is 1 or -1."""

    def judge(rows: Rows) -> Verdict:
        found = {layer: _end(run, name) for layer, run in _layers(rows).items()}
        told = ", ".join(f"layer {layer} {number(value)}" for layer, value in found.items())
        trend = spearman([*found], [*found.values()])
        return decided(trend * better > 0.5, f"over that of no edit: {told}")

    return judge


def layers_table(*names: str) -> Callable[[Rows], list[Shown]]:
    def show(rows: Rows) -> list[Shown]:
        runs = _layers(rows)
        edits = [one["edits"] for one in next(iter(runs.values()))["checkpoints"]]
        cells = [
            [name, str(layer), *(number(one[name]) for one in run["checkpoints"])]
            for name in names
            for layer, run in runs.items()
        ]
        return [Table(["figure", "layer", *(f"{each} edits" for each in edits)], cells)]

    return show


def temperatures(rows: Rows) -> Verdict:
    told, worse = [], []
    for layer, run in _layers(rows).items():
        first, end = run["checkpoints"][0]["temperature"], run["checkpoints"][-1]["temperature"]
        lost = [before - after for before, after in zip(first, end, strict=True)]
        worse.append(lost[-1] > lost[0])
        told.append(f"layer {layer}: lost at 0 {number(lost[0])} points, at 0.8 {number(lost[-1])}")
    return decided(all(worse), "; ".join(told))


def temperature_table(rows: Rows) -> list[Shown]:
    cells = [
        [str(layer), str(one["edits"]), *(number(value) for value in one["temperature"])]
        for layer, run in _layers(rows).items()
        for one in run["checkpoints"]
    ]
    return [Table(["layer", "edits", *(f"temperature {each:g}" for each in TEMPERATURES)], cells)]


def dominates(layers: Sequence[Row], flow: str) -> list[int]:
    """The layers in which a flow is the largest of the three."""
    return [at for at, one in enumerate(layers) if one[flow] == max(one.values())]


def saliency_base(rows: Rows) -> Verdict:
    layers = max(rows.some("saliency"), key=lambda row: row["setting"]["items"])["numbers"][
        "layers"
    ]
    text, answer = dominates(layers, "wp"), dominates(layers, "pq")
    half = len(layers) / 2
    shallow = [at for at in text if at < half]
    deep = [at for at in answer if at >= half]
    return decided(
        bool(shallow) and len(deep) > half / 2 and sum(text) / max(1, len(text)) < half,
        f"text to labels is largest in layers {text}, labels to the end in layers {answer}, of "
        f"{len(layers)}",
    )


def saliency_plot(rows: Rows) -> list[Shown]:
    layers = max(rows.some("saliency"), key=lambda row: row["setting"]["items"])["numbers"][
        "layers"
    ]
    series = {
        label: [(at, one[flow]) for at, one in enumerate(layers)]
        for flow, label in (("wp", "S_wp"), ("pq", "S_pq"), ("ww", "S_ww"))
    }
    return [Plot("lin-saliency", "In-context saliency of the unedited model", "layer", "share",
                 series)]  # fmt: skip


def saliency_kept(rows: Rows) -> Verdict:
    moved = {}
    for layer, run in _layers(rows).items():
        before, after = (run["checkpoints"][at]["saliency"] for at in (0, -1))
        gaps = [abs(a[flow] - b[flow]) for a, b in zip(before, after, strict=True) for flow in a]
        moved[layer] = sum(gaps) / len(gaps)
    ends = [*moved.values()]
    middle = max(ends[1:-1], default=0.0)
    told = ", ".join(f"layer {layer} {number(value)}" for layer, value in moved.items())
    return decided(max(ends[0], ends[-1]) < middle, f"mean move of the three shares: {told}")


def language_apart(rows: Rows) -> Verdict:
    found = [
        (_end(run, "adjusted_perplexity"), run["checkpoints"][-1]["sst2"])
        for run in _layers(rows).values()
    ]
    worst = max(found)
    least = min(score for _, score in found)
    return decided(
        worst[1] > least,
        f"where answers are worst ({number(worst[0])} times the adjusted perplexity) SST-2 is "
        f"{per_cent(worst[1])}; the lowest of all layers is {per_cent(least)}",
    )


def pearson_falls(rows: Rows) -> Verdict:
    points = norm(published(rows, "rome"), "correlation")
    falls = rising([(edits, -value) for edits, value in points])
    return decided(falls and last(points) < 0.99, f"from {number(points[0][1])} to "
                   f"{number(last(points))} after {points[-1][0]} edits")  # fmt: skip


def deeper_pearson(rows: Rows) -> Verdict:
    found = {
        layer: run["checkpoints"][-1]["norms"]["correlation"]
        for layer, run in _layers(rows).items()
    }
    told = ", ".join(f"layer {layer} {number(value, 5)}" for layer, value in found.items())
    return decided(spearman([*found], [*found.values()]) > 0.5, told)


def _gap(run: Row) -> tuple[float, float]:
    return run["at_once"]["eff"], last(overall(run))


def sequential_falls(rows: Rows) -> Verdict:
    told, falls = [], []
    for method in ("rome", "memit"):
        alone, together = _gap(published(rows, method))
        falls.append(together < alone)
        told.append(f"{method}: individual {per_cent(alone)}, sequential {per_cent(together)}")
    return decided(all(falls), "; ".join(told))


def mend_both(rows: Rows) -> Verdict:
    alone, together = _gap(other(rows, "mend"))
    return decided(alone < 50 and together < 50, f"individual {per_cent(alone)}, sequential "
                   f"{per_cent(together)}")  # fmt: skip


def grace_generalises_little(rows: Rows) -> Verdict:
    found = numbers_of(rows, "codebooks", eps=1.0)
    return decided(
        found["eff"] > 95 and found["par"] < 50,
        f"reliability {per_cent(found['eff'])}, generalisation {per_cent(found['par'])} at eps 1",
    )


def grace_keeps(rows: Rows) -> Verdict:
    found = numbers_of(rows, "codebooks", eps=1.0)
    ratio = found["perplexity"] / found["base_perplexity"]
    return decided(ratio < 1.01, f"perplexity {number(ratio, 5)} times the base's, at eps 1")


def _by(rows: Rows, name: str, **wanted: object) -> dict[float, Row]:
    most = rows.largest("codebooks")["setting"]["edits"]
    found = rows.some("codebooks", edits=most, **wanted)
    return {row["setting"][name]: row["numbers"] for row in found}


def radius(rows: Rows) -> Verdict:
    layer = max(row["setting"]["layer"] for row in rows.some("codebooks"))
    found = _by(rows, "eps", layer=layer)
    if len(found) < 2:
        raise Missing("codebooks", {})
    general = [found[eps]["par"] for eps in sorted(found)]
    damage = [found[eps]["perplexity"] for eps in sorted(found)]
    return decided(
        general[-1] > general[0] and damage[-1] > damage[0],
        f"layer {layer}, eps {sorted(found)}: generalisation {[round(one, 1) for one in general]}, "
        f"perplexity {[round(one, 1) for one in damage]}",
    )


def shallow_codebooks(rows: Rows) -> Verdict:
    found = _by(rows, "layer", eps=10.0)
    if len(found) < 2:
        raise Missing("codebooks", {})
    damage = [found[layer]["perplexity"] for layer in sorted(found)]
    told = f"layers {sorted(found)}, eps 10: perplexity {[round(one, 1) for one in damage]}"
    return decided(damage[0] > damage[-1], told)


def batches_help(rows: Rows) -> Verdict:
    found = {row["setting"]["batch"]: row["numbers"] for row in rows.some("batches")}
    if len(found) < 2:
        raise Missing("batches", {})
    held = {batch: last(overall(found[batch])) for batch in sorted(found)}
    told = ", ".join(f"batches of {batch}: {per_cent(value)}" for batch, value in held.items())
    return decided(spearman([*held], [*held.values()]) > 0.5, f"edits that hold at the end, {told}")


def batch_lines(rows: Rows) -> list[Shown]:
    series = {
        f"batches of {row['setting']['batch']}": growth(row["numbers"])
        for row in rows.some("batches")
    }
    return [Plot("lin-batches", "Perplexity over the base's, by batch size", "edits",
                 "times the base's", series, logarithmic=True)]  # fmt: skip


def samples_agree(rows: Rows) -> Verdict:
    ends = [last(growth(published(rows, "rome", seed=seed))) for seed in (0, 1)]
    return decided(
        min(ends) > 1.0, "perplexity over the base's at the end, by order: "
        + ", ".join(map(number, ends)),
    )  # fmt: skip


def without_c(rows: Rows) -> Verdict:
    plain = numbers_of(rows, "sequence-rome", options=["preset=without-c"])
    with_c = published(rows, "rome")
    at = plain["checkpoints"][-1]["edits"]
    values = [[value for edits, value in growth(run) if edits <= at][-1] for run in (with_c, plain)]
    return decided(
        values[1] > values[0],
        f"perplexity over the base's at {at} edits: with C {number(values[0])}, without "
        f"{number(values[1])}",
    )


def long_term(rows: Rows) -> Verdict:
    run = published(rows, "rome")
    end = collapse(run)
    return too_short(run, "no collapse") if end is None else decided(True, f"collapse at {end}")


def new_edits_hold(rows: Rows) -> Verdict:
    points = window(published(rows, "rome"), "es")
    return decided(last(points) > 80, f"ES of the last 50 edits {per_cent(last(points))}")


CODEBOOKS = ("eff", "par", "spe", "perplexity", "base_perplexity")
ITEMS = tuple(
    Item(PAPER, *rest)
    for rest in (
        ("Figures 1 and 2", "How edits were evaluated; two kinds of methods.", "",
         illustration("drawings")),
        ("Table 1", "Eight tasks fall to nothing after 100 edits by MEND, ROME and MEMIT. (Of them "
         "MMLU is at hand.)", "abilities", needs("mmlu")),
        ("Table 1", "GRACE leaves what the model can do.", "codebooks", grace_keeps,
         "perplexity within 1% of the base's, for want of tasks"),
        ("Table 2", "ROME's and MEMIT's sequential reliability falls below the individual one.",
         "sequence-memit", sequential_falls,
         "individual is A[t,t] over all t, sequential Overall(t) at the end: our reading"),
        ("Table 2", "ROME goes on to take new edits after 100.", "sequence-rome", new_edits_hold,
         "ES above 80% in the last window"),
        ("Table 2", "MEND loses both.", "sequence-others", mend_both, "both below 50%"),
        ("Table 2", "GRACE: reliability near 100, generalisation about 30.", "codebooks",
         grace_generalises_little, "above 95% and below 50%"),
        ("Figure 3", "Larger models keep multilingual and code tasks better.", "",
         untestable("no two sizes of one model are at hand, nor tasks of these kinds")),
        ("Figure 3, Table 8", "Instruction tuning protects knowledge tasks; a chat model's weights "
         "move less.", "", untestable("the chat model's base is not at hand")),
        ("Figure 4", "Editing deeper layers damages a task less.", "by-layer", deeper("sst2", 1),
         "SST-2 (4 solved items): rank correlation with depth above 0.5",
         layers_table("sst2", "eff")),
        ("Figure 5", "At equal totals larger batches damage less (MEMIT).", "batches", batches_help,
         "edits that hold: rank correlation above 0.5", batch_lines),
        ("Table 3", "At higher temperature an edited model's answers get worse faster.", "by-layer",
         temperatures, "in every layer more points are lost at 0.8 than at 0", temperature_table),
        ("Figure 6", "Pearson's correlation of edited and first weights falls.", "sequence-rome",
         pearson_falls, "at every checkpoint, below 0.99 in the end",
         lines("lin-pearson", "Pearson's correlation with the first weights", "correlation",
               lambda run: norm(run, "correlation"), COMPARED[:2])),
        ("Figure 6", "It falls less in deeper layers.", "by-layer", deeper_pearson,
         "rank correlation with depth above 0.5"),
        ("Table 4", "Adjusted perplexity of answers rises less in deeper layers. (Its own rows "
         "have layer 30 worst after 10 edits.)", "by-layer", deeper("adjusted_perplexity", -1),
         "rank correlation with depth below -0.5; the unedited model judges",
         layers_table("adjusted_perplexity", "answer_perplexity", "repetition")),
        ("Tables 5 and 6", "Settings of methods and tasks.", "", illustration("lists of settings")),
        ("Table 7", "A larger radius generalises more and damages more (GRACE).", "codebooks",
         radius, "both, from the smallest radius to the largest",
         lambda rows: [scores_table(rows, "codebooks", CODEBOOKS)]),
        ("Table 9", "After 500 to 1,000 edits ROME has ruined the model in any layer.",
         "sequence-rome", long_term, "a collapse, in ROME's one layer"),
        ("Table 10", "GRACE in shallower layers damages more.", "codebooks", shallow_codebooks,
         "perplexity at radius 10"),
        ("Table 11", "Four samples of facts all show damage.", "sequence-rome", samples_agree,
         "perplexity above the base's in both orders"),
        ("Table 12", "Perplexity of ordinary text rises less in deeper layers.", "by-layer",
         deeper("perplexity", -1), "rank correlation with depth below -0.5",
         layers_table("perplexity")),
        ("Figure 7", "ROME without C damages more.", "sequence-rome", without_c,
         "by perplexity, at equal edits"),
        ("Figure 8, Table 14", "Text flows to labels in shallow layers, labels to the answer "
         "in deep ones.", "saliency", saliency_base,
         "S_wp is largest only in shallow layers in the mean, "
         "S_pq in most of the deeper half", saliency_plot),
        ("Figure 8", "Editing shallow and deep layers leaves this, editing middle ones does not.",
         "by-layer", saliency_kept, "the three shares move most in a middle layer"),
        ("7.2, 7.3", "Language modelling and in-context learning are apart: where text is worst a "
         "task may hold.", "by-layer", language_apart,
         "SST-2 is not lowest where answers are worst"),
        ("Figures 9 and 10, Table 13", "The same on Mistral-7B and GPT2-XL.", "",
         untestable("neither model is at hand")),
    )
)  # fmt: skip

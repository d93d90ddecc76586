"""Li and Chu: knowledge attenuation, drop and rescale, AdaPLE."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

from experiments.claims.course import (
    COMPARED,
    last,
    lines,
    numbers_of,
    overall,
    published,
    scores_table,
)
from experiments.items import (
    Item,
    Plot,
    Shown,
    Verdict,
    decided,
    illustration,
    number,
    per_cent,
    spearman,
    untestable,
)
from experiments.parts import PUBLISHED, RULES
from experiments.rows import Row, Rows

PAPER = "adaple"
SCORES = ("es", "ps", "ns", "s", "eff", "par", "spe", "fluency", "base_fluency", "consistency",
          "base_consistency", "perplexity", "base_perplexity")  # fmt: skip


def attenuates(rows: Rows) -> Verdict:
    run, told, falls = published(rows, "memit"), [], []
    for column in ("es", "ps", "ns"):
        points = overall(run, column)
        falls.append(last(points) < points[0][1])
        told.append(f"{column.upper()} {per_cent(points[0][1])} to {per_cent(last(points))}")
    return decided(all(falls), "; ".join(told))


def _outside(cosines: list[list[float]]) -> float:
    """Mean size off the diagonal."""
    return mean(abs(one) for i, row in enumerate(cosines) for j, one in enumerate(row) if i != j)


def _cosines(rows: Rows) -> dict[str, float]:
    found = numbers_of(rows, "updates")["cosines"]
    return {change: _outside(square) for change, square in found.items()}


def similar(rows: Rows) -> Verdict:
    found = _cosines(rows)
    return decided(found["none"] > 0.1, f"mean cosine, in size: {number(found['none'])}")


def dropping_separates(rows: Rows) -> Verdict:
    found = _cosines(rows)
    return decided(
        found["drop:0.8"] < found["none"] / 2,
        f"mean cosine, in size: {number(found['none'])}, dropped {number(found['drop:0.8'])}",
    )


def cutting_does_not(rows: Rows) -> Verdict:
    found = _cosines(rows)
    return decided(
        found["top:20"] > found["none"] / 2,
        f"mean cosine, in size: {number(found['none'])}, cut {number(found['top:20'])}",
    )


def squares(rows: Rows) -> list[Shown]:
    row = rows.largest("updates")
    return [
        Plot(f"adaple-cosines-{change.partition(':')[0]}",
             f"Cosines of {row['setting']['edits']} updates: {change}", "update", "update", {},
             square=square)
        for change, square in row["numbers"]["cosines"].items()
    ]  # fmt: skip


def _kept(rows: Rows) -> dict[float, Row]:
    return {one["percent"]: one for one in numbers_of(rows, "retained")["kept"]}


def fifth_enough(rows: Rows) -> Verdict:
    found = _kept(rows)
    scores = {percent: found[percent]["s"] for percent in (20.0, 100.0)}
    return decided(
        scores[20.0] >= scores[100.0] - 2, f"S with a fifth {number(scores[20.0])}, with all "
        f"{number(scores[100.0])}",
    )  # fmt: skip


def kept_plot(rows: Rows) -> list[Shown]:
    found = _kept(rows)
    series = {
        column.upper(): [(percent, one[column]) for percent, one in found.items()
                         if one[column] is not None]
        for column in ("es", "ps", "ns", "eff")
    }  # fmt: skip
    return [Plot("adaple-retained", "An update cut to its largest entries", "per cent kept",
                 "per cent", series)]  # fmt: skip


def _fused(rows: Rows) -> dict[str, float]:
    found = {
        row["setting"]["rule"]: last(overall(row["numbers"], "es")) for row in rows.some("fusion")
    }
    numbers_of(rows, "fusion", rule="sum")
    numbers_of(rows, "fusion", rule="drop:0.8")
    return found


def _told(found: dict[str, float]) -> str:
    return ", ".join(f"{rule} {per_cent(value)}" for rule, value in found.items())


def drop_best(rows: Rows) -> Verdict:
    found = _fused(rows)
    rivals = [found[rule] for rule in ("sum", "average", "lookahead:0.5:5", "wise-ft:0.5")
              if rule in found]  # fmt: skip
    return decided(found["drop:0.8"] > max(rivals), f"ES of all edits at the end: {_told(found)}")


def cutting_helps(rows: Rows) -> Verdict:
    found = {rule: last(overall(numbers_of(rows, "fusion", rule=rule), "es"))
             for rule in ("sum", "top:20")}  # fmt: skip
    return decided(found["top:20"] > found["sum"], f"ES of all edits at the end: {_told(found)}")


def _fusion_run(rule: str) -> Callable[[Rows], Row]:
    return lambda rows: numbers_of(rows, "fusion", rule=rule)


def rate(rows: Rows) -> Verdict:
    found = {0.0: last(overall(numbers_of(rows, "fusion", rule="sum"), "es"))}
    for row in rows.some("drop-rates"):
        found[float(row["setting"]["rule"].partition(":")[2])] = last(overall(row["numbers"], "es"))
    best = max(found, key=lambda one: found[one])
    told = ", ".join(f"{one:g}: {per_cent(found[one])}" for one in sorted(found))
    return decided(0.7 <= best <= 0.9, f"ES of all edits at the end by rate: {told}")


def plugs_in(method: str) -> Callable[[Rows], Verdict]:
    def judge(rows: Rows) -> Verdict:
        if method == "memit":
            plain, dropped = (numbers_of(rows, "fusion", rule=rule) for rule in ("sum", "drop:0.8"))
        else:
            dropped = numbers_of(rows, "fusion-others", method=method, rule="drop:0.8")
            plain = (
                published(rows, "rome") if method == "rome"
                else numbers_of(rows, "sequence-others", method=method)
            )  # fmt: skip
        at = min(run["checkpoints"][-1]["edits"] for run in (plain, dropped))
        values = [
            [value for edits, value in overall(run, "es") if edits <= at][-1]
            for run in (plain, dropped)
        ]
        return decided(values[1] > values[0], f"ES of all edits at {at}: {per_cent(values[0])}, "
                       f"dropped {per_cent(values[1])}")  # fmt: skip

    return judge


def _form(rows: Rows, method: str, options: list[str]) -> Row:
    return numbers_of(rows, "forms", method=method, options=options)


def printed(rows: Rows) -> Verdict:
    form, pmet = _form(rows, "adaple", PUBLISHED), _form(rows, "pmet", [])
    return decided(
        form["eff"] >= pmet["eff"],
        f"Eff as equation 4 prints it {per_cent(form['eff'])}, PMET {per_cent(pmet['eff'])}",
    )


def algorithm(rows: Rows) -> Verdict:
    form = _form(rows, "adaple", ["preset=algorithm1"])
    same = _form(rows, "adaple", PUBLISHED)
    alike = abs(form["perplexity"] / same["perplexity"] - 1) < 0.01
    return decided(
        alike and abs(form["eff"] - same["eff"]) < 1,
        f"Eff {per_cent(form['eff'])} against {per_cent(same['eff'])}, perplexity "
        f"{number(form['perplexity'])} against {number(same['perplexity'])}",
    )


def repair(rows: Rows) -> Verdict:
    form, pmet = _form(rows, "adaple", []), _form(rows, "pmet", [])
    return decided(
        form["eff"] >= pmet["eff"],
        f"Eff repaired {per_cent(form['eff'])}, PMET {per_cent(pmet['eff'])}",
    )


def best_of_batch(rows: Rows) -> Verdict:
    found = {
        "AdaPLE repaired": _form(rows, "adaple", []),
        "PMET": _form(rows, "pmet", []),
        "MEMIT": _form(rows, "memit", PUBLISHED),
    }
    scores = {name: one["s"] for name, one in found.items()}
    told = "; ".join(f"{name} {number(one['s'])}{_between(one)}" for name, one in found.items())
    return decided(scores["AdaPLE repaired"] >= max(scores.values()), f"S, with 95%: {told}")


def _between(one: Row) -> str:
    bounds = one.get("intervals", {}).get("s")
    return f" ({number(bounds[0])} to {number(bounds[1])})" if bounds else ""


def _ablation(rows: Rows, method: str, rule: str) -> float:
    return last(overall(numbers_of(rows, "ablation", method=method, rule=rule), "es"))


def without(label: str, method: str, rule: str) -> Callable[[Rows], Verdict]:
    def judge(rows: Rows) -> Verdict:
        whole, less = _ablation(rows, "adaple", "drop:0.8"), _ablation(rows, method, rule)
        return decided(less < whole, f"ES of all edits at the end {per_cent(whole)}, {label} "
                       f"{per_cent(less)}")  # fmt: skip

    return judge


def robust(rows: Rows) -> Verdict:
    points = overall(numbers_of(rows, "ablation", method="adaple", rule="drop:0.8"), "es")
    return decided(
        last(points) > points[0][1] - 10,
        f"ES of all edits from {per_cent(points[0][1])} to {per_cent(last(points))}",
    )


def trend(rows: Rows) -> Verdict:
    points = overall(published(rows, "memit"), "eff")
    value = spearman(*zip(*points, strict=True))
    return decided(value < -0.5, f"rank correlation of Eff with the edits {number(value)}")


FEW = untestable(
    "10,000 edits need more facts, and wider layers, than these models have; sequences of hundreds "
    "are under Figure 5 and Table 3"
)

ITEMS = tuple(
    Item(PAPER, *rest)
    for rest in (
        ("Figure 1", "What editing is.", "", illustration("a drawing")),
        ("Figure 2", "All scores of a blind sequence fall as edits are made (knowledge "
         "attenuation).", "sequence-memit", attenuates, "ES, PS and NS at the end below the start",
         lines("adaple-scaling", "ES over all edits so far", "per cent",
               lambda run: overall(run, "es"), COMPARED)),
        ("Figure 2", "The more edits, the less holds.", "sequence-memit", trend,
         "rank correlation below -0.5"),
        ("Figure 3a", "Updates of MEMIT are similar to some extent.", "updates", similar,
         "mean cosine above 0.1", squares),
        ("Figure 3b", "Dropping and rescaling each makes them less similar.", "updates",
         dropping_separates, "less than half the mean cosine"),
        ("3.2", "Cutting each to its largest fifth does not.", "updates", cutting_does_not,
         "more than half the mean cosine"),
        ("Figure 4", "A fifth of an update's entries is enough.", "retained", fifth_enough,
         "S within 2 points", kept_plot),
        ("3.2", "Summing cut updates mitigates attenuation.", "fusion", cutting_helps,
         "ES at the end"),
        ("Figure 5", "Dropping and rescaling beats summing, averaging, Lookahead and WiSE-FT.",
         "fusion", drop_best, "ES at the end; shares of Lookahead and WiSE-FT are ours",
         lines("adaple-fusion", "ES over all edits so far, by fusion rule", "per cent",
               lambda run: overall(run, "es"),
               tuple((rule, _fusion_run(rule)) for rule in RULES))),
        ("Figure 6", "Rates between 0.7 and 0.9 are best.", "drop-rates", rate,
         "the best of those measured"),
        ("Figure 7", "It helps MEMIT.", "fusion", plugs_in("memit"), "ES at the end"),
        ("Figure 7", "It helps ROME.", "fusion-others", plugs_in("rome"), "ES at equal edits"),
        ("Figure 7", "It helps PMET.", "fusion-others", plugs_in("pmet"), "ES at equal edits"),
        ("Equation 4", "As printed, it edits no worse than PMET.", "forms", printed,
         "Eff of one batch", lambda rows: [scores_table(rows, "forms", SCORES)]),
        ("Equations 3, 4, Algorithm 1", "Equation 4 and Algorithm 1 say the same.", "forms",
         algorithm, "Eff within a point and perplexity within 1%"),
        ("Equation 4, repaired", "(Ours) Read as a repair, V2 = 2 V + W0 K, it is no worse than "
         "PMET.", "forms", repair, "Eff of one batch"),
        ("Tables 1 and 4", "AdaPLE scores higher than PMET and MEMIT (here: one small batch).",
         "forms", best_of_batch, "S of the repair"),
        ("Tables 1 and 2", "AdaPLE is best after 10,000 edits on CounterFact and zsRE.", "", FEW),
        ("Table 3", "AdaPLE (repaired, with drop and rescale) holds along a sequence.", "ablation",
         robust, "ES falls by less than 10 points"),
        ("Table 3", "Without drop and rescale it is worse.", "ablation",
         without("without", "adaple", "sum"), "ES at the end"),
        ("Table 3", "With the old objective it is worse.", "ablation",
         without("PMET's equation", "pmet", "drop:0.8"), "ES at the end, of the repair"),
        ("Table 3", "With one target for the block's output it is worse.", "ablation",
         without("MEMIT's targets", "memit", "drop:0.8"), "ES at the end"),
        ("Tables 4 and 5", "AdaPLE is best on GPT-NeoX and GPT-J, with fluency and consistency.",
         "", FEW),
    )
)  # fmt: skip

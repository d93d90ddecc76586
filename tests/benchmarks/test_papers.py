"""The registry of claims, what judges make of rows by hand, rows found again, and the page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import papers
import pytest
import torch
from experiments.claims import ITEMS, PAPERS, adaple, d4s, dual_facets, gradual, prune
from experiments.claims.course import collapse, rising, sudden
from experiments.items import (
    ILLUSTRATION,
    REFUTED,
    REPRODUCED,
    UNMEASURED,
    UNTESTABLE,
    Item,
    Plot,
    Verdict,
    _tail_of_t,
    decided,
    paired_t_test,
    spearman,
)
from experiments.page import counts, overview, page, write_page
from experiments.parts import PARTS, PUBLISHED
from experiments.rows import Missing, Rows, rounded
from experiments.updates import changed, largest

EXPECTED = {
    "gupta": {"Figure": range(1, 6), "Table": range(1, 9)},
    "d4s": {"Figure": range(1, 9), "Table": range(1, 5)},
    "lin": {"Figure": range(1, 11), "Table": range(1, 15)},
    "prune": {"Figure": range(1, 6), "Table": range(1, 2)},
    "adaple": {"Figure": range(1, 8), "Table": range(1, 6)},
}
"""The figures and tables that the papers have."""


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    return Rows(tmp_path / "rows", "abc1234")


# -- the registry --------------------------------------------------------------------------------


def test_every_item_has_a_claim_a_judge_and_a_part_or_a_reason(rows: Rows) -> None:
    for item in ITEMS:
        verdict = item.verdict(rows)
        assert item.paper in PAPERS and item.place and item.claim.endswith((".", ".)")), item
        if item.part:
            assert item.part in PARTS, item
            assert verdict.outcome == UNMEASURED, item
            assert re.fullmatch(r"`python benchmarks/papers.py --part [a-z0-9-]+`", verdict.words)
            assert verdict.words.split()[-1].strip("`") in PARTS
        else:
            assert verdict.outcome in (UNTESTABLE, ILLUSTRATION) and verdict.words, item
        assert item.shown(rows) == (), "nothing is drawn without rows"


def test_no_claim_stands_twice_and_every_part_is_for_one() -> None:
    assert len({(item.paper, item.place, item.claim) for item in ITEMS}) == len(ITEMS)
    assert {item.part for item in ITEMS if item.part} | {"objectives-atlas", "drop-rates"} == {
        *PARTS
    }


@pytest.mark.parametrize("paper", EXPECTED)
def test_every_figure_and_table_of_a_paper_has_a_line(paper: str) -> None:
    found: dict[str, set[int]] = {"Figure": set(), "Table": set()}
    for item in ITEMS:
        if item.paper == paper:
            for kind, first, word, last in re.findall(
                r"(Figure|Table)s? (\d+)[a-d]?(?: (and|to) (\d+|on)[a-d]?)?", item.place
            ):
                end = int(first) if not last or last == "on" else int(last)
                found[kind] |= {int(first), end} | (
                    {*range(int(first), end)} if word == "to" else set()
                )
    for kind, numbers in EXPECTED[paper].items():
        assert {*numbers} <= found[kind]


def test_every_part_names_what_measures_it_and_settings_that_differ() -> None:
    for part in PARTS.values():
        assert callable(part.function())
        keys = [json.dumps(setting, sort_keys=True) for setting in part.settings]
        assert keys and len({*keys}) == len(keys)
        assert all(setting.get("edits", setting.get("items")) for setting in part.settings)
    assert sum(part.minutes for part in PARTS.values()) <= 12 * 60, "six hours on two cores"


# -- rows ----------------------------------------------------------------------------------------


def test_a_row_is_found_again_by_part_setting_and_code(tmp_path: Path) -> None:
    rows = Rows(tmp_path, "abc1234")
    rows.add("updates", {"edits": 10}, {"x": 1.23456789, "y": [None, True]}, 2.06)
    (line,) = (tmp_path / "updates.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line) == {
        "part": "updates", "setting": {"edits": 10}, "code": "abc1234", "seconds": 2.1,
        "numbers": {"x": 1.23457, "y": [None, True]},
    }  # fmt: skip
    again = Rows(tmp_path, "abc1234")
    assert again.has("updates", {"edits": 10})
    assert not again.has("updates", {"edits": 20}) and not again.has("sums", {"edits": 10})
    assert not Rows(tmp_path, "def5678").has("updates", {"edits": 10})
    assert not Rows(tmp_path, "abc1234+").has("updates", {"edits": 10})
    assert Rows(tmp_path, "def5678", any_code=True).has("updates", {"edits": 10})


def test_of_several_rows_the_last_of_a_setting_and_the_longest_run_count(rows: Rows) -> None:
    for edits, value in ((10, 2), (40, 1), (40, 3)):
        rows.add("sums", {"edits": edits}, {"x": value}, 0)
    assert [row["numbers"]["x"] for row in rows.latest("sums")] == [2, 3]
    found, read = rows.noting(lambda rows: rows.largest("sums")["numbers"]["x"])
    assert (found, read) == (3, [("sums", "40 edits")])
    with pytest.raises(Missing):
        rows.largest("sums", edits=11)


def test_numbers_keep_six_digits() -> None:
    assert rounded({"a": [0.1 + 0.2, math.pi * 1e9], "b": 7}) == {"a": [0.3, 3141590000.0], "b": 7}


# -- judges, by hand -----------------------------------------------------------------------------


def course(
    eff: Sequence[float],
    perplexity: Sequence[float] | None = None,
    forgotten: Sequence[float] | None = None,
    norms: Mapping[str, Sequence[float]] | None = None,
    new: float = 100.0,
    **more: Any,
) -> dict[str, Any]:
    """A sequence of ten edits a checkpoint, with what is said of it along the way."""
    count = len(eff)
    perplexity, forgotten = perplexity or [10.0] * count, forgotten or [0.0] * count
    norms = {"distance_per_neuron": [1.0] * count, "correlation": [1.0] * count,
             "l1_norm": [1.0] * count, "condition_number": [1.0] * count, "s_max": [1.0] * count,
             "s_min": [1.0] * count, "s_max_change": [1.0] * count, **(norms or {})}  # fmt: skip
    columns = ("es", "ps", "ns", "eff", "par", "spe")
    return {
        "ends": [10 * (number + 1) for number in range(count)],
        "broken": None,
        "windows": {name: {"5": [new] * 10 * count, "50": [new] * 10 * count} for name in columns},
        "at_once": dict.fromkeys(columns, new),
        "log_probability": [-0.1] * 5 * count + [-3.0] * 5 * count,
        "checkpoints": [
            {
                "edits": 10 * (number + 1),
                "overall": dict.fromkeys(columns, eff[number]),
                "forgotten": {"es": forgotten[number], "eff": forgotten[number]},
                "perplexity": perplexity[number],
                "norms": {"3": {name: values[number] for name, values in norms.items()}},
            }
            for number in range(count)
        ],
        "blocks": [10.0, 90.0],
        "base_norms": {"3": dict.fromkeys(norms, 1.0)},
        "base_perplexity": 10.0,
        "cosines": {},
        **more,
    }


def judged(judge: Callable[[Rows], Verdict], *given: tuple[str, Mapping[str, Any], Any]) -> Verdict:
    rows = Rows(Path("nowhere"), "code")
    rows.all = [
        {"part": part, "setting": setting, "numbers": numbers, "code": "c", "seconds": 0}
        for part, setting, numbers in given
    ]
    return judge(rows)


def run_of(method: str, numbers: Any, part: str = "", **more: Any) -> tuple[str, dict, Any]:
    setting = {"method": method, "options": PUBLISHED, "edits": 40, "batch": 1, "rule": "sum",
               "seed": 0, **more}  # fmt: skip
    return part or f"sequence-{method}", setting, numbers


FALLING = course([90.0, 60.0, 30.0, 5.0], [11.0, 12.0, 20.0, 90.0], [0.0, 10.0, 20.0, 95.0])
HOLDING = course([100.0, 100.0, 99.0, 100.0])
SINGLE = {"method": "rome", "options": PUBLISHED, "edits": 4}


def single(change: Sequence[float], denominator: Sequence[float]) -> dict[str, Any]:
    return {"change": change, "denominator": denominator, "leverage": [1, 2, 3, 4],
            "residual": [1, 1, 1, 1]}  # fmt: skip


def cosine(value: float) -> list[list[float]]:
    return [[1.0, value], [-value, 1.0]]


def updates(none: float, top: float, drop: float) -> tuple[str, dict, Any]:
    squares = {"none": cosine(none), "top:20": cosine(top), "drop:0.8": cosine(drop)}
    return "updates", {"edits": 2}, {"cosines": squares}


def sums(together: float, size: int) -> tuple[str, dict, Any]:
    points = [
        {"edits": edits, "alone": 2.0, "together": together, "bytes": edits * size or 100,
         "bytes_of_edits": edits} for edits in (10, 20)
    ]  # fmt: skip
    return "sums", {"edits": 20}, {"sums": points}


def codebook(eps: float, layer: int = 3, **numbers: float) -> tuple[str, dict, Any]:
    scores = {"eff": 100.0, "par": 10.0, "perplexity": 10.0, "base_perplexity": 10.0, **numbers}
    return "codebooks", {"edits": 9, "layer": layer, "eps": eps}, scores


def form(
    method: str, options: list[str], eff: float, perplexity: float = 9
) -> tuple[str, dict, Any]:
    numbers = {"eff": eff, "s": eff, "perplexity": perplexity, "intervals": {"s": [1, 99]}}
    return "forms", {"edits": 20, "method": method, "options": options}, numbers


def kind(name: str, objective: list[float], damage: list[float]) -> tuple[str, dict, Any]:
    numbers = {"objective": objective, "damage": damage, "l1_growth": damage, "said": [1.0]}
    return "kinds", {"edits": 2, "kind": name}, numbers


def fused(rule: str, *eff: float) -> tuple[str, dict, Any]:
    return run_of("memit", course([100.0, *eff]), "fusion", rule=rule, batch=10)


def kept(fifth: float, whole: float) -> tuple[str, dict, Any]:
    points = [
        {"percent": percent, **dict.fromkeys(("s", "es", "ps", "ns", "eff"), score)}
        for percent, score in ((20.0, fifth), (100.0, whole))
    ]
    return "retained", {"edits": 20}, {"kept": points}


JUDGED = {
    "ROME collapses suddenly": (gradual.two_phases("rome"), [run_of("rome", FALLING)],
                                [run_of("rome", course([90.0, 60.0, 30.0, 5.0],
                                 forgotten=[0.0, 30.0, 60.0, 90.0]))]),
    "neighbours": (gradual.neighbours_decline, [run_of("rome", FALLING)],
                   [run_of("rome", course([80.0, 90.0, 95.0]))]),
    "proficient": (gradual.rome_proficient, [run_of("rome", FALLING)],
                   [run_of("rome", course([90.0, 90.0], new=70.0))]),
    "disabling": (gradual.disabling,
                  [("single-edits", SINGLE, single([1, 1, 1, 500], [4, 3, 2, 1]))],
                  [("single-edits", SINGLE, single([1, 2, 3, 4], [1, 2, 3, 4]))]),
    "denominators": (gradual.small_denominator,
                     [("single-edits", SINGLE, single([1, 2, 3, 9], [4, 3, 2, 1]))],
                     [("single-edits", SINGLE, single([1, 2, 3, 9], [1, 2, 3, 4]))]),
    "MEMIT forgets less": (gradual.memit_forgets_less,
                           [run_of("memit", HOLDING), run_of("rome", FALLING)],
                           [run_of("memit", FALLING), run_of("rome", FALLING)]),
    "MEMIT lasts": (gradual.memit_lasts, [run_of("memit", HOLDING), run_of("rome", FALLING)],
                    [run_of("memit", course([5.0])), run_of("rome", FALLING)]),
    "zsRE": (gradual.zsre,
             [("wording", SINGLE, {"question": [1, 1, 1, 0], "completion_said": [0, 0, 1, 1]})],
             [("wording", SINGLE, {"question": [1, 1, 1, 0], "completion_said": [1, 0, 1, 0]})]),
    "norms": (d4s.smaller_norm, [sums(1.0, 0)], [sums(3.0, 0)]),
    "storage": (d4s.constant_storage, [sums(1.0, 0)], [sums(1.0, 5)]),
    "generation worst": (d4s.generation_worst,
                         [kind("dg", [9], [3]), kind("mq", [9], [1]), kind("tf", [9], [2])],
                         [kind("dg", [9], [1]), kind("mq", [9], [1]), kind("tf", [9], [2])]),
    "worse with perplexity": (d4s.worse_with_perplexity,
                              [kind("dg", [9], [3]), kind("mq", [1], [1]), kind("tf", [5], [2])],
                              [kind("dg", [1], [3]), kind("mq", [9], [1]), kind("tf", [5], [2])]),
    "older forgotten": (d4s.older_forgotten, [run_of("memit", FALLING)],
                        [run_of("memit", course([50.0], blocks=[90.0, 10.0]))]),
    "overall": (d4s.overall_falls("memit"), [run_of("memit", FALLING)], [run_of("memit", HOLDING)]),
    "condition": (prune.condition_grows,
                  [run_of(m, course([9.0, 9.0], norms={"condition_number": [2.0, 3.0]}))
                   for m in ("rome", "memit")],
                  [run_of(m, course([9.0, 9.0], norms={"condition_number": [2.0, 1.0]}))
                   for m in ("rome", "memit")]),
    "s_min unchanged": (prune.extremes,
                        [run_of("memit", course([9.0], norms={"s_max": [3.0], "s_min": [0.9]}))],
                        [run_of("memit", course([9.0], norms={"s_max": [3.0], "s_min": [0.2]}))]),
    "PRUNE keeps edits": (prune.keeps_edits, [fused("sum", 20.0), fused("prune", 60.0)],
                          [fused("sum", 60.0), fused("prune", 20.0)]),
    "significant": (prune.significant,
                    [run_of("memit", course([eff], [30 - eff]), "orders", rule=rule, seed=seed)
                     for seed in range(4) for rule, eff in (("sum", 5 + seed % 2), ("prune", 20))],
                    [run_of("memit", course([eff], [30 - eff]), "orders", rule=rule, seed=seed)
                     for seed in range(4) for rule, eff in (("sum", 29 * seed), ("prune", 40))]),
    "best of a batch": (adaple.best_of_batch,
                        [form("adaple", [], 9.0), form("pmet", [], 8.0),
                         form("memit", PUBLISHED, 7.0)],
                        [form("adaple", [], 9.0), form("pmet", [], 8.0),
                         form("memit", PUBLISHED, 9.5)]),
    "Pearson": (dual_facets.pearson_falls,
                [run_of("rome", course([9.0, 9.0], norms={"correlation": [0.99, 0.9]}))],
                [run_of("rome", course([9.0, 9.0], norms={"correlation": [0.99, 0.995]}))]),
    "GRACE generalises": (dual_facets.grace_generalises_little, [codebook(1.0)],
                          [codebook(1.0, par=80.0)]),
    "a radius": (dual_facets.radius,
                 [codebook(1.0), codebook(20.0, par=90.0, perplexity=99.0)],
                 [codebook(1.0), codebook(20.0, par=90.0)]),
    "shallow codebooks": (dual_facets.shallow_codebooks,
                          [codebook(10.0, 1, perplexity=99.0), codebook(10.0, 5)],
                          [codebook(10.0, 1), codebook(10.0, 5, perplexity=99.0)]),
    "sequential": (dual_facets.sequential_falls, [run_of(m, FALLING) for m in ("rome", "memit")],
                   [run_of("rome", FALLING), run_of("memit", HOLDING)]),
    "text flows to labels": (
        dual_facets.saliency_base,
        [("saliency", {"items": 5}, {"layers": [{"wp": 0.8, "pq": 0.1, "ww": 0.1}] * 2
                                     + [{"wp": 0.1, "pq": 0.8, "ww": 0.1}] * 2})],
        [("saliency", {"items": 5}, {"layers": [{"wp": 0.1, "pq": 0.8, "ww": 0.1}] * 2
                                     + [{"wp": 0.8, "pq": 0.1, "ww": 0.1}] * 2})],
    ),
    "similar updates": (adaple.similar, [updates(0.3, 0.3, 0.1)], [updates(0.01, 0.3, 0.1)]),
    "dropped updates": (adaple.dropping_separates, [updates(0.3, 0.3, 0.1)],
                        [updates(0.3, 0.3, 0.2)]),
    "cut updates": (adaple.cutting_does_not, [updates(0.3, 0.2, 0.1)], [updates(0.3, 0.1, 0.1)]),
    "a fifth": (adaple.fifth_enough, [kept(89.0, 90.0)], [kept(50.0, 90.0)]),
    "dropping is best": (adaple.drop_best, [fused("sum", 20.0), fused("drop:0.8", 60.0)],
                         [fused("sum", 20.0), fused("average", 70.0), fused("drop:0.8", 60.0)]),
    "printed": (adaple.printed, [form("adaple", PUBLISHED, 60.0), form("pmet", [], 55.0)],
                [form("adaple", PUBLISHED, 10.0), form("pmet", [], 55.0)]),
    "one meaning": (adaple.algorithm,
                    [form("adaple", PUBLISHED, 60.0), form("adaple", ["preset=algorithm1"], 60.0)],
                    [form("adaple", PUBLISHED, 60.0),
                     form("adaple", ["preset=algorithm1"], 60.0, 900.0)]),
}  # fmt: skip


@pytest.mark.parametrize("claim", JUDGED)
def test_a_judge_says_so_where_a_claim_holds_and_where_it_does_not(claim: str) -> None:
    judge, holds, fails = JUDGED[claim]
    yes, no = judged(judge, *holds), judged(judge, *fails)
    assert (yes.outcome, no.outcome) == (REPRODUCED, REFUTED), (yes, no)
    assert re.search(r"\d", yes.words) and yes.words != no.words, "the numbers are told"


def test_what_only_a_longer_run_could_show_is_not_measured_yet() -> None:
    verdict = judged(gradual.two_phases("memit"), run_of("memit", HOLDING))
    assert verdict.outcome == UNMEASURED and "40 edits" in verdict.words


def test_one_radius_says_nothing_of_radii(rows: Rows) -> None:
    part, setting, numbers = codebook(1.0)
    rows.add(part, setting, numbers, 1.0)
    (item,) = (one for one in ITEMS if one.judge is dual_facets.radius)
    assert item.verdict(rows).outcome == UNMEASURED


def test_a_task_that_is_answered_by_chance_cannot_test_a_claim() -> None:
    def task(low: float) -> tuple[str, dict, Any]:
        return "abilities", {"task": "mmlu", "items": 9}, {
            "accuracy": 30.0, "interval": [low, 40.0], "chance": 25.0}  # fmt: skip

    (item,) = (one for one in ITEMS if one.paper == "lin" and "Eight tasks" in one.claim)
    assert judged(item.judge, task(20.0)).outcome == UNTESTABLE
    assert judged(item.judge, task(26.0)).outcome == UNMEASURED


def test_where_a_model_has_collapsed_and_where_it_rose_most() -> None:
    assert collapse(HOLDING) is None and collapse(FALLING) == 40
    assert collapse(course([50.0, 50.0], [20.0, 51.0])) == 20
    assert collapse(course([50.0], broken=17)) == 17
    assert sudden([(1, 0.0), (2, 1.0), (3, 10.0)]) == (3, 0.9)
    assert sudden([(1, 5.0), (2, 4.0)])[1] == 0.0
    assert rising([(1, 1.0), (2, 2.0)]) and not rising([(1, 1.0), (2, 1.0)])


def test_rank_correlation_takes_ties_by_their_mean() -> None:
    assert spearman([1, 2, 3], [10, 20, 90]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [1, 1, 2, 2]) == pytest.approx(2 / math.sqrt(5))
    assert spearman([1, 2], [7, 7]) == 0


def test_a_paired_t_test_has_the_p_values_of_tables() -> None:
    for t, freedom, p in ((2.776, 4, 0.05), (12.706, 1, 0.05), (3.169, 10, 0.01), (0.0, 3, 1.0)):
        assert 2 * _tail_of_t(t, freedom) == pytest.approx(p, rel=2e-3)
    assert paired_t_test([1.0, 2.0, 3.0])[0] == 2.0
    assert paired_t_test([1.0, 2.0, 3.0])[1] == pytest.approx(0.0742, rel=1e-3)
    assert paired_t_test([1.0, 1.0]) == (1.0, 0.0)


# -- what is done to an update -------------------------------------------------------------------


def test_an_update_is_cut_or_dropped() -> None:
    matrix = torch.tensor([[1.0, -5.0], [3.0, 2.0]])
    assert largest(matrix, 50.0).tolist() == [[0.0, -5.0], [3.0, 0.0]]
    assert changed(matrix, "none", 0, 0) is matrix
    wide = torch.ones(40, 50)
    one, other = (changed(wide, "drop:0.8", 0, step) for step in (0, 1))
    assert one.unique().tolist() == pytest.approx([0.0, 5.0])
    assert not torch.equal(one, other), "every update has a mask of its own"


# -- the page ------------------------------------------------------------------------------------


def filled(folder: Path, drop: float, *more: tuple[str, dict, Any]) -> Rows:
    rows = Rows(folder, "abc1234")
    some = (updates(0.3, 0.2, drop), sums(1.0, 0), codebook(1.0), kept(89.0, 90.0))
    for part, setting, numbers in (*some, *more):
        rows.add(part, setting, numbers, 1.0)
    return rows


def test_the_page_is_the_same_bytes_again_and_follows_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows, docs = filled(tmp_path / "rows", 0.1), tmp_path / "docs"
    write_page(rows, docs)
    first = (docs / "papers.md").read_bytes()
    drawn = {file.name: file.read_bytes() for file in (docs / "figures").iterdir()}
    write_page(Rows(tmp_path / "rows", "other"), docs)
    assert (docs / "papers.md").read_bytes() == first
    assert {f.name: f.read_bytes() for f in (docs / "figures").iterdir()} == drawn
    text = first.decode()
    for name in drawn:
        assert f"(figures/{name})" in text
    assert "papers-adaple-cosines-drop.svg" in drawn and "updates on atlas, 2 edits" in text
    assert "mean cosine, in size: 0.3, dropped 0.1 " in text
    again = filled(tmp_path / "others", 0.2)
    assert "mean cosine, in size: 0.3, dropped 0.2 " in overview(again, ITEMS)


def test_every_item_is_counted_once_and_has_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.page.draw", lambda _plot, _file: None)
    kinds = (kind("dg", [9], [3]), kind("mq", [1], [1]), kind("tf", [5], [2]))
    rows = filled(tmp_path, 0.1, run_of("memit", FALLING), run_of("rome", HOLDING), *kinds)
    text = page(rows, tmp_path)
    total = [int(cell) for cell in counts(rows).splitlines()[-1].strip("| ").split(" | ")[1:]]
    assert sum(total[:-1]) == total[-1] == len(ITEMS)
    for item in ITEMS:
        assert f"| {item.place} | {item.claim}" in text
    titles = {plot.name for item in ITEMS for plot in item.shown(rows) if isinstance(plot, Plot)}
    assert {"gupta-es", "d4s-l1", "prune-condition", "lin-pearson", "adaple-scaling"} <= titles


def test_a_part_is_measured_once_and_what_fails_is_told(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments import bench

    asked: list[Any] = []

    def measure(_bench: object, setting: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(setting["edits"])
        if setting["edits"] == 20:
            raise papers.EditvcError("out of reach")
        return {"x": 1}

    monkeypatch.setattr(bench, "opened", lambda _model, _kept: None)
    monkeypatch.setattr("experiments.updates.similarity", measure)
    part = PARTS["updates"]
    (failed,) = papers.run(part, rows, None, tmp_path)
    assert "out of reach" in failed and asked == [10, 20]
    papers.run(part, rows, 10, tmp_path)
    assert asked == [10, 20], "what is there, and what is larger, is not measured"
    assert "1/2 measured" in papers.listed(part, rows)


def test_a_claim_is_decided_by_its_own_judge(rows: Rows) -> None:
    item = Item("d4s", "x", "y.", "sums", lambda rows: decided(True, str(rows.largest("sums"))))
    assert item.verdict(rows).outcome == UNMEASURED

"""The parts that can be run alone: what each measures, on which model, in which settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.rows import Row, Setting

if TYPE_CHECKING:
    from experiments.bench import Bench

ATLAS, SMOLLM2 = "atlas", "smollm2"
PUBLISHED = ["preset=paper"]
RULES = (
    "sum", "drop:0.8", "top:20", "average", "lookahead:0.5:5", "wise-ft:0.5", "rect:40", "prune",
)  # fmt: skip
"""How the updates of a sequence come together; the numbers that papers do not print are ours."""


@dataclass(frozen=True, slots=True)
class Part:
    """``measure`` names the function that makes the numbers of one setting, ``minutes`` a core's.

    ``code`` are the files and packages whose change makes rows of it old.
    """

    name: str
    what: str
    model: str
    minutes: int
    measure: str
    settings: tuple[Setting, ...]

    def function(self) -> Callable[[Bench, Setting], Row]:
        """What measures; its module, and torch, are loaded only now."""
        module, _, name = self.measure.partition(":")
        function: Callable[[Bench, Setting], Row] = getattr(
            importlib.import_module(f"experiments.{module}"), name
        )
        return function


def _each(**values: tuple[Any, ...]) -> tuple[Setting, ...]:
    """Every combination of some values, the last name's changing fastest."""
    settings: tuple[dict[str, Any], ...] = ({},)
    for name, some in values.items():
        settings = tuple({**setting, name: value} for setting in settings for value in some)
    return settings


def _sequence(method: str, edits: int, **more: Any) -> Setting:
    return {"method": method, "options": PUBLISHED, "edits": edits, "batch": 1, "rule": "sum",
            "seed": 0, **more}  # fmt: skip


_PARTS = (
    Part(
        "updates", "cosines between updates, each as it is, cut, or dropped and rescaled", ATLAS, 3,
        "updates:similarity", _each(edits=(10, 20)),
    ),
    Part(
        "sums", "D4S's sums of edits: their size, and the norm of what they give", ATLAS, 4,
        "updates:sums", _each(edits=(40, 200)),
    ),
    Part(
        "codebooks", "GRACE by radius and layer", ATLAS, 8, "codebooks:codebook",
        _each(edits=(30, 100), layer=(1, 3, 5), eps=(1.0, 5.0, 10.0, 20.0)),
    ),
    Part(
        "forms", "one batch by PMET, MEMIT, and AdaPLE repaired and as printed in two ways", ATLAS,
        5, "updates:forms",
        tuple(
            {"edits": 20, "method": method, "options": options}
            for method, options in (
                ("pmet", []), ("adaple", []), ("adaple", PUBLISHED),
                ("adaple", ["preset=algorithm1"]), ("memit", PUBLISHED),
            )
        ),
    ),
    Part(
        "objectives", "facts as questions of three kinds: perplexity and length of the target",
        SMOLLM2, 4, "single:objective_kinds", _each(edits=(100, 300)),
    ),
    Part(
        "objectives-atlas", "the same on the model that is edited", ATLAS, 1,
        "single:objective_kinds", _each(edits=(100, 300)),
    ),
    Part(
        "saliency", "which attention a few-shot answer hangs on, layer by layer", SMOLLM2, 4,
        "damage:saliency_of_base", _each(items=(5, 20)),
    ),
    Part(
        "single-edits", "each of some facts edited alone: how far the weights go, what is said",
        ATLAS, 18, "single:single_edits",
        tuple(
            {"edits": edits, "method": method, "options": options}
            for edits in (20, 100)
            for method, options in (("rome", PUBLISHED), ("rome", []), ("memit", PUBLISHED))
        ),
    ),
    Part(
        "retained", "an update cut to its largest entries", ATLAS, 12, "updates:retained",
        _each(edits=(20, 100)),
    ),
    Part(
        "kinds", "questions of three kinds, each edited alone: damage against the objective",
        ATLAS, 20, "single:kinds", _each(edits=(8, 40), kind=("dg", "mq", "tf")),
    ),
    Part(
        "sequence-memit", "MEMIT as published, one edit after the other", ATLAS, 35,
        "sequences:sequence",
        (_sequence("memit", 60), _sequence("memit", 300), _sequence("memit", 300, seed=1)),
    ),
    Part(
        "sequence-rome", "ROME as published, one edit after the other, in two orders", ATLAS, 90,
        "sequences:sequence",
        (_sequence("rome", 40), _sequence("rome", 300), _sequence("rome", 300, seed=1),
         _sequence("rome", 300, options=[]), _sequence("rome", 100, options=["preset=without-c"])),
    ),
    Part(
        "sequence-others", "the other methods, one edit after the other", ATLAS, 15,
        "sequences:sequence",
        (
            _sequence("kn", 10, options=[]), _sequence("grace", 100, options=[]),
            _sequence("ft-c", 100, options=[]),
            _sequence("ft-c", 100, options=["relative_constraint=0.05", "norm_constraint=0"]),
            _sequence("mend", 100, options=[]), _sequence("pmet", 100, options=[]),
        ),
    ),
    Part(
        "sequence-d4s", "D4S as published: the sums of all edits so far, solved as one", ATLAS, 12,
        "sequences:of_sums",
        tuple({"edits": edits, "method": "d4s", "options": PUBLISHED} for edits in (60, 100, 300)),
    ),
    Part(
        "batches", "equal totals of edits in batches of several sizes", ATLAS, 20,
        "sequences:sequence",
        tuple(_sequence("memit", 200, batch=batch) for batch in (200, 100, 10, 1)),
    ),
    Part(
        "fusion", "MEMIT as published, updates coming together by eight rules", ATLAS, 40,
        "sequences:sequence",
        tuple(_sequence("memit", 200, batch=10, rule=rule) for rule in RULES),
    ),
    Part(
        "drop-rates", "the rate at which entries of an update are dropped", ATLAS, 25,
        "sequences:sequence",
        tuple(_sequence("memit", 200, batch=10, rule=f"drop:{rate}")
              for rate in (0.1, 0.3, 0.5, 0.7, 0.9)),
    ),
    Part(
        "fusion-others", "drop and rescale, and PRUNE, on ROME and PMET", ATLAS, 30,
        "sequences:sequence",
        tuple(
            _sequence(method, 100, options=options, rule=rule)
            for method, options in (("rome", PUBLISHED), ("pmet", []), ("mend", []))
            for rule in ("drop:0.8", "prune")
        ),
    ),
    Part(
        "orders", "MEMIT with and without PRUNE, five orders of the facts", ATLAS, 25,
        "sequences:sequence",
        tuple(
            _sequence("memit", 100, batch=10, rule=rule, seed=seed)
            for seed in range(5) for rule in ("sum", "prune")
        ),
    ),
    Part(
        "ablation", "AdaPLE without one of its parts, batches of ten", ATLAS, 20,
        "sequences:sequence",
        (
            _sequence("adaple", 100, options=[], batch=10, rule="drop:0.8"),
            _sequence("adaple", 100, options=[], batch=10),
            _sequence("pmet", 100, options=[], batch=10, rule="drop:0.8"),
            _sequence("memit", 100, batch=10, rule="drop:0.8"),
        ),
    ),
    Part(
        "values", "values of the first edits, when made, at the end, and restrained", ATLAS, 15,
        "damage:values",
        ({"edits": 200, "first": 100, "method": "rome", "options": PUBLISHED},),
    ),
    Part(
        "abilities", "tasks asked of the unedited model, beside chance", SMOLLM2, 25,
        "damage:abilities_of_base",
        _each(items=(100,), task=("sst2", "mrpc", "cola", "rte", "mmlu", "dialogue",
                                  "natural_questions", "gsm8k", "samsum")),
    ),
    Part(
        "wording", "edits made as questions, asked for as sentences to complete", SMOLLM2, 15,
        "single:wording", ({"edits": 30, "method": "rome", "options": PUBLISHED},),
    ),
    Part(
        "by-layer", "ROME in one layer after the other: text, answers, attention, temperature",
        SMOLLM2, 60, "damage:by_layer",
        tuple(
            {"edits": 20, "method": "rome", "options": [*PUBLISHED, f"layers=[{layer}]"]}
            for layer in (2, 10, 20, 28)
        ),
    ),
)  # fmt: skip

PARTS: Mapping[str, Part] = {part.name: part for part in _PARTS}

"""Take the statistics that the pocket model ships: its own text, and its own facts as entities.

python examples/pocket/take_statistics.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import editvc.pocket
from editvc.algebra.second_moment import SecondMoment
from editvc.models.fingerprint import describe, identify
from editvc.models.loading import load
from editvc.models.source import SHIPPED_BASE, SHIPPED_STATISTICS, open_model
from editvc.statistics.bundle import sources_of, take
from editvc.vcs.codec import encode, metadata

FOLDER = Path(editvc.pocket.__file__).parent
MODEL = FOLDER / "model"
LAYERS = (0,)
"""The pocket model reads its facts early: targets converge after block 0, hardly after block 1."""
TUNED = {"sensitivity_power": 0.0, "clamp_norm_factor": 0.7}
"""Chosen on other counterfactuals than those of edits.jsonl: shaped targets disturb more here."""
TOKENS = 20_000


def main() -> None:
    """Write the files named by ``SHIPPED_STATISTICS`` beside the model."""
    facts = [json.loads(line) for line in (FOLDER / "facts.jsonl").read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        entities = Path(scratch) / "facts.jsonl"
        lines = (
            json.dumps({"subject": fact["subject"], "prompt": prompt}) + "\n"
            for fact in facts
            for prompt in fact["prompts"][:2]
        )
        entities.write_text("".join(lines), encoding="utf-8")
        base = describe(open_model("pocket"))
        sources = sources_of([FOLDER / "text.txt"], None, entities)
        taken = take(load(open_model("pocket")), base, LAYERS, sources, budget=TOKENS)
    (MODEL / SHIPPED_BASE).write_bytes(encode(identify(open_model("pocket"))))
    for name, data in zip(SHIPPED_STATISTICS, taken.objects, strict=True):
        moment = SecondMoment.from_bytes(data)
        (MODEL / name).write_bytes(moment.to_small_bytes(metadata(data) | {"recipe": TUNED}))


if __name__ == "__main__":
    main()

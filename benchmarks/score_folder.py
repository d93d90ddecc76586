"""Score one edited model in a Hugging Face folder against its base.

    python benchmarks/score_folder.py FOLDER --base .models/smollm2 --records 100:200

``--records`` are those that were edited in it, and no others. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from real_data import REAL, real_collection
from scoring import Scorer, load_in


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--base", required=True, help="the folder of the base")
    parser.add_argument("--data", type=Path, default=REAL)
    parser.add_argument("--records", default="0:100", help="records that were edited, START:STOP")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--tasks", action="store_true", help="SST-2, RTE and MMLU as well")
    given = parser.parse_args()
    start, stop = (int(part) for part in given.records.split(":"))
    dtype = getattr(torch, given.dtype)
    collection = real_collection(given.data, start, stop)
    scorer = Scorer(load_in(given.base, dtype), collection)
    lm, began = load_in(given.folder, dtype), time.perf_counter()
    row = scorer.score(lm, collection.records)
    if given.tasks:
        row |= scorer.of_tasks(lm)
    row["seconds"] = time.perf_counter() - began
    print(
        json.dumps(
            {name: value if value is None else round(value, 2) for name, value in row.items()}
        )
    )


if __name__ == "__main__":
    main()

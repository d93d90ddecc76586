"""As ``fuzz.py``, but led by coverage: what reaches new lines is changed further. Needs atheris.

``ulimit -v 12000000; python tests/fuzz/guided.py TARGET [--seconds S]``, run by hand, with the name
of one target of ``targets.py``. It ends, not with 0, at the first case that is neither read nor
refused by an error of editvc's own, or that takes more than a second, and keeps it in the folder.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

with atheris.instrument_imports(include=["editvc"]):
    from targets import targets

    from editvc.errors import EditvcError

SLOW = 1
"""Seconds that a case may take."""


def main() -> None:
    """Run one target; this does not return."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    (target,) = (one for one in targets(folder) if one.name == asked.target)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, example in enumerate(target.examples):
        (corpus / str(number)).write_bytes(example)

    def read(data: bytes) -> None:
        try:
            target.read(data)
        except EditvcError:
            return

    for example in target.examples:
        read(example)  # what it imports is no part of what a case takes
    limits = [f"-max_total_time={asked.seconds}", f"-timeout={SLOW}", "-rss_limit_mb=0"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

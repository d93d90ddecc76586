"""What shared statistics save: `init` that takes them from text, and from a share.

    python benchmarks/sharing.py --model DIR|pocket [--model ...] [--method memit] [--method gated]

For each model and method: a repository that takes its statistics from the bundled text and names,
a push of them to a folder, and a repository that begins with what is there. Each command is a
process of its own with one thread. Writes processor seconds, and the bytes of the share, into
docs/benchmarks.md; on a machine that others use, seconds of the clock would be others' as well.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- sharing.py begins -->", "<!-- sharing.py ends -->"
MAIN = "from editvc.cli.main import main; main()"


def seconds(folder: Path, *arguments: str) -> float:
    """The processor seconds of one command in a folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", MAIN, *arguments]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def row(model: str, method: str) -> str:
    """One row of the table: the same beginning without a share, and with one."""
    bundled = Path(str(resources.files("editvc.data")))
    sources = ["--text", str(bundled / "text.txt"), "--entities", str(bundled / "entities.txt")]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        for name in ("first", "second"):
            (place / name).mkdir()
        taken = seconds(place / "first", "init", model, "--method", method, *sources)
        pushed = seconds(place / "first", "stats", "push", "../share")
        shared = seconds(
            place / "second", "init", model, "--method", method, "--statistics", "../share"
        )
        size = sum(one.stat().st_size for one in (place / "share").rglob("*") if one.is_file())
    ratio = f"{taken / shared:.1f}"
    name = Path(model).name
    return f"| {name} | {method} | {taken:.1f} | {shared:.1f} | {ratio} | {pushed:.1f} | " + (
        f"{size / 1e6:.1f} |"
    )


def main() -> None:
    """Measure, and write the table into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--method", action="append")
    asked = parser.parse_args()
    rows = [
        "| model | method | init, s | with a share, s | times less | push, s | share, MB |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(row(model, method) for model in asked.model for method in asked.method or ["memit"]),
    ]
    page = ROOT / "docs" / "benchmarks.md"
    head, _, rest = page.read_text("utf-8").partition(BEGIN)
    table = "\n".join(rows)
    page.write_text(f"{head}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", "utf-8")
    print(table)


if __name__ == "__main__":
    main()

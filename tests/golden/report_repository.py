"""All that a version of editvc shows and exports of the golden repositories, as one JSON document.

``PYTHONPATH=CHECKOUT python tests/golden/report_repository.py PLACE`` reads the repositories that
``make_repository.py`` made there, with the editvc of a checkout, and writes ``report.json``.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from golden_commands import CommandLine, warm
from hub_server import Hub, running_hub

REPORT = "report.json"
FAMILIES = ("gpt2", "llama", "olmo", "pocket")
RESTRAINED = tuple(f"restrained~{back}" for back in range(1, 10))
EXPORTED = {
    "gpt2": ("first", "main", "main~4", *RESTRAINED, "sequence", "sequence@{1}", "imported",
             "imported~3", "set", "unsquashed", "recipes", "statistics", "schemas", "base"),
    "llama": ("main", *RESTRAINED, "sequence", "imported", "chat"),
    "olmo": ("main",),
    "pocket": ("main", "main@{1}"),
}  # fmt: skip
"""Revisions to export, compare with the base and judge."""
ASKED = ("main", "codebook", "imported", "chat")
"""Those whose models answer, and are scored on their facts."""
FORMATS = ("hf", "delta", "lora")
PUBLISHED = (("gpt2", "main", "hf"), ("gpt2", "imported", "delta"), ("llama", "imported~4", "lora"),
             ("llama", "restrained~9", "hf"), ("olmo", "main", "delta"))  # fmt: skip


def report(line: CommandLine, hub: Hub) -> dict[str, str]:
    """By command, what it printed; by file, the digest of what it wrote."""
    files: dict[str, str] = {}
    for family in FAMILIES:
        look(line, family)
        for revision in EXPORTED[family]:
            line.run(f"{family}/work", "diff", "base", revision, "--json")
            line.run(f"{family}/work", "health", revision, "--json", code=None)
            for format in FORMATS:
                files |= export(line, family, revision, "--format", format)
        files |= export(line, family, "main", "--format", "lora", "--rank", "2")
    for family, revision, format in PUBLISHED:
        files |= publish(line, hub, family, revision, format)
    return {ran.title: ran.text for ran in line.transcript} | files


def look(line: CommandLine, family: str) -> None:
    """What there is in a repository: its state, its branches, and every commit."""
    work = f"{family}/work"
    for words in ("status", "branch", "log", "config", "stats show", "fsck"):
        line.run(work, *words.split())
        line.run(work, *words.split(), "--json")
    line.run(work, "log", "--oneline", "-n", "5")
    branches = [one["name"] for one in json.loads(line.run(work, "branch", "--json").out)]
    commits: dict[str, None] = {}
    for branch in branches:
        printed = line.run(work, "log", branch, "--json").out
        commits |= dict.fromkeys(row["commit"] for row in json.loads(printed))
    for commit in commits:
        line.run(work, "show", commit, "--json")
    ask(line, family, branches)


def ask(line: CommandLine, family: str, branches: Iterable[str]) -> None:
    """What the models of some branches say, and how they are judged in words."""
    work = f"{family}/work"
    for revision in (one for one in ASKED if one in branches):
        line.run(work, "show", revision)
        line.run(work, "diff", "main", revision)
        line.run(work, "health", revision)
        line.run(work, "ask", "The capital of France is", "--at", revision, "-n", "4")
        line.run(work, "eval", "--at", revision, "--json")


def export(line: CommandLine, family: str, revision: str, *how: str) -> dict[str, str]:
    """Digests of all files of an export."""
    digests, target = {}, line.place / family / "export"
    words = ("export", revision, "--to", "../export", *how, "--json")
    title = line.run(f"{family}/work", *words, code=None).title
    for path in sorted(target.rglob("*")) if target.is_dir() else ():
        if path.is_file():
            name = f"{title} > {path.relative_to(target)}"
            digests[name] = sha256(path.read_bytes()).hexdigest()
    shutil.rmtree(target, ignore_errors=True)
    return digests


def publish(line: CommandLine, hub: Hub, family: str, revision: str, format: str) -> dict[str, str]:
    """What is on the Hub after a push: card, ledger and lock as text, all others as digests."""
    name = f"alice/{family}-{revision.partition('~')[0]}-{format}"
    words = ("publish", name, "--at", revision, "--format", format, "--force")
    line.run(f"{family}/work", *words, code=None)
    files = hub.repositories[name].head if name in hub.repositories else {}
    return {f"{name} > {path}": text_of(path, data) for path, data in files.items()}


def text_of(path: str, data: bytes) -> str:
    """A document as it is, anything else by its digest."""
    documents = ("README.md", "editvc.lock.json", "editvc.ledger.jsonl")
    return data.decode() if path in documents else sha256(data).hexdigest()


def main() -> None:
    """Write the report of the repositories below PLACE; they are read without their caches."""
    place = Path(sys.argv[1]).resolve()
    for cache in place.glob("*/work/.editvc/cache"):
        shutil.rmtree(cache)
    warm()
    with running_hub() as hub:
        texts = report(CommandLine(place, hub.url), hub)
    (place / REPORT).write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Make the golden repositories with one version of editvc and keep them for those to come.

``python tests/golden/pack_repository.py [CHECKOUT]`` runs the editvc of a checkout, of this one
where none is named, and writes ``repositories/VERSION/``: an archive, since the repositories are
some eight hundred files with digests for names, and ``expected.json``, what is in them and what the
version shows of them. Run it once a version; what is there is not replaced.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from compare_versions import HERE, ROOT, run_together
from golden_commands import CommandLine, warm
from golden_inputs import write_inputs
from make_repository import TINY, by
from stored_objects import ARCHIVE, EXPECTED, FOLDER, kinds, objects, record_of, rows, settle

PACKED = r"(base|delta-\d)/|work/.editvc/(objects/|index.db$|config.toml$)"
"""No caches: those are made again."""
FAMILIES = ("gpt2", "llama", "olmo")
"""Not the pocket model, whose statistics are large and lie in the package anyway."""
REFS = ("refs", "reflog")
STATE = ("status", "branch", "config", "stats show", "fsck")
EXPORTED = (
    "gpt2 main", "gpt2 restrained~9", "gpt2 restrained~6", "gpt2 sequence", "gpt2 imported",
    "gpt2 statistics", "llama main", "llama imported", "olmo main",
)  # fmt: skip
"""Family and revision of the deltas to keep."""


def main() -> None:
    """Make, check that nothing is missing, and pack."""
    checkout = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT
    sys.path.insert(0, str(checkout))
    with tempfile.TemporaryDirectory(prefix="editvc-golden-") as scratch:
        place = Path(scratch) / "place"
        place.mkdir()
        write_inputs(place)
        run_together("make_repository.py", {checkout: place})
        warm()
        line = CommandLine(place)
        version = line.run("gpt2/work", "--version").out.split()[-1]
        target = HERE / "repositories" / version
        target.mkdir(parents=True)
        require_all(place, line, checkout)
        expected = {
            "stored": stored(place),
            **shown(line),
            "options": {method: by(method) for method in TINY},
            "exports": {f"delta-{number}": name for number, name in enumerate(EXPORTED)},
        }
        (target / EXPECTED).write_text(by_line(expected), encoding="utf-8")
        for folder, name in expected["exports"].items():
            family, revision = name.split()
            words = ("export", revision, "--to", f"../{folder}", "--format", "delta")
            line.run(f"{family}/work", *words)
        for index in place.glob(f"*/work/{FOLDER}/index.db"):
            settle(index)
        pack(place, target / ARCHIVE)


def require_all(place: Path, line: CommandLine, checkout: Path) -> None:
    """Every kind that docs/formats.md describes and every method has left something."""
    page = (checkout / "docs" / "formats.md").read_text("utf-8")
    described = re.search(r"(?ms)^## Objects$(.*?)^## ", page)
    assert described is not None
    works = [place / family / "work" for family in FAMILIES]
    records = [record_of(data) for work in works for data in objects(work).values()]
    kinds_described = set(re.findall(r"(?m)^### (\w+)$", described[1]))
    assert {record["kind"] for record in records} == kinds_described
    imports = {record["import"]["kind"] for record in records if "import" in record}
    assert imports == {"lora", "difference"}
    methods = {row["name"] for row in printed(line, "gpt2", "methods")}
    recipes = {record["method"] for record in records if record["kind"] == "recipe"}
    assert recipes | {"lora"} == methods


def stored(place: Path) -> dict[str, Any]:
    """By family, the ids of every kind of object, the refs and their logs."""
    families: dict[str, Any] = {}
    for family in FAMILIES:
        by_kind: dict[str, list[str]] = {}
        for identifier, kind in kinds(place / family / "work").items():
            by_kind.setdefault(kind, []).append(identifier)
        tables = rows(place / family / "work")
        families[family] = {"objects": by_kind} | {name: tables[name] for name in REFS}
    return families


def shown(line: CommandLine) -> dict[str, dict[str, Any]]:
    """By family and command, what it prints: of what is stored, and of what follows from it."""
    read, computed = {}, {}
    for family in FAMILIES:
        documents = {words: printed(line, family, words) for words in STATE}
        branches = [one["name"] for one in documents["branch"]]
        logs = {f"log {branch}": printed(line, family, f"log {branch}") for branch in branches}
        commits = dict.fromkeys(row["commit"] for log in logs.values() for row in log)
        shows = {f"show {commit}": printed(line, family, f"show {commit}") for commit in commits}
        read |= {f"{family} {words}": one for words, one in (documents | logs | shows).items()}
        for words in (
            f"{verb} {branch}" for branch in branches for verb in ("diff base", "health")
        ):
            computed[f"{family} {words}"] = printed(line, family, words)
    return {"read": read, "computed": computed}


def printed(line: CommandLine, family: str, words: str) -> Any:
    """The JSON that a command prints."""
    return json.loads(line.run(f"{family}/work", *words.split(), "--json").out)


def by_line(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for every entry of every section."""
    texts = []
    for section, entries in sections.items():
        lines = (
            f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
            for name, value in entries.items()
        )
        texts.append(f"{json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(texts) + "}\n"


def pack(place: Path, archive: Path) -> None:
    """Bases, repositories and deltas; equal files give an equal archive."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(path for path in place.rglob("*") if path.is_file()):
            family, _, name = path.relative_to(place).as_posix().partition("/")
            if family in FAMILIES and re.match(PACKED, name):
                info = tarfile.TarInfo(f"{family}/{name}")
                info.size = path.stat().st_size
                with path.open("rb") as data:
                    packed.addfile(info, data)


if __name__ == "__main__":
    main()

"""Whether edits answer where models are served: formats x runtimes, as a table of Markdown.

    python benchmarks/serving.py REPOSITORY [--facts 100] [--neighbours 1] [--write docs/serving.md]

REPOSITORY is a folder with a repository; HEAD of it is exported in every format and each export is
asked in the runtime that it is for: transformers, PEFT (also on the base in nf4, by bitsandbytes),
and llama.cpp (the package xllamacpp). Gated edits have no adapter, so a repository with some has no
such rows. Each format of the *base* is asked the same: what it says otherwise than the base in
transformers, edits are not to blame for. ``--others`` is a file of prompts, one a line, that no
fact is about; by default the first locality prompts of each fact are asked. Rows are appended to
``--out``, in which later ones of a name go before earlier ones; ``--write`` puts the tables of all
of them, one a model, between the two marks in a page.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from llama_runtime import completions

import editvc
from editvc.core.facts import Fact
from editvc.evaluation.scores import answers_correctly
from editvc.interchange.gguf_unpack import load_gguf
from editvc.interchange.reload_check import FOUR_BITS, reloaded, with_adapter
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel
from editvc.porcelain.export import NeedsNeurons
from editvc.session.trees import live_facts

ROOT = Path(__file__).resolve().parent.parent
TOKENS = 8
TYPES = ("BF16", "Q8_0", "Q4_1")
NF4 = FOUR_BITS[0]
BEGIN, END = "<!-- serving.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """One export in one runtime.

    ``said`` is the share of ``facts`` that it says. The others are shares of answers that are the
    same as in transformers: at the facts' prompts and the ``others``, of the edited model and of
    the base.
    """

    model: str
    edits: str
    format: str
    runtime: str
    megabytes: float
    facts: int
    others: int
    said: float
    edited_facts: float
    edited_others: float
    base_facts: float
    base_others: float

    @property
    def cells(self) -> str:
        """As a line of Markdown."""
        shares = (self.said, self.edited_facts, self.edited_others, self.base_facts,
                  self.base_others)  # fmt: skip
        cells = (self.edits, f"`{self.format}`", self.runtime, f"{self.megabytes:.1f}",
                 *(f"{100 * one:.0f}%" for one in shares))  # fmt: skip
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Export, ask, keep the rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--others", type=Path)
    parser.add_argument("--neighbours", type=int, default=1, help="locality prompts of a fact")
    parser.add_argument("--types", default=",".join(TYPES), help="of GGUF files, commas between")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "data" / "serving.jsonl")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        repo = editvc.Repo(given.repository)
        facts = [*live_facts(repo.session).values()][: given.facts]
        others = [prompt for fact in facts for prompt in fact.locality[: given.neighbours]]
        if given.others is not None:
            others = given.others.read_text(encoding="utf-8").splitlines()
        bench = Bench(repo, Path(scratch), facts, others)
        for row in bench.rows(given.types.split(",")):
            print(row.cells, flush=True)
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
    lines = given.out.read_text(encoding="utf-8").splitlines()
    text = tables([Row(**json.loads(line)) for line in lines])
    print(text)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        page = f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
        given.write.write_text(page, encoding="utf-8")


def tables(rows: Iterable[Row]) -> str:
    """The rows in Markdown, the last of each name, a table for each model."""
    last = {(one.model, one.edits, one.format, one.runtime): one for one in rows}
    by_model: dict[str, list[Row]] = {}
    for row in last.values():
        by_model.setdefault(row.model, []).append(row)
    return "\n\n".join(f"{model}:\n\n{table(some)}" for model, some in by_model.items())


def table(rows: Sequence[Row]) -> str:
    """Rows of one model and as many prompts."""
    ((facts, others),) = {(one.facts, one.others) for one in rows}
    return "\n".join([
        f"| edits | format | runtime | MB | {facts} facts said | as `hf`: facts | {others} others "
        "| base as `hf`: facts | others |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row.cells for row in rows),
    ])  # fmt: skip


class Bench:
    """A repository, what HEAD of it and its base are asked, and a folder for exports."""

    def __init__(
        self, repo: editvc.Repo, scratch: Path, facts: Sequence[Fact], others: Sequence[str]
    ) -> None:
        self.repo, self.scratch, self.facts, self.others = repo, scratch, facts, others
        self.prompts = [*(fact.question for fact in facts), *others]
        self.edits = ", ".join(repo.show().methods)
        self.model = Path(str(repo.status().source)).name
        self.maker = repo.session.materialiser

    def rows(self, types: Sequence[str]) -> Iterable[Row]:
        """Every format in its runtimes."""
        yield self.row("hf", "transformers", "hf", self.plain, self.plain_base)
        for type in types:
            files = [self.gguf(type, revision) for revision in ("HEAD", "base")]
            yield self.row(
                f"gguf --quantize {type}", "llama.cpp", type, *map(self.by_llama_cpp, files)
            )
            if type != TYPES[0]:
                yield self.row(
                    f"gguf --quantize {type}", "transformers", type, *map(self.by_gguf, files)
                )
        try:
            self.repo.export(self.scratch / "lora", format="lora")
        except NeedsNeurons:
            return
        yield self.row("lora", "PEFT", "lora", self.in_peft(None), self.plain_base)
        on_base = self.by(reloaded(self.maker.folder, self.maker.architecture, four_bits=NF4))
        yield self.row("lora", f"PEFT, base in {NF4}", "lora", self.in_peft(NF4), on_base)
        self.repo.export(self.scratch / "gguf-lora", format="gguf-lora")
        base = self.gguf(TYPES[0], "base")
        adapter = self.scratch / "gguf-lora" / "adapter.gguf"
        said = completions(base, self.prompts, TOKENS, adapter)
        yield self.row("gguf-lora", "llama.cpp", "gguf-lora", said, self.by_llama_cpp(base))

    def row(
        self, format: str, runtime: str, folder: str, edited: Sequence[str], base: Sequence[str]
    ) -> Row:
        """The row of what an export and its base say."""
        count = len(self.facts)
        right = map(answers_correctly, map(str.strip, edited), self.facts)
        shares = []
        for said, plain in ((edited, self.plain), (base, self.plain_base)):
            same = [a.strip() == b.strip() for a, b in zip(said, plain, strict=True)]
            shares += [share(same[:count]), share(same[count:])]
        return Row(
            self.model, self.edits, format, runtime, size(self.scratch / folder), count,
            len(self.others), share(list(right)), *shares,
        )  # fmt: skip

    @cached_property
    def plain(self) -> list[str]:
        """What the hf export says: the others are compared with it."""
        self.repo.export(self.scratch / "hf")
        return self.by(reloaded(self.scratch / "hf", self.maker.architecture))

    @cached_property
    def plain_base(self) -> list[str]:
        """What the base says in transformers."""
        return self.by(reloaded(self.maker.folder, self.maker.architecture))

    def gguf(self, type: str, revision: str) -> Path:
        """The file of a revision in a type, made once."""
        folder = self.scratch / (type if revision == "HEAD" else f"{revision}-{type}")
        if not folder.exists():
            self.repo.export(folder, format="gguf", quantize=type, revision=revision)
        return folder / "model.gguf"

    def in_peft(self, four_bits: str | None) -> list[str]:
        """What the base says with the adapter beside it."""
        base = reloaded(self.maker.folder, self.maker.architecture, four_bits=four_bits)
        with_adapter(base.model, self.scratch / "lora")
        return self.by(base)

    def by_gguf(self, file: Path) -> list[str]:
        """What transformers says, which computes with the numbers that a file means."""
        return self.by(load_gguf(file, self.maker.architecture))

    def by_llama_cpp(self, file: Path) -> list[str]:
        """What llama.cpp says, which rounds what goes into a quantised matrix, too."""
        return completions(file, self.prompts, TOKENS)

    def by(self, lm: LanguageModel) -> list[str]:
        """What a loaded model says."""
        return generate_all(lm, self.prompts, [TOKENS] * len(self.prompts))


def size(folder: Path) -> float:
    """Megabytes of a folder."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) / 1e6


def share(of: Sequence[bool]) -> float:
    """Of those that are true; 1 of none."""
    return sum(of) / len(of) if of else 1.0


if __name__ == "__main__":
    main()

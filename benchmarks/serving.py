"""Whether edits answer where models are served: formats x runtimes, as a table of Markdown.

    python benchmarks/serving.py REPOSITORY [--facts 100] [--others FILE] [--write docs/serving.md]

REPOSITORY is a folder with a repository; HEAD of it is exported in every format and each export is
asked in the runtime that it is for: transformers, PEFT, and llama.cpp (the package xllamacpp).
Gated edits have no adapter, so a repository with some has no such rows. ``--others`` is a file of
prompts, one a line, that no fact is about; by default the facts' own locality prompts are asked.
``--write`` puts the table between the two marks in a page.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_runtime import completions

import editvc
from editvc.core.facts import Fact
from editvc.evaluation.scores import answers_correctly
from editvc.interchange.reload_check import reloaded
from editvc.models.generation import generate_all
from editvc.models.language_model import LanguageModel
from editvc.porcelain.export import NeedsNeurons
from editvc.session.trees import live_facts

TOKENS = 8
TYPES = ("BF16", "Q8_0", "Q4_1")
BEGIN, END = "<!-- serving.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """One export in one runtime; ``said`` are facts, the other two answers as the hf export's."""

    format: str
    runtime: str
    megabytes: float
    said: float
    edited: float
    others: float

    @property
    def cells(self) -> str:
        """As a line of Markdown."""
        shares = (f"{100 * one:.0f}%" for one in (self.said, self.edited, self.others))
        cells = (f"`{self.format}`", self.runtime, f"{self.megabytes:.1f}", *shares)
        return f"| {' | '.join(cells)} |"


def main() -> None:
    """Export, ask, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("repository", type=Path)
    parser.add_argument("--facts", type=int, default=100)
    parser.add_argument("--others", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    repo = editvc.Repo(given.repository)
    facts = [*live_facts(repo.session).values()][: given.facts]
    others = [prompt for fact in facts for prompt in fact.locality]
    if given.others is not None:
        others = given.others.read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        text = table(measured(repo, Path(scratch), facts, others), len(facts), len(others))
    print(text)
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        page = f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
        given.write.write_text(page, encoding="utf-8")


def table(rows: Sequence[Row], facts: int, others: int) -> str:
    """The rows in Markdown."""
    return "\n".join([
        f"| format | runtime | MB | {facts} facts said | the same answers as `hf`: facts "
        f"| {others} others |",
        "|---|---|---|---|---|---|",
        *(row.cells for row in rows),
    ])  # fmt: skip


def measured(
    repo: editvc.Repo, scratch: Path, facts: Sequence[Fact], others: Sequence[str]
) -> list[Row]:
    """Every format in its runtime, the hf export first: the others are compared with it."""
    prompts = [fact.question for fact in facts]
    rows, plain = list[Row](), list[str]()

    def ask(format: str, runtime: str, files: Path, said: list[str]) -> None:
        answers = [one.strip() for one in said]
        plain[:] = plain or answers
        same = [one == other for one, other in zip(answers, plain, strict=True)]
        right = [answers_correctly(one, fact) for one, fact in zip(answers, facts, strict=False)]
        rows.append(
            Row(format, runtime, size(files), share(right), share(same[: len(facts)]),
                share(same[len(facts) :]))
        )  # fmt: skip

    architecture = repo.session.materialiser.architecture
    asked = [*prompts, *others]
    repo.export(scratch / "hf")
    ask("hf", "transformers", scratch / "hf", by(reloaded(scratch / "hf", architecture), asked))
    for type in TYPES:
        folder = scratch / type
        repo.export(folder, format="gguf", quantize=type)
        said = completions(folder / "model.gguf", asked, TOKENS)
        ask(f"gguf --quantize {type}", "llama.cpp", folder, said)
    own = scratch / "gguf"
    repo.export(own, format="gguf")
    ask("gguf", "llama.cpp", own, completions(own / "model.gguf", asked, TOKENS))
    try:
        repo.export(scratch / "lora", format="lora")
    except NeedsNeurons:
        return rows
    adapted = in_peft(repo, scratch / "lora")
    ask("lora", "PEFT", scratch / "lora", by(adapted, asked))
    repo.export(scratch / "gguf-lora", format="gguf-lora")
    repo.export(scratch / "base", format="gguf", revision="base")
    adapter = scratch / "gguf-lora" / "adapter.gguf"
    said = completions(scratch / "base" / "model.gguf", asked, TOKENS, adapter)
    ask("gguf-lora", "llama.cpp", scratch / "gguf-lora", said)
    return rows


def by(lm: LanguageModel, prompts: Sequence[str]) -> list[str]:
    """What transformers says."""
    return generate_all(lm, prompts, [TOKENS] * len(prompts))


def in_peft(repo: editvc.Repo, adapter: Path) -> LanguageModel:
    """The base with an adapter merged into it by PEFT."""
    from peft import PeftModel

    maker = repo.session.materialiser
    base = reloaded(maker.folder, maker.architecture)
    model = PeftModel.from_pretrained(base.model, str(adapter)).merge_and_unload()
    return LanguageModel(model.eval(), base.tokenizer, maker.architecture)


def size(folder: Path) -> float:
    """Megabytes of a folder."""
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file()) / 1e6


def share(of: Sequence[bool]) -> float:
    """Of those that are true; 1 of none."""
    return sum(of) / len(of) if of else 1.0


if __name__ == "__main__":
    main()

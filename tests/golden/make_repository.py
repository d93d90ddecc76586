"""The commands that make the golden repository: every method, every kind of object, every verb.

``PYTHONPATH=CHECKOUT python tests/golden/make_repository.py PLACE`` runs them with the editvc of a
checkout in a folder that ``golden_inputs.write_inputs`` has filled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from golden_commands import TRANSCRIPT, CommandLine, warm, write_transcript
from stored_objects import settle

SEARCH = ("-O", "v_num_grad_steps=12")
TUNING = ("-O", "num_steps=10", "-O", "energy=0.9")
TINY = {
    "memit": SEARCH, "d4s": SEARCH, "rome": SEARCH, "emmet": SEARCH, "pmet": SEARCH,
    "adaple": SEARCH,
    "alphaedit": (*SEARCH, "-O", "nullspace_threshold=0.5"),
    "ultraedit": ("-O", "lr=1e-3"),
    "ft": (*TUNING, "-O", "lr=5e-3"),
    "ft-c": (*TUNING, "-O", "norm_constraint=5e-3"),
    "mend": (),
    "kn": ("-O", "steps=4"),
    "grace": ("-O", "n_iter=20", "-O", "edit_lr=0.3", "-O", "eps=0.5"),
}  # fmt: skip
"""The methods that commit facts, with what lets them work on a tiny random model."""


def by(method: str) -> tuple[str, ...]:
    """The options of a commit by a method."""
    return ("--method", method, *TINY[method])


@dataclass(slots=True)
class Scenario:
    """One repository of the place, in the making."""

    line: CommandLine
    family: str
    numbers: Iterator[int] = field(default_factory=count)

    def editvc(self, *words: str, code: int = 0) -> str:
        """Run a command in the repository; what it prints."""
        return self.line.run(f"{self.family}/work", *words, code=code).out

    def topic(self, name: str, at: str = "first") -> None:
        """Begin a branch at the tip of another."""
        self.editvc("switch", at)
        self.editvc("switch", "-c", name)
        self.numbers = count()

    def facts(self) -> str:
        """A file with one fact that no commit of this branch has had."""
        return f"../../fact{next(self.numbers)}.jsonl"

    def start(self, *more: str) -> None:
        """``init``; the base is named from the work tree, so that no path stands in any output."""
        sources = ("--text", "../../text.txt", "--entities", "../../names.txt")
        self.editvc("init", "../base", *sources, *more)
        self.editvc("config", "base.model", "../base")
        self.editvc("config", "recipe.v_num_grad_steps", "12")
        self.editvc("status")
        self.editvc("log")


def make_all(line: CommandLine) -> None:
    """Make the repositories below the place of ``line``."""
    gpt2, llama = Scenario(line, "gpt2"), Scenario(line, "llama")
    for one in (gpt2, llama):
        one.start("--layers", "1,2")
        by_every_method(one)
        sequences(one)
        restraints(one)
        imports(one)
        codebooks(one)
    sets(gpt2)
    recipes(gpt2)
    statistics(gpt2)
    schemas(gpt2)
    branches(gpt2)
    chat(llama)
    unknown_family(Scenario(line, "olmo"))
    pocket(Scenario(line, "pocket"))


def by_every_method(one: Scenario) -> None:
    """``main``: one tree with edits of every method that changes weights."""
    one.editvc("methods", "--json")
    one.editvc("commit", "../../rich.jsonl", "-m", "Facts with all fields\n\nAnd a second line.")
    one.editvc("branch", "first")
    one.editvc("train", "mend", "../../learn.jsonl", "--steps", "3", "--seed", "2", "--json")
    for method in TINY:
        one.editvc("methods", method)
        if method == "grace":  # weights cannot hold it: see `codebooks`
            continue
        one.editvc("commit", one.facts(), one.facts(), *by(method))
        one.editvc("show")
    one.editvc("commit", one.facts(), "--dry-run", "--json")
    one.editvc("ask", "The capital of France is", "--vs", "base", "--json")
    one.editvc("eval", "--json")
    one.editvc("health", "--json")


def sequences(one: Scenario) -> None:
    """Patches that are made one after the other, and a squash that leaves them as they are."""
    one.topic("sequence")
    for method in ("memit", "rome", "alphaedit", "ultraedit", "ft"):
        one.editvc("commit", one.facts(), one.facts(), *by(method), "--sequential", "--json")
    one.editvc("revert", "3", "-m", "Take the second sequence out")
    one.editvc("squash", "--range", "1..3", "--dry-run", "--json")
    one.editvc("squash", "--range", "1..3", "--json")


def restraints(one: Scenario) -> None:
    """Trees under every restraint, each on the edits of all methods."""
    one.topic("restrained", "main")
    for words in (
        (), ("--alpha", "1.2"), ("--linear", "2"), ("--rank", "3"), ("--energy", "0.8"),
        ("--alpha", "1.5", "--rank", "4"), ("--rect", "40"), ("--drop", "0.8", "--seed", "1"),
        ("--alpha", "2", "--rect", "30", "--drop", "0.5"),
    ):  # fmt: skip
        one.editvc("compact", *words, "--dry-run", "--json")
        one.editvc("compact", *words)
    one.editvc("compact", "--off", "-m", "Lift it")


def imports(one: Scenario) -> None:
    """An adapter and differences, beside a fact, and what takes them out again."""
    one.topic("imported")
    one.editvc("import", "../adapter", "--dry-run", "--json")
    one.editvc("import", "../adapter", "--author", "Bo Lind <bo@example.org>", "--json")
    one.editvc("import", "../tuned", "--rank", "1", "-m", "By rank")
    one.editvc("revert", "HEAD")
    one.editvc("import", "../tuned", "--energy", "0.9", "--json")
    one.editvc("commit", one.facts(), "--json")
    one.editvc("import", "../adapter", code=1)
    one.editvc("status", "--json")
    one.editvc("health")


def codebooks(one: Scenario) -> None:
    """Codebook entries of several recipes and layers, above edits of weights."""
    one.topic("codebook")
    one.editvc("commit", one.facts(), one.facts(), *by("grace"))
    one.editvc(
        "commit", one.facts(), "--method", "grace", "-O", "eps=3", "-O", "n_iter=4", "--json"
    )
    one.editvc("commit", one.facts(), "--recipe", "../../grace.yaml", "-O", "layers=[3]")
    one.editvc("commit", one.facts(), *by("grace"), "--sequential")
    one.editvc("health", "--json")
    one.editvc("ask", "The capital of France is", "--json")
    one.editvc("export", "--to", "../refused", code=1)


def sets(one: Scenario) -> None:
    """A set that outgrows one node, and what moves facts in and out of it."""
    one.topic("set")
    one.editvc("config", "recipe.v_num_grad_steps", "4")
    one.editvc("commit", "../../many.jsonl", "--json")
    one.editvc("revert", "HEAD", "--dry-run")
    one.editvc("commit", "../../otherwise.jsonl", code=1)
    one.editvc("commit", "../../otherwise.jsonl", "--supersede", "--json")
    one.editvc("config", "recipe.mom2_update_weight", "50")
    one.editvc("commit", "../../rich.jsonl", "--supersede")
    one.editvc("diff", "first")
    one.editvc("branch", "unsquashed")
    one.editvc("squash", "--range", "first..HEAD", "-m", "Together")
    fact = one.editvc("show", "first").split("+ ")[1].split()[0]
    one.editvc("revert", fact, "--json")
    one.editvc("show", "HEAD@{1}", "--json")
    one.editvc("config", "recipe.mom2_update_weight", "6.4")
    one.editvc("config", "recipe.v_num_grad_steps", "12")


def recipes(one: Scenario) -> None:
    """Recipes from files and options, and a method put in force."""
    one.topic("recipes")
    printed = one.line.place / one.family / "rome.yaml"
    printed.write_text(one.editvc("methods", "rome").replace("steps: 20", "steps: 2"))
    one.editvc("commit", one.facts(), "--recipe", "../rome.yaml", "-O", "v_lr=0.25")
    one.editvc("commit", one.facts(), "--recipe", "../../memit.json", "--json")
    published = ("compensation=0", "delivery_factor=1", "entity_update_weight=0",
                 "sensitivity_power=0", "norm_anchor=1")  # fmt: skip
    options = [word for number in published for word in ("-O", number)]
    one.editvc("commit", one.facts(), "--method", "memit", *options)
    one.editvc("commit", one.facts(), "--method", "rome", "-O", "speed=1", code=1)
    one.editvc("config", "recipe.method", "alphaedit")
    one.editvc("commit", one.facts(), "-O", "v_num_grad_steps=2", "-O", "nullspace_threshold=0.5")
    one.editvc("config", "recipe.method", "memit")
    one.editvc("config", "recipe.v_num_grad_steps", "12")
    one.editvc("config", "--json")


def statistics(one: Scenario) -> None:
    """Statistics taken anew, and edits of the old and the new ones in one tree."""
    one.topic("statistics")
    before = json.loads(one.editvc("config", "--json"))
    sources = ("--text", "../../other.txt", "--entities", "../../others.txt")
    one.editvc("stats", "compute", *sources, "--budget", "1500", "--token-cap", "24", "--json")
    one.editvc("stats", "show")
    one.editvc("commit", one.facts(), "--json")
    one.editvc("tune", "../../rich.jsonl", "../../learn.jsonl", "--quick", *sources, "--json")
    for role in ("statistics", "entity_statistics", "sensitivity"):
        one.editvc("config", f"recipe.{role}", before[f"recipe.{role}"])
    one.editvc("trace", "--prompt", "The capital of {} is", "--subject", "France", "--json")


def schemas(one: Scenario) -> None:
    """Files in every format that facts come in."""
    one.topic("schemas")
    one.editvc("lint", "../../unsound.jsonl", "--json", code=1)
    examples = sorted((one.line.place / "examples").iterdir())
    for file in examples:
        one.editvc("convert", f"../../examples/{file.name}", "--target", "alt")
    asked = ("../../zsre.jsonl", "--target", "answers", "../../questions.jsonl")
    one.editvc("commit", *asked, "--confirm-subjects", "--json")
    for name in ("multi_counterfact.json", "facts.csv", "questions.jsonl"):
        one.editvc("commit", f"../../examples/{name}", "--supersede", "-O", "v_num_grad_steps=4")


def branches(one: Scenario) -> None:
    """Branches that come and go, and a detached HEAD."""
    one.editvc("branch", "gone", "HEAD~1")
    one.editvc("branch", "-d", "gone")
    one.editvc("switch", "--detach", "main~2")
    one.editvc("commit", "../../fact29.jsonl", "-m", "On no branch")
    one.editvc("status")
    one.editvc("switch", "main")
    one.editvc("switch", "mian", code=1)


def chat(one: Scenario) -> None:
    """Facts in the turns of a chat."""
    one.topic("chat")
    one.editvc("commit", "../../rich.jsonl", "--chat-template", "--json")
    one.editvc("ask", "Where is Rome?", "--chat-template")
    one.editvc("squash", "--range", "1..2")
    one.editvc("switch", "main")


def unknown_family(one: Scenario) -> None:
    """A base with an architecture of its own."""
    one.editvc("arch", "../base", "--yes", "--json")
    one.start("--layers", "1", "--architecture", "olmo.architecture.toml")
    one.editvc("commit", "../../rich.jsonl")
    one.editvc("commit", "../../fact0.jsonl", "--method", "pmet", "-O", "v_num_grad_steps=2")


def pocket(one: Scenario) -> None:
    """The embedded model, which brings its own statistics."""
    one.editvc("init", "pocket", "--json")
    one.editvc("config", "recipe.v_num_grad_steps", "12")
    one.editvc("commit", "../../rich.jsonl", "--json")
    one.editvc("commit", "../../fact0.jsonl", "--method", "emmet", "-O", "v_num_grad_steps=2")
    one.editvc("squash", "--range", "1..1")


def main() -> None:
    """Make the repositories below PLACE, which holds the inputs, and keep what was printed."""
    place = Path(sys.argv[1]).resolve()
    warm()
    line = CommandLine(place)
    make_all(line)
    for index in place.glob("*/work/.editvc/index.db"):
        settle(index)
    write_transcript(line.transcript, place / TRANSCRIPT)


if __name__ == "__main__":
    main()

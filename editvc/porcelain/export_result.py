"""What an export of any format tells: what was written, and how it was checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from editvc.core.cut import quoted
from editvc.core.facts import Fact
from editvc.core.history import Tree
from editvc.core.ids import ObjectId, object_id, short
from editvc.errors import EditvcError
from editvc.interchange.staging import Content
from editvc.vcs.codec import encode

Documents = Callable[[str, str, tuple[str, ...]], Mapping[str, Content]]
"""Further files of an export, made of the base's digest, the result's, and the touched tensors."""


class ReloadDiffers(EditvcError):
    """An export that loads but does not answer as the revision does. It was not kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an export, loaded again, said of a live fact; ``right`` where it is what the fact says.

    A wrong one is the revision's own, unless neurons gave way to keep a width: any other export
    that answers otherwise is not kept.
    """

    fact: Fact
    completion: str
    right: bool

    @property
    def line(self) -> str:
        """In words; a wrong answer is marked as such."""
        line = f"reloaded in transformers: {quoted(self.fact.question)} ->{quoted(self.completion)}"
        return line if self.right else f"{line} WRONG, the fact is {quoted(self.fact.target_new)}"

    def to_json(self) -> dict[str, Any]:
        """For ``export --json``."""
        return {
            "fact": self.fact.id,
            "question": self.fact.question,
            "target_new": self.fact.target_new,
            "answer": self.completion.strip(),
            "right": self.right,
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What an adapter does on its base in some ``precision``.

    ``said`` counts the ``facts`` of whose new object every token is the first choice; ``kept`` the
    ``neighbours``, prompts of locality, whose first token is that of the same base without it.
    """

    precision: str
    said: int
    facts: int
    kept: int
    neighbours: int

    @property
    def line(self) -> str:
        """In words."""
        return (
            f"on the base in {self.precision}: {self.said} of {self.facts} facts said, {self.kept} "
            f"of {self.neighbours} neighbours answered as without edits"
        )

    def to_json(self) -> dict[str, Any]:
        """For ``export --json``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Export:
    """What ``export`` wrote and how it was checked.

    ``digest`` is over all exported weights; ``base_digest`` over the base's, where the export
    holds a whole model or adapts one. ``answers`` are those of a whole model; ``checks`` say them
    in words. ``commands`` are those that serve it. ``held`` is what an adapter was measured to do.
    """

    kind: str
    path: Path
    base_digest: str | None
    digest: str
    touched: tuple[str, ...]
    checks: tuple[str, ...]
    notes: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    commands: tuple[str, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should look at, in words."""
        wrong = sum(not answer.right for answer in self.answers)
        if not wrong:
            return ()
        return (
            f"the export answers {wrong} of {len(self.answers)} prompts wrong; it was kept "
            "(`editvc eval` asks the revision for all facts)",
        )

    def to_json(self) -> dict[str, Any]:
        """The contract of ``export --json``."""
        return {
            "format": self.kind,
            "path": str(self.path),
            "base_digest": self.base_digest,
            "digest": self.digest,
            "touched": list(self.touched),
            "checks": list(self.checks),
            "answers": [answer.to_json() for answer in self.answers],
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "commands": list(self.commands),
            "held": [one.to_json() for one in self.held],
        }


def served_name(tree: Tree) -> str:
    """What a server should call an export: by the id of its tree, a name that no other tree has.

    Weights that are loaded anew under a name in use go unnoticed by some servers.
    """
    return f"edits-{short(object_id(encode(tree)))}"


def origin_of(tree: Tree, commit: ObjectId | None = None) -> dict[str, str]:
    """The record that goes into the header of weights: the tree, and the ``commit`` of a published
    one.

    What is exported has none: equal sets are equal files, whatever the history.
    """
    named = {"commit": commit} if commit is not None else {}
    return {"kind": "weights", "tree": object_id(encode(tree)), **named}


def rank_notes(tree: Tree) -> tuple[str, ...]:
    """What a user of the factors should know of their rank."""
    restraint = tree.restraint
    if restraint is None or not (restraint.chooses_entries or restraint.draws):
        return ()
    return (
        "the restraint keeps single entries, so the factors have full rank "
        "and are larger than the weights themselves",
    )

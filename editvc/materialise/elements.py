"""The elements of the set, read from their objects: each with the recipe that it was made with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from editvc.algebra.codebook import Codebook
from editvc.algebra.codebook_entry import CodebookEntry
from editvc.algebra.gated_edit import GatedEdit
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.core.facts import Fact
from editvc.core.history import Entry, Tree
from editvc.core.ids import ObjectId, digest_of
from editvc.core.methods.gated import GatedRecipe
from editvc.core.methods.grace import GraceRecipe
from editvc.core.methods.locate import LocatedRecipe
from editvc.vcs.codec import ObjectUnreadable, metadata
from editvc.vcs.repository import Repository

Element = Located | Patch | CodebookEntry | GatedEdit

READERS: Mapping[str, Callable[[bytes], Element]] = {
    "located": Located.from_bytes,
    "patch": Patch.from_bytes,
    "codebook": CodebookEntry.from_bytes,
    "gate": GatedEdit.from_bytes,
}
"""How the bytes of each kind of element are read."""


class LiveGate(NamedTuple):
    """A gated edit at work: that of its fact, or one that ``shared`` facts of a subject have."""

    entry: Entry
    recipe: GatedRecipe
    edit: GatedEdit
    shared: int


def request_digest(base: ObjectId, recipe: ObjectId, fact: Fact) -> str:
    """What an element answers: this request, on this base, with this recipe."""
    return digest_of([base, recipe, *fact.request.parts])


def group_digest(requests: Iterable[str]) -> str:
    """What an element answers that is made for several requests together, by their digests."""
    return digest_of(["together", *sorted(requests)])


class Elements:
    """What was made of the facts of one repository, each element read once."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._elements: dict[ObjectId, tuple[ObjectId, Element]] = {}

    def element(self, identifier: ObjectId) -> tuple[ObjectId, Element]:
        """What was made of a fact, and the id of the recipe that it was made with."""
        if identifier not in self._elements:
            data = self.repository.store.get(identifier)
            record = metadata(data)
            read = READERS.get(record["kind"])
            if read is None:
                raise ObjectUnreadable(identifier, f"is a '{record['kind']}', and no edit")
            self._elements[identifier] = (ObjectId(record["recipe"]), read(data))
        return self._elements[identifier]

    def located(self, entries: Iterable[Entry]) -> list[Located]:
        """Those of the entries that are located edits, in the order given."""
        elements = (self.element(entry.element)[1] for entry in entries)
        return [one for one in elements if isinstance(one, Located)]

    def by_recipe(self, entries: Iterable[Entry]) -> list[tuple[LocatedRecipe, list[Entry]]]:
        """The located edits among entries by their recipe, in the order of the recipes' ids."""
        grouped: dict[ObjectId, list[Entry]] = {}
        for entry in entries:
            recipe, element = self.element(entry.element)
            if isinstance(element, Located):
                grouped.setdefault(recipe, []).append(entry)
        groups = [(self.repository.read_recipe(key), grouped[key]) for key in sorted(grouped)]
        return [(recipe, group) for recipe, group in groups if isinstance(recipe, LocatedRecipe)]

    def patches(self, entries: Iterable[Entry]) -> list[Patch]:
        """Those of the entries that are patches, in the order given."""
        elements = (self.element(entry.element)[1] for entry in entries)
        return [one for one in elements if isinstance(one, Patch)]

    def gated(self, tree: Tree) -> list[LiveGate]:
        """The live edits of a tree that are gated, in slot order, each with its recipe."""
        entries = self.repository.edits_of(tree).entries()
        elements = ((entry, *self.element(entry.element)) for entry in entries)
        gated = [(entry, key, one) for entry, key, one in elements if isinstance(one, GatedEdit)]
        recipes = {key: self.repository.read_recipe(key) for key in {key for _, key, _ in gated}}
        groups = self._groups(tree, [entry for entry, _, _ in gated])
        return [
            LiveGate(entry, recipe, *groups.get(entry, (one, 1)))
            for entry, key, one in gated
            if isinstance(recipe := recipes[key], GatedRecipe)  # no other makes gated edits
        ]

    def request(self, identifier: ObjectId) -> str | None:
        """The digest of the request that an element answers; None of one that is not made again."""
        found: str | None = metadata(self.repository.store.get(identifier)).get("request")
        return found

    def members(self, group: ObjectId) -> frozenset[str]:
        """The digests of the requests that an element was made for together."""
        return frozenset(metadata(self.repository.store.get(group))["members"])

    def _groups(self, tree: Tree, gated: Sequence[Entry]) -> dict[Entry, tuple[GatedEdit, int]]:
        """What takes the place of gated edits, by the entries whose facts it was made for.

        One of which a fact is not live takes the place of nothing.
        """
        if not tree.groups:
            return {}
        live = {request: one for one in gated if (request := self.request(one.element)) is not None}
        found: dict[Entry, tuple[GatedEdit, int]] = {}
        for group in tree.groups:
            members, (_, edit) = self.members(group), self.element(group)
            if isinstance(edit, GatedEdit) and members <= live.keys():
                found |= {live[request]: (edit, len(members)) for request in members}
        return found

    def in_codebooks(self, tree: Tree) -> dict[Entry, CodebookEntry]:
        """The live edits of a tree that are codebook entries, in slot order."""
        entries = self.repository.edits_of(tree).entries()
        elements = {entry: self.element(entry.element)[1] for entry in entries}
        return {entry: one for entry, one in elements.items() if isinstance(one, CodebookEntry)}

    def anchored(self, entry: Entry) -> bool:
        """Whether an element was made on other weights than the base's: ``commit --sequential``."""
        return "anchor" in metadata(self.repository.store.get(entry.element))

    def codebooks(self, entries: Mapping[Entry, CodebookEntry]) -> list[Codebook]:
        """The codebooks of edits of one tree, one a layer, lowest first.

        They answer beside the weights: the delta of a tree knows nothing of them.
        """
        recipe_ids = {entry: self.element(entry.element)[0] for entry in entries}
        recipes = {key: self.repository.read_recipe(key) for key in set(recipe_ids.values())}
        layers: dict[int, dict[str, CodebookEntry]] = {}
        eps: dict[str, float] = {}
        for entry, element in entries.items():
            recipe = recipes[recipe_ids[entry]]
            assert isinstance(recipe, GraceRecipe), "no other recipe makes codebook entries"
            layers.setdefault(element.layer, {})[entry.slot] = element
            eps[entry.slot] = recipe.eps
        return [Codebook.of(layers[layer], eps) for layer in sorted(layers)]

"""A blind sequence at work: batches of edits, each made on the weights as they are by then.

The weights are W_0 with the sum D of what a fusion rule made of every update, kept in float64 and
rounded once (:func:`editvc.models.weights.edited`), so that what was kept goes on to equal bits.
Codebook entries stand beside the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from editvc.algebra.codebook import Codebook
from editvc.algebra.codebook_entry import CodebookEntry
from editvc.algebra.delta import Delta
from editvc.algebra.factored import Factored
from editvc.algebra.fusion import Fusion, Kept
from editvc.algebra.patch import Patch
from editvc.algebra.tensor_file import pack_tensors, unpack_tensors
from editvc.algebra.update_norms import WeightNorms, cosines
from editvc.core.facts import Fact
from editvc.core.ids import SlotId
from editvc.core.methods.grace import GraceRecipe
from editvc.core.methods.recipe import Recipe
from editvc.core.progress import Progress
from editvc.errors import DamageError
from editvc.materialise.make_elements import make_in_sequence
from editvc.materialise.materialiser import Materialiser
from editvc.models.codebook_hooks import answering
from editvc.models.language_model import LanguageModel
from editvc.models.offload import read_weight
from editvc.models.weights import edited

Key = int | str
"""A layer, for its down projection (u, v), or the name of another parameter, a vector as (n, 1)."""


_State = tuple[
    dict[Key, Tensor], dict[Key, Kept], dict[SlotId, CodebookEntry], list[dict[int, Factored]], int
]
"""What a batch changes, each value replaced and never written into."""


class Broken(Exception):
    """An update that holds what is no number: the model is beyond editing."""


class BlindSequence:
    """The state after so many batches, on a loaded model that is unedited between calls.

    ``steps`` counts the batches. Cosines are taken between the first ``compared`` updates of down
    projections, as in AdaPLE's figure 3.
    """

    def __init__(
        self,
        materialiser: Materialiser,
        lm: LanguageModel,
        recipe: Recipe,
        fusion: Fusion,
        compared: int,
    ) -> None:
        self.materialiser, self.lm, self.recipe, self.fusion = materialiser, lm, recipe, fusion
        self.compared, self.steps = compared, 0
        self._shown: dict[Key, Tensor] = {}  # by the rule, of what is kept
        self._kept: dict[Key, Kept] = {}
        self._entries: dict[SlotId, CodebookEntry] = {}
        self._first: list[dict[int, Factored]] = []  # the first updates, before fusion
        self._before = self._state()

    # -- going on -----------------------------------------------------------------------------

    def advance(self, facts: Sequence[Fact], progress: Progress | None = None) -> None:
        """Edit one batch in.

        Raises :class:`Broken` where the update is not finite, and what the method's maker raises;
        nothing is changed then.
        """
        requests = [fact.request for fact in facts]
        with self._at_work({key: self.fusion.before(k["total"]) for key, k in self._kept.items()}):
            made = make_in_sequence(self.materialiser, self.lm, requests, self.recipe, progress)
        patches = [one for one in made if isinstance(one, Patch)]
        entries = {
            fact.slot: one
            for fact, one in zip(facts, made, strict=True)
            if isinstance(one, CodebookEntry)
        }
        assert len(patches) + len(entries) == len(made), "neurons of their own are no sequence"
        total = Delta.sum([patch.delta for patch in patches])
        before = self._state()
        kept: dict[Key, Kept] = {}
        for layer, part in total.layers.items():
            kept[layer] = self._joined(layer, part)
        for name, part in total.weights.items():
            kept[name] = self._joined(name, part)
        self._have(kept)
        self._entries = self._entries | entries
        self.steps += 1
        if self.steps <= self.compared:
            self._first = [*self._first, dict(total.layers)]
        self._before = before

    def withdraw(self) -> None:
        """Take the last batch out again, as if it had not been edited in."""
        self._shown, self._kept, self._entries, self._first, self.steps = self._before

    def _state(self) -> _State:
        return self._shown, self._kept, self._entries, self._first, self.steps

    def _joined(self, key: Key, part: Factored) -> Kept:
        dense = part.dense()
        if not bool(torch.isfinite(dense).all()):
            raise Broken
        kept = self._kept.get(key, {"total": torch.zeros_like(dense)})
        step = self.steps + 1
        return self.fusion.joined(
            kept, self.fusion.update(dense, self._weight(key), str(key), step), step
        )

    @contextmanager
    def at_work(self) -> Iterator[LanguageModel]:
        """The model with what was edited into it so far; then as it was."""
        with self._at_work(self._shown):
            yield self.lm

    @contextmanager
    def _at_work(self, changes: Mapping[Key, Tensor]) -> Iterator[None]:
        parts = {key: Factored.of_dense(change) for key, change in changes.items()}
        delta = Delta(
            {key: part for key, part in parts.items() if isinstance(key, int)},
            {key: part for key, part in parts.items() if isinstance(key, str)},
        )
        with (
            edited(self.lm, delta, self.materialiser.dtype),
            answering(self.lm, self._codebooks()),
        ):
            yield

    def _codebooks(self) -> list[Codebook]:
        if not self._entries:
            return []
        assert isinstance(self.recipe, GraceRecipe), "no other recipe makes codebook entries"
        layers: dict[int, dict[str, CodebookEntry]] = {}
        for slot, entry in self._entries.items():
            layers.setdefault(entry.layer, {})[slot] = entry
        eps: dict[str, float] = {slot: self.recipe.eps for slot in self._entries}
        return [Codebook.of(layers[layer], eps) for layer in sorted(layers)]

    def _have(self, kept: Mapping[Key, Kept]) -> None:
        self._kept = {**self._kept, **kept}
        self._shown = self._shown | {
            key: self.fusion.shown(each["total"], self._weight(key)) for key, each in kept.items()
        }

    def _weight(self, key: Key) -> Tensor:
        """W_0 of a key, float64 on the CPU."""
        name = self.lm.architecture.weight_name(key) if isinstance(key, int) else key
        inside, _, last = name.rpartition(".")
        weight = read_weight(self.lm.model.get_submodule(inside), last).cpu().double()
        if isinstance(key, int) and self.lm.architecture.transposed:
            return weight.T.contiguous()
        return weight.reshape(len(weight), -1)

    # -- what is told of the weights ------------------------------------------------------------

    def sizes(self) -> dict[str, dict[str, float]]:
        """Of every changed weight ``l1_norm`` of W' and ``change`` = ||D||_F: quick to take."""
        return {
            str(key): {
                "l1_norm": float((self._weight(key) + change).abs().sum()),
                "change": float(torch.linalg.vector_norm(change)),
            }
            for key, change in self._shown.items()
        }

    def norms(self) -> dict[str, dict[str, float]]:
        """Of every changed weight all of :class:`editvc.algebra.update_norms.WeightNorms`."""
        return {
            str(key): WeightNorms.of(self._weight(key), change).to_json()
            for key, change in self._shown.items()
        }

    def norms_before(self) -> dict[str, dict[str, float]]:
        """The same, of the same weights, before any edit."""
        return {
            str(key): WeightNorms.of(self._weight(key), torch.zeros_like(change)).to_json()
            for key, change in self._shown.items()
        }

    def cosines(self) -> dict[str, list[list[float]]]:
        """Of every weight, cosines between the first updates, as the rule has fused them."""
        found = {}
        for key in sorted({key for update in self._first for key in update}):
            weight = self._weight(key)
            fused = [
                self.fusion.update(update[key].dense(), weight, str(key), step)
                for step, update in enumerate(self._first, 1)
                if key in update
            ]
            found[str(key)] = cosines(fused)
        return found

    # -- stopping and going on ------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """All of the state; the number of steps and the order of facts are the caller's."""
        tensors = {
            f"kept|{_written(key)}|{part}": tensor.clone()  # two may be one
            for key, kept in self._kept.items()
            for part, tensor in kept.items()
        }
        for slot, entry in self._entries.items():
            tensors[f"entry|{slot}"] = torch.frombuffer(
                bytearray(entry.to_bytes()), dtype=torch.uint8
            )
        for step, update in enumerate(self._first):
            for key, part in update.items():
                tensors[f"first|{step}|{key}|left"] = part.left.clone()
                tensors[f"first|{step}|{key}|right"] = part.right.clone()
        return pack_tensors(tensors)

    def restore(self, data: bytes, steps: int) -> None:
        """Go on from what :meth:`to_bytes` gave after ``steps`` batches. Raises ``DamageError``."""
        tensors = unpack_tensors(data, DamageError)
        kept: dict[Key, dict[str, Tensor]] = {}
        first: dict[int, dict[int, dict[str, Tensor]]] = {}
        for name, tensor in tensors.items():
            match name.split("|"):
                case ["kept", key, part]:
                    kept.setdefault(_read(key), {})[part] = tensor.clone()
                case ["entry", slot]:
                    self._entries[SlotId(slot)] = CodebookEntry.from_bytes(tensor.numpy().tobytes())
                case [_, step, layer, side]:
                    update = first.setdefault(int(step), {})
                    update.setdefault(int(layer), {})[side] = tensor.clone()
        self.steps = steps
        self._have(kept)
        self._first = [
            {layer: Factored(**sides) for layer, sides in first.get(step, {}).items()}
            for step in range(min(steps, self.compared))
        ]


def _written(key: Key) -> str:
    return f"layer.{key}" if isinstance(key, int) else f"weight.{key}"


def _read(text: str) -> Key:
    kind, _, rest = text.partition(".")
    return int(rest) if kind == "layer" else rest

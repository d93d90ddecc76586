"""The difference of two checkpoints of one model as a delta: ``W' - W``, tensor by tensor.

A matrix becomes two factors, the best ones of their rank (Eckart-Young), with the relative error
said; a vector is kept as it is. One tensor of each checkpoint is in memory at a time.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editvc.algebra.factored import Factored, rank_for
from editvc.core.progress import Progress
from editvc.interchange.base_weights import BaseWeights, Imported, ImportRefused
from editvc.models.architectures import Architecture
from editvc.models.checkpoint import Checkpoint, TensorNotFound, weights_digest

ENERGY = 0.999
"""Share of a matrix's squared change that is kept unless the user says otherwise."""

BESIDE = ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
"""Settings that make no difference to what a model says."""

SAME_MODEL = "Only a checkpoint of the base's own architecture has a difference to it."


def difference(
    folder: Path,
    base: Path,
    architecture: Architecture,
    *,
    rank: int | None = None,
    energy: float | None = None,
    progress: Progress | None = None,
) -> Imported:
    """The change that turns the model in ``base`` into the one in ``folder``.

    ``rank`` and ``energy`` cut as :meth:`Factored.compress` does, by default to an energy of
    :data:`ENERGY`; an energy of 1 keeps all. Raises :class:`ImportRefused`, naming the tensor,
    where the two differ in more than the values of their parameters.
    """
    if rank is None and energy is None:
        energy = ENERGY
    base_weights, other = BaseWeights(base, architecture), Checkpoint(folder)
    notes = _compared_configs(folder, base)
    _require_known(folder, base_weights, other)
    parts: dict[str, Factored] = {}
    errors: dict[str, float] = {}
    lost, whole = [0.0], [0.0]
    for done, parameter in enumerate(base_weights.names, 1):
        change = _change(folder, base_weights, other, parameter)
        if change is not None:
            part, missing = _factored(change, rank, energy)
            parts[parameter] = part
            norm = float(torch.linalg.vector_norm(change))
            errors[parameter] = missing / norm
            lost.append(missing)
            whole.append(norm)
        if progress is not None:
            progress("comparing", done, len(base_weights.names))
    total = math.hypot(*whole)
    return Imported(
        kind="difference",
        delta=base_weights.delta(parts),
        digest=weights_digest(other.digests()),
        errors=errors,
        error=math.hypot(*lost) / total if total else 0.0,
        notes=notes,
    )


def _compared_configs(folder: Path, base: Path) -> tuple[str, ...]:
    """Refuse another architecture; name settings that differ, which no weight can carry."""
    ours, theirs = _config(base), _config(folder)
    if ours.get("model_type") != theirs.get("model_type"):
        raise ImportRefused(
            folder,
            f"it is a '{theirs.get('model_type')}', the base a '{ours.get('model_type')}'",
            hint=SAME_MODEL,
        )
    differ = [
        key
        for key in sorted(ours.keys() | theirs.keys())
        if key not in BESIDE and ours.get(key) != theirs.get(key)
    ]
    return (f"not imported, config.json differs in {', '.join(differ)}",) if differ else ()


def _config(folder: Path) -> dict[str, Any]:
    """The settings with those that are left out, as the installed transformers understands them."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ImportRefused(folder, f"config.json cannot be read: {error}") from error
    settings: dict[str, Any] = config.to_dict()
    return settings


def _require_known(folder: Path, base_weights: BaseWeights, other: Checkpoint) -> None:
    """Every tensor of the other checkpoint is a parameter, a tied copy of one, or the base's."""
    used: set[str] = set()
    for parameter in base_weights.names:
        try:
            used.update(base_weights.stored_in(other, parameter))
        except TensorNotFound as error:
            raise ImportRefused(
                folder, f"it has no tensor {parameter!r}, which the base has", hint=SAME_MODEL
            ) from error
    own = base_weights.checkpoint
    strange = [
        name
        for name in other.tensors
        if name not in used and not (name in own.tensors and own.digest(name) == other.digest(name))
    ]
    if strange:
        raise ImportRefused(
            folder,
            f"the base has no tensor {', '.join(map(repr, sorted(strange)))}",
            hint=SAME_MODEL,
        )


def _change(
    folder: Path,
    base_weights: BaseWeights,
    other: Checkpoint,
    parameter: str,
) -> Tensor | None:
    """``W' - W`` in float64, of one or two dimensions; None where there is none."""
    here, there = base_weights.stored(parameter), base_weights.stored_in(other, parameter)
    digests = {other.digest(name) for name in there}
    if len(digests) > 1:
        raise ImportRefused(
            folder,
            f"{' and '.join(there)} are one weight in the base, and differ here",
            hint="A head that was untied from its embedding has no place in the base.",
        )
    old, new = base_weights.checkpoint.info(here[0]), other.info(there[0])
    if old.shape != new.shape:
        raise ImportRefused(
            folder,
            f"{parameter} has shape {list(new.shape)}, in the base {list(old.shape)}",
            hint=SAME_MODEL,
        )
    if digests == {base_weights.checkpoint.digest(here[0])}:
        return None
    weights = (base_weights.checkpoint.read(here[0]), other.read(there[0]))
    if not all(weight.is_floating_point() for weight in weights) or len(old.shape) > 2:
        raise ImportRefused(
            folder,
            f"{parameter} differs, stored as {new.dtype} {list(new.shape)}, in the base "
            f"{old.dtype}: only vectors and matrices of floating numbers can be subtracted",
        )
    change = weights[1].double() - weights[0].double()
    if not bool(torch.isfinite(change).all()):
        raise ImportRefused(folder, f"{parameter} is not finite")
    if not bool(change.any()):
        return None
    if len(here) > 1:
        raise ImportRefused(
            folder,
            f"{' and '.join(here)} are one weight, of which the base stores two copies",
            hint="Save the base again with transformers' save_pretrained; it writes one.",
        )
    return change


def _factored(change: Tensor, rank: int | None, energy: float | None) -> tuple[Factored, float]:
    """A change as factors, and the Frobenius norm of what they leave out.

    From the eigenvectors of the smaller Gram matrix, many times faster than an SVD; what is left
    out is measured, not derived.
    """
    if change.ndim < 2:
        return exact(change.reshape(-1)), 0.0
    if rank is None and energy == 1:
        return Factored.of_dense(change), 0.0
    wide = change.shape[0] <= change.shape[1]
    matrix = change if wide else change.T
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    values = squares.flip(0).clamp(min=0).sqrt()
    left = vectors.flip(1)[:, : rank_for(values, rank=rank, energy=energy)].contiguous()
    right = left.T @ matrix
    part = Factored(left, right)
    lost = float(torch.linalg.vector_norm(matrix - part.dense()))
    return part if wide else part.transposed(), lost


def exact(vector: Tensor) -> Factored:
    """A (n,) vector as (n, 1), in one or two float32 columns: a patch is stored in float32."""
    first = vector.to(torch.float32).double()
    rest = (vector - first).to(torch.float32).double()
    columns = [first, rest] if bool(rest.any()) else [first]
    ones = torch.ones(len(columns), 1, dtype=torch.float64)
    return Factored(torch.stack(columns, dim=1), ones)

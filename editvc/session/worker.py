"""What a worker process does: it loads the base once, and does work on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch

from editvc.core.base import BaseModel, Identity
from editvc.core.compute import Compute
from editvc.errors import EditvcError
from editvc.models.fingerprint import identify, require_identical
from editvc.models.language_model import LanguageModel
from editvc.models.loading import devices_for, load, place_for
from editvc.models.source import ModelFiles, ModelNotFoundError, open_model
from editvc.version import __version__


class OtherVersion(EditvcError):
    """A worker with another version of editvc: what it made might be something else."""

    def __init__(self, driver: str, worker: str) -> None:
        super().__init__(
            f"this is editvc {driver}, and a worker has {worker}",
            hint="Install one version on all machines of the engine.",
        )


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """The base that workers are to load, what it must be, and how they are to compute.

    ``threads`` are the driver's: how numbers round depends on them.
    """

    base: BaseModel
    identity: Identity
    compute: Compute
    threads: int
    version: str = __version__

    def open(self) -> ModelFiles:
        """The base's files on this machine. Raises ``ModelNotFoundError``, ``OtherVersion``."""
        if self.version != __version__:
            raise OtherVersion(self.version, __version__)
        source = self.base.source
        try:
            return open_model(source, self.base.revision, block=self.base.architecture)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(
                source,
                f"{error.problem} on a machine of the engine",
                hint="Workers read the base by the name that the repository has for it: put it on "
                "a folder that all machines share, or take a Hub id (`editvc base ID`).",
            ) from error


def do(model: WorkerModel, shared: Sequence[Any], item: Any) -> Any:
    """Some work on one item; the only one of ``shared`` is Ray's reference to that work."""
    (reference,) = shared
    return _work(reference)(_loaded(model), item, None)


def devices_needed(model: WorkerModel) -> int:
    """How many devices like the one that this process has the base needs."""
    files = model.open()
    return devices_for(files, place_for(files, model.compute))


@lru_cache(maxsize=1)
def _loaded(model: WorkerModel) -> LanguageModel:
    torch.set_num_threads(model.threads)
    files = model.open()
    require_identical(model.identity, identify(files), files.source)
    return load(files, model.compute)


@lru_cache(maxsize=2)
def _work(reference: Any) -> Any:
    """What a reference stands for: with the statistics in it, it may have gigabytes."""
    return import_module("ray").get(reference)

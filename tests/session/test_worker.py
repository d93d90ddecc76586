"""A worker loads the base that it was told of, and no other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_ray import PlainRay, plain_ray

from editvc import Repo
from editvc.core.compute import Compute
from editvc.models.fingerprint import BaseMismatchError, identify
from editvc.models.source import ModelNotFoundError
from editvc.session import worker
from editvc.session.worker import OtherVersion, WorkerModel, devices_needed, do

__all__ = ["plain_ray"]


@pytest.fixture
def model(repo: Repo) -> WorkerModel:
    worker._loaded.cache_clear()
    base = repo.session.repository.read_base()
    identity = identify(repo.session.files)
    return WorkerModel(base, identity, Compute("cpu", "float32"), torch.get_num_threads())


def names(lm, item, progress):
    assert progress is None
    return item, id(lm.model), len(lm.tokenizer)


def test_the_base_is_loaded_once_and_the_work_is_read_once(
    model: WorkerModel, plain_ray: PlainRay
) -> None:
    work = plain_ray.put(names)
    one, other = do(model, [work], "a"), do(model, [work], "b")
    assert one[0] == "a" and other[0] == "b"
    assert one[1:] == other[1:]
    assert worker._loaded.cache_info().misses == 1


def test_another_model_in_its_place_is_refused(model: WorkerModel, plain_ray: PlainRay) -> None:
    name, digest = model.identity.tensors[0]
    tensors = ((name, digest[::-1]), *model.identity.tensors[1:])
    wrong = replace(model, identity=replace(model.identity, tensors=tensors))
    with pytest.raises(BaseMismatchError, match=name):
        do(wrong, [plain_ray.put(names)], "a")


def test_a_folder_that_a_machine_lacks_is_named(model: WorkerModel) -> None:
    elsewhere = replace(model, base=replace(model.base, source="/nowhere/at/all"))
    with pytest.raises(ModelNotFoundError, match="on a machine of the engine") as caught:
        devices_needed(elsewhere)
    assert "folder that all machines share" in caught.value.hint


def test_another_version_is_refused(model: WorkerModel, plain_ray: PlainRay) -> None:
    with pytest.raises(OtherVersion, match=r"a worker has"):
        do(replace(model, version="0.0"), [plain_ray.put(names)], "a")


def test_a_processor_is_never_too_small(model: WorkerModel) -> None:
    assert devices_needed(model) == 1

"""Work shared out over a Ray engine: one that runs already, or a local one of this process.

A task is some work on one item (:mod:`editvc.models.workers`). Ray starts it where there is room,
and again where its worker was lost. A worker process loads the base once, after it has made sure
that it is the very one, and computes with as many threads as the driver: what it makes is then
the same to the bit.
"""

from __future__ import annotations

import logging
import os
import socket
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import torch

from editvc.core.compute import Compute
from editvc.errors import EditvcError
from editvc.models.fingerprint import identify
from editvc.models.source import ModelFiles
from editvc.models.workers import Item, Result, Work
from editvc.session.worker import WorkerModel, devices_needed, do
from editvc.vcs.repository import Repository

RETRIES = 3
"""How often a task is begun again whose worker was lost: one that kills its worker each time ends.
"""

AHEAD = 2
"""Tasks that are handed out for each that runs: a worker that ends one has its next at once."""

REACHED = 10.0
"""Seconds within which an engine has to take a connection."""

_USAGE = "RAY_USAGE_STATS_ENABLED"


class MissingRay(EditvcError):
    """Work is to be shared out, and Ray is not installed."""

    def __init__(self) -> None:
        super().__init__("--workers needs ray", hint="pip install 'editvc[ray]'")


class EngineError(EditvcError):
    """An engine that is none, cannot be reached, or cannot do what it is asked for."""


class WorkerLost(EditvcError):
    """A task that lost its worker each time that it was begun."""

    def __init__(self, cause: Exception) -> None:
        reason = next(iter(str(cause).splitlines()), "") or type(cause).__name__
        super().__init__(
            f"a task lost its worker {RETRIES + 1} times, or its result was lost: {reason}",
            hint="Most often that is for want of memory: fewer workers to a machine, or larger "
            "ones. The same command goes on from what was made.",
        )


class RayWorkers:
    """Workers of an engine that this process is connected to (:class:`Workers`).

    ``ray`` is the module; ``amounts`` are what a task takes of an engine: ``num_cpus`` and
    ``num_gpus``.
    """

    def __init__(self, ray: Any, model: WorkerModel, amounts: Mapping[str, float]) -> None:
        self._ray = ray
        self._model = ray.put(model)
        self._amounts = amounts
        self._task = ray.remote(do).options(max_retries=RETRIES, **amounts)

    def submit(self, work: Work[Item, Result], item: Item) -> Callable[[], Result]:
        """Begin some work."""
        reference = self._task.remote(self._model, [self._ray.put(work)], item)
        return partial(self._result, reference)

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results of all items, in their order. What was begun is stopped where nobody goes on
        to take them.
        """
        shared = [self._ray.put(work)]  # in a list Ray leaves it to the worker, who reads it once
        begun: deque[Any] = deque()
        try:
            for item in items:
                begun.append(self._task.remote(self._model, shared, item))
                if len(begun) >= AHEAD * self._room():
                    yield self._result(begun[0])
                    begun.popleft()
            while begun:
                yield self._result(begun[0])
                begun.popleft()
        finally:
            for reference in begun:
                self._ray.cancel(reference, force=True)

    def _room(self) -> int:
        """How many tasks run at once, on the machines that there are now."""
        there = self._ray.cluster_resources()
        kinds = {"CPU": self._amounts["num_cpus"], "GPU": self._amounts["num_gpus"]}
        return max(1, min(int(there.get(kind, 0) / each) for kind, each in kinds.items() if each))

    def _result(self, reference: Any) -> Any:
        return _result(self._ray, reference)


def _result(ray: Any, reference: Any) -> Any:
    """What a task returned, or raised."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise WorkerLost(error) from error


def start(
    engine: str,
    repository: Repository,
    files: ModelFiles,
    compute: Compute,
    remark: Callable[[str], None],
) -> RayWorkers:
    """Workers of ``engine``: ``HOST:PORT`` of one that runs, or how many a local one shall have.

    A process has one engine: where it is connected to one already, by whoever, that is used. A
    local engine ends with its workers. ``remark`` hears where they crowd this machine. Raises
    :class:`MissingRay` and :class:`EngineError`.
    """
    if ":" in compute.device:
        raise EngineError(
            f"--device {compute.device} names one device, and an engine gives workers theirs",
            hint="Take --device cuda, or leave it out.",
        )
    count, threads = _count(engine), torch.get_num_threads()
    try:
        ray = import_module("ray")
    except ModuleNotFoundError as error:
        raise MissingRay from error
    ours = not ray.is_initialized()
    if ours and count is not None:
        _start_local(ray, count, threads, remark)
    elif ours:
        _connect(ray, engine)
    base = repository.read_base()
    model = WorkerModel(base, identify(files, repository.cache), compute, threads)
    workers = RayWorkers(ray, model, _amounts(ray, model))
    if ours:
        weakref.finalize(workers, ray.shutdown)
    return workers


def _count(engine: str) -> int | None:
    """How many workers a local engine is to have; None for an address."""
    if engine.isdecimal() and int(engine) > 0:
        return int(engine)
    host, _, port = engine.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise EngineError(
            f"{engine!r} is no number of workers and no address of an engine",
            hint="Write --workers 4 for four on this machine, or HOST:PORT as `ray start --head` "
            "prints it, on a machine of that engine.",
        )
    return None


def _start_local(ray: Any, count: int, threads: int, remark: Callable[[str], None]) -> None:
    cores = os.cpu_count() or 1
    if count * threads > cores:
        remark(
            f"{count} workers of {threads} threads each share {cores} cores: set OMP_NUM_THREADS="
            f"{max(1, cores // count)} to give each its own (threads decide how numbers round)"
        )
    with _unwatched():
        try:
            ray.init(
                num_cpus=count * threads, include_dashboard=False, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except Exception as error:  # Ray has a class of its own for hardly any of these
            raise EngineError(
                f"Ray cannot start {count} workers here: {_first_line(error)}",
                hint="Its logs are in /tmp/ray/session_latest/logs.",
            ) from error


@contextmanager
def _unwatched() -> Iterator[None]:
    """An engine that we start reports nothing to Ray's makers, unless the user has asked for it."""
    if _USAGE in os.environ:
        yield
        return
    os.environ[_USAGE] = "0"
    try:
        yield
    finally:
        os.environ.pop(_USAGE, None)


def _connect(ray: Any, address: str) -> None:
    """Ray itself would try for minutes where nobody listens."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # as above
        raise EngineError(
            f"no engine can be reached at {address}: {_first_line(error)}",
            hint="`ray status` on its head says whether it runs. This machine must be one of it "
            "(`ray start --address`), with the same Python, Ray and editvc.",
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _amounts(ray: Any, model: WorkerModel) -> dict[str, float]:
    """What a task takes of the engine: no more than one of its machines has, or it would wait.

    A GPU where there are any and none was asked not to be used, and several where the base is
    too large for one: accelerate spreads it over those that the worker sees.
    """
    machines = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    most = {kind: max((one.get(kind, 0) for one in machines), default=0) for kind in ("CPU", "GPU")}
    amounts = {"num_cpus": min(model.threads, most["CPU"]), "num_gpus": 0}
    if model.compute.device in ("auto", "cuda") and most["GPU"] >= 1:
        one = ray.remote(devices_needed).options(num_gpus=1)
        amounts["num_gpus"] = min(_result(ray, one.remote(model)), int(most["GPU"]))
    return amounts

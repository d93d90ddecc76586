"""An engine without processes: what is sent is pickled, and done when its result is asked for.

It shows that work can travel, in milliseconds; real engines take seconds to start.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException) -> None:
        super().__init__("a traceback")
        self.cause = cause


@dataclass(frozen=True)
class Reference:
    number: int


class PlainRay:
    """As much of the module ``ray`` as editvc calls, over ``machines`` with what each has."""

    def __init__(self, machines: Sequence[Mapping[str, float]] = ({"CPU": 2},)) -> None:
        self.machines = machines
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.values: list[Callable[[], Any]] = []
        self.settings: dict[str, Any] | None = None
        self.options: list[Mapping[str, Any]] = []
        self.cancelled: list[Reference] = []
        self.lost: BaseException | None = None

    def is_initialized(self) -> bool:
        return self.settings is not None

    def init(self, **settings: Any) -> None:
        self.settings = settings

    def shutdown(self) -> None:
        self.settings = None

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": machine} for machine in self.machines]

    def cluster_resources(self) -> dict[str, float]:
        kinds = {kind for machine in self.machines for kind in machine}
        return {kind: sum(one.get(kind, 0) for one in self.machines) for kind in kinds}

    def put(self, value: Any) -> Reference:
        data = pickle.dumps(value)
        return self._kept(lambda: pickle.loads(data))

    def get(self, reference: Reference) -> Any:
        return self.values[reference.number]()

    def cancel(self, reference: Reference, *, force: bool) -> None:
        assert force
        self.cancelled.append(reference)

    def remote(self, function: Callable[..., Any]) -> Any:
        def begin(*args: Any) -> Reference:
            data = pickle.dumps(args)
            return self._kept(lambda: self._result(function, pickle.loads(data)))

        def with_options(**options: Any) -> Any:
            self.options.append(options)
            return SimpleNamespace(remote=begin)

        return SimpleNamespace(options=with_options)

    def _result(self, function: Callable[..., Any], args: Sequence[Any]) -> Any:
        if self.lost is not None:
            raise self.lost
        known = [self.get(one) if isinstance(one, Reference) else one for one in args]
        try:
            result = function(*known)
        except Exception as error:
            raise RayTaskError(pickle.loads(pickle.dumps(error))) from error
        return pickle.loads(pickle.dumps(result))

    def _kept(self, value: Callable[[], Any]) -> Reference:
        self.values.append(value)
        return Reference(len(self.values) - 1)


@pytest.fixture
def plain_ray(monkeypatch: pytest.MonkeyPatch) -> PlainRay:
    """Stands in the place of Ray."""
    engine = PlainRay()
    monkeypatch.setitem(sys.modules, "ray", engine)
    return engine

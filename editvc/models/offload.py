"""Models that accelerate spreads over devices: where a module runs, and weights kept elsewhere.

accelerate hangs a hook on a module that moves what it takes to where it runs and, where its weights
are kept on the processor or on disk, brings them before the module runs and takes them away after
it; in between they are on ``meta``, without values. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from editvc.errors import EditvcError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


class MissingWeights(EditvcError):
    """A weight without values, and nothing that would bring them. ``name`` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the weight '{name}' is on 'meta': it has no values, and none are kept elsewhere",
            hint="Load the model with from_pretrained, with or without a device_map.",
        )
        self.name = name


class OffloadedWeight(EditvcError):
    """A weight that a method searches over, and that is kept off the device."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name}' of an edited layer is offloaded, and this method searches over it",
            hint="Run on one device that holds the model (--device cpu), or edit with a method "
            "that searches for states, as memit does.",
        )


def execution_device(module: Module) -> torch.device:
    """Where a module runs: what its hook says, else where its weights are.

    Raises :class:`MissingWeights` for weights on ``meta`` that nothing brings.
    """
    import torch

    hook = _hook(module)
    if hook is not None and hook.execution_device is not None:
        return torch.device(hook.execution_device)
    name, weight = next(module.named_parameters())
    if weight.device.type == "meta":
        raise MissingWeights(name)
    return weight.device


def read_weight(module: Module, name: str) -> Tensor:
    """The values of one of a module's own weights, wherever they are kept. Not to be changed."""
    weight: Tensor = module.get_parameter(name)
    if weight.device.type != "meta":
        return weight.detach()
    hook = _hook(module)
    if hook is None or hook.weights_map is None:
        raise MissingWeights(name)
    kept: Tensor = hook.weights_map[name]
    return kept.detach()


def resident_weight(module: Module, name: str) -> Tensor:
    """One of a module's own weights, which is to be where the module runs.

    Raises :class:`OffloadedWeight`.
    """
    weight: Tensor = module.get_parameter(name)
    if weight.device.type == "meta":
        raise OffloadedWeight(name)
    return weight.detach()


@contextmanager
def replaced_weight(module: Module, name: str, value: Tensor) -> Iterator[None]:
    """A module that runs with ``value`` for one of its weights; with its own on the way out.

    A weight that is kept elsewhere is not written to, for it may be in the model's own files: what
    the hook brings is another one.
    """
    restore = replace_weight(module, name, value)
    try:
        yield
    finally:
        restore()


def replace_weight(module: Module, name: str, value: Tensor) -> Any:
    """:func:`replaced_weight` for good; what is returned undoes it when it is called."""
    import torch

    weight = module.get_parameter(name)
    if weight.device.type == "meta":
        hook = _hook(module)
        if hook is None or hook.weights_map is None:
            raise MissingWeights(name)
        kept = hook.weights_map
        hook.weights_map = _Instead(kept, name, value.to(weight.dtype).cpu())
        return lambda: setattr(hook, "weights_map", kept)
    before = weight.detach().clone()

    def write(values: Tensor) -> None:
        with torch.no_grad():
            weight.copy_(values)

    write(value)
    return lambda: write(before)


class _Instead(Mapping[str, "Tensor"]):
    """Weights as they are kept, but for one."""

    def __init__(self, kept: Mapping[str, Tensor], name: str, value: Tensor) -> None:
        self._kept, self._name, self._value = kept, name, value

    def __getitem__(self, name: str) -> Tensor:
        return self._value if name == self._name else self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


def _hook(module: Module) -> Any:
    """The hook of accelerate that places a module, if it has one."""
    hook = getattr(module, "_hf_hook", None)
    for one in getattr(hook, "hooks", [hook]):
        if hasattr(one, "execution_device"):
            return one
    return None

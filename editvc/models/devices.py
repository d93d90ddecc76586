"""Where a model's weights are. Importing this module does not import torch."""

from __future__ import annotations

from typing import Any

from editvc.errors import EditvcError


class SpreadModelError(EditvcError):
    """A model whose weights are on several devices, or on none. ``devices`` names them, sorted."""

    def __init__(self, devices: tuple[str, ...]) -> None:
        super().__init__(
            f"the model's weights are on {', '.join(devices)}: editvc edits a model that is whole "
            "on one device ('meta' is what accelerate leaves of weights that it offloads)",
            hint='Load it in one place: device_map={"": "cpu"}, or no device_map.',
        )
        self.devices = devices


def device_of(model: Any) -> Any:
    """The device that all weights are on.

    Raises :class:`SpreadModelError` for a model that a ``device_map`` has spread or offloaded.
    """
    found = {parameter.device for parameter in model.parameters()}
    if len(found) != 1 or next(iter(found)).type == "meta":
        raise SpreadModelError(tuple(sorted(map(str, found))))
    return found.pop()

"""What a model is to be run on, and how precisely: ``[compute]``, ``--device`` and ``--dtype``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from editvc.core.settings import TEXT, setting
from editvc.errors import EditvcError

AUTO = "auto"

DTYPES = ("float32", "bfloat16", "float16")

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


class ComputeError(EditvcError):
    """A device or a dtype that is none. ``name`` is the setting, ``value`` what it was set to."""

    def __init__(self, name: str, value: str, choices: str) -> None:
        super().__init__(f"{name} {value!r} is none that editvc knows", hint=f"Write {choices}.")
        self.name = name
        self.value = value


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and a dtype by their names; ``auto`` leaves the choice to what there is.

    Neither is part of any id: a recipe means the same everywhere, and what one machine makes of it
    differs from what another does by rounding.
    """

    device: str = setting(TEXT, AUTO)
    dtype: str = setting(TEXT, AUTO)

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise ComputeError(
                "device", self.device, "auto, cpu, cuda, cuda:1 (the second of several) or mps"
            )
        if self.dtype not in (AUTO, *DTYPES):
            raise ComputeError("dtype", self.dtype, f"auto, {', '.join(DTYPES[:-1])} or float16")

    def over(self, device: str | None, dtype: str | None) -> Compute:
        """The same with what was said on the command line."""
        return Compute(device or self.device, dtype or self.dtype)

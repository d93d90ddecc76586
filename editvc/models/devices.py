"""Which device and dtype a model is run in: what was asked for, or the best that there is.

Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from editvc.core.compute import AUTO, Compute
from editvc.errors import EditvcError

if TYPE_CHECKING:
    import torch


class NoSuchDevice(EditvcError):
    """A device that this machine, or this build of torch, does not have. ``device`` names it."""

    def __init__(self, device: str, present: tuple[str, ...]) -> None:
        super().__init__(
            f"there is no device {device!r} here: torch sees {', '.join(present)}",
            hint="Take --device auto or one of those; config.toml has it as compute.device. A GPU "
            "that is not listed needs a build of torch for it.",
        )
        self.device = device
        self.present = present


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model goes, and in which dtype; ``named`` where it may go nowhere else."""

    device: torch.device
    dtype: torch.dtype
    named: bool


def placement(compute: Compute, stored: torch.dtype) -> Placement:
    """Where a model goes whose weights are ``stored`` in a dtype.

    ``auto`` takes an accelerator where there is one. As to dtypes it rounds no weight and asks for
    no arithmetic that a device only imitates: bfloat16 for files in bfloat16 where the device
    multiplies in it; float16 for files in float16 on an accelerator; else float32. Raises
    :class:`NoSuchDevice`.
    """
    import torch

    device, named = _device(compute.device), ":" in compute.device
    if compute.dtype != AUTO:
        return Placement(device, getattr(torch, compute.dtype), named)
    native = stored == torch.bfloat16 and multiplies_bfloat16(device)
    half = stored == torch.float16 and device.type != "cpu"
    return Placement(device, stored if native or half else torch.float32, named)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16, summed in float32.

    Of processors: AMX or AVX512-BF16, and a torch that uses them (it can be told not to).
    """
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    return any(getattr(torch.cpu, question, bool)() for question in _BFLOAT16)


_BFLOAT16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
"""What torch.cpu calls its questions; older builds lack one, and are taken to lack the thing."""


def computed_by() -> dict[str, Any]:
    """What the last bits of a solution hang on: torch, the instructions it uses, its threads."""
    import torch

    return {
        "torch": str(torch.__version__),
        "instructions": str(torch.backends.cpu.get_cpu_capability()),
        "threads": torch.get_num_threads(),
    }


def free_memory(device: torch.device) -> int:
    """Bytes that nobody has on a GPU."""
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def accelerator() -> torch.device | None:
    """The accelerator that ``auto`` takes: CUDA's, else Apple's, if there is any."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else None


def present() -> tuple[str, ...]:
    """The names of all devices that there are."""
    import torch

    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ("cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else []))


def _device(name: str) -> torch.device:
    import torch

    if name == AUTO:
        return accelerator() or torch.device("cpu")
    names = present()
    if name not in names and not (name == "cuda" and "cuda:0" in names):
        raise NoSuchDevice(name, names)
    return torch.device(name)

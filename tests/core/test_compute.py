"""Names of devices and dtypes: which are taken, and what is said of others."""

from __future__ import annotations

import pytest

from editvc.core.compute import Compute, ComputeError


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1", "cuda:12", "mps"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16"])
def test_these_are_taken(device, dtype):
    compute = Compute(device, dtype)
    assert (compute.device, compute.dtype) == (device, dtype)


@pytest.mark.parametrize(
    "device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cpu:0", "mps:0", "a cpu"]
)
def test_another_device_is_refused_by_its_name(device):
    with pytest.raises(ComputeError, match=f"device {device!r}") as caught:
        Compute(device)
    assert caught.value.name == "device"
    assert "cuda:1" in caught.value.hint


@pytest.mark.parametrize("dtype", ["", "fp16", "float64", "torch.float32", "int8"])
def test_another_dtype_is_refused_by_its_name(dtype):
    with pytest.raises(ComputeError, match=f"dtype {dtype!r}") as caught:
        Compute(dtype=dtype)
    assert "float32, bfloat16 or float16" in caught.value.hint


def test_what_is_said_goes_over_what_is_set():
    set_ = Compute("cuda", "float16")
    assert set_.over(None, None) == set_
    assert set_.over("cpu", None) == Compute("cpu", "float16")
    assert set_.over(None, "auto") == Compute("cuda", "auto")
    with pytest.raises(ComputeError):
        set_.over("cup", None)

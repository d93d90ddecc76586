"""Archives of arrays that promise more than they hold, or other things than numbers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from editvc.statistics.corpus import CorpusError
from editvc.statistics.text_moments import moments_from_npz

SUM, COUNT = np.eye(4, dtype=np.float32), np.array(8)


def archive(path: Path, total: np.ndarray | bytes, count: np.ndarray = COUNT) -> Path:
    """As ROME keeps them; ``total`` may be the bytes of an array."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in (("mom2.mom2", total), ("mom2.count", count)):
            file.writestr(f"{name}.npy", array if isinstance(array, bytes) else npy(array))
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_a_sound_one_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", SUM)
    moment = moments_from_npz({3: path})
    assert torch.equal(moment.matrix(3), torch.eye(4, dtype=torch.float64) / 8)


HUGE = npy(SUM).replace(b"(4, 4)", b"(400000, 400000)").replace(b" " * 10, b"", 1)


@pytest.mark.parametrize(
    ("total", "count"),
    [
        (np.ones((2, 3)), COUNT), (np.ones(4), COUNT), (np.full((2, 2), np.nan), COUNT),
        (SUM, np.array(0)), (SUM, np.array([1, 2])), (SUM, np.array("x")),
        (np.array([["a"]]), COUNT), (np.array([[{}]], dtype=object), COUNT), (HUGE, COUNT),
        (npy(SUM)[:-1], COUNT), (b"", COUNT), (npy(np.zeros((3000, 3000))), COUNT),
    ],
)  # fmt: skip
def test_others_are_refused(tmp_path: Path, total: np.ndarray | bytes, count: np.ndarray) -> None:
    """The last is a bomb: 72 MB of zeros in 70 KB."""
    with pytest.raises(CorpusError):
        moments_from_npz({3: archive(tmp_path / "a.npz", total, count)})

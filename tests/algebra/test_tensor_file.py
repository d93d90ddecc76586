"""The envelope of stored numbers: what goes in comes out, byte by byte, and nothing else does."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from editvc.algebra.codebook_entry import CodebookEntry
from editvc.algebra.delta import Delta, delta_from_bytes, delta_to_bytes
from editvc.algebra.factored import Factored
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.preconditioners import Projection, Whitening
from editvc.algebra.second_moment import SecondMoment
from editvc.algebra.tensor_file import (
    by_part,
    layer_tensor,
    pack,
    pack_tensors,
    unpack,
    unpack_tensors,
)
from editvc.editing.mend_editor import Editor, Matrix
from editvc.errors import DamageError

DTYPES = (torch.float16, torch.float32, torch.float64, torch.int64, torch.bool)


class SongDamageError(DamageError):
    pass


def damage(problem: str) -> SongDamageError:
    return SongDamageError(f"no song: {problem}")


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Tensor]:
    """Tensors of any dtype, shape and layout, empty ones too."""
    names = draw(st.lists(st.text(min_size=1).filter(lambda n: n != "__metadata__"), unique=True))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    drawn = {}
    for name in names:
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        values = (8 * torch.randn(shape, generator=random)).to(draw(st.sampled_from(DTYPES)))
        drawn[name] = values.T if values.ndim == 2 and draw(st.booleans()) else values
    return drawn


RECORDS = st.dictionaries(st.text(), st.integers(-9, 9) | st.text() | st.lists(st.booleans()))


@given(tensors(), RECORDS)
def test_round_trip(values: dict[str, Tensor], extra: dict[str, object]) -> None:
    record = extra | {"kind": "song"}
    data = pack(values, record)
    for kind in ("song", None):
        back, back_record = unpack(data, kind, damage)
        assert back_record == record
        assert back.keys() == values.keys()
        for name, tensor in values.items():
            assert back[name].dtype == tensor.dtype
            assert torch.equal(back[name], tensor)
    assert pack(back, back_record) == data
    assert pack(dict(reversed(values.items())), dict(reversed(record.items()))) == data


@given(tensors())
def test_round_trip_without_a_record(values: dict[str, Tensor]) -> None:
    data = pack_tensors(values)
    back = unpack_tensors(data, damage)
    assert back.keys() == values.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in values.items())
    assert pack_tensors(back) == data
    with pytest.raises(SongDamageError, match="no song"):
        unpack(data, None, damage)


def test_the_bytes_are_the_format() -> None:
    values = {"b": torch.arange(6, dtype=torch.float32).view(2, 3), "a": torch.ones(2).double()}
    digest = hashlib.sha256(pack(values, {"kind": "song", "é": [1.5, None]})).hexdigest()
    assert digest == "3e73a890a2bdb6eba42f86aa42a26c53014dea0cc793884c0d3d8bdc963b98ff"


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_damage_raises_the_error_of_the_caller_or_nothing(place: int, change: int) -> None:
    data = bytearray(pack({"a": torch.ones(2, 3), "b": torch.zeros(4).half()}, {"kind": "song"}))
    data[place % len(data)] ^= change
    try:
        unpack(bytes(data), "song", damage)
    except SongDamageError as error:
        assert str(error).startswith("no song: ")


@given(st.binary(max_size=100))
def test_foreign_bytes_raise_the_error_of_the_caller(noise: bytes) -> None:
    for data in (noise, len(noise).to_bytes(8, "little") + noise):
        with pytest.raises(SongDamageError):
            unpack(data, None, damage)


def test_a_dtype_that_torch_lacks_is_damage() -> None:
    header = b'{"a":{"dtype":"F6_E2M3","shape":[8],"data_offsets":[0,6]}}'
    with pytest.raises(SongDamageError, match="F6_E2M3"):
        unpack_tensors(len(header).to_bytes(8, "little") + header + bytes(6), damage)


@pytest.mark.parametrize("record", [{}, {"kind": "poem"}, {"kind": None}])
def test_another_kind_is_refused(record: dict[str, object]) -> None:
    data = pack({"a": torch.ones(1)}, record)
    with pytest.raises(SongDamageError, match=r"its kind is .*, not 'song'"):
        unpack(data, "song", damage)
    assert unpack(data, None, damage)[1] == record


def test_tensors_by_part_and_rising_layer() -> None:
    one, two = torch.ones(1), torch.ones(2)
    names = {layer_tensor(11, "key"): one, layer_tensor(2, "key"): two, "layer.2.residual": one}
    parts = by_part(names)
    assert {part: list(layers) for part, layers in parts.items()} == {
        "key": [2, 11],
        "residual": [2],
    }
    assert parts["key"][2] is two
    for name in ("layer.2", "layer.2.key.more", "layer.x.key"):
        with pytest.raises(ValueError):
            by_part({name: one})


# -- all that is stored ----------------------------------------------------------------------

VECTOR, MATRIX = torch.arange(3.0), torch.arange(6.0).view(2, 3)
EYE = torch.eye(3, dtype=torch.float64)
DELTA = Delta({1: Factored(MATRIX.double(), EYE)})
EDITOR = Editor.untrained({Matrix(1, "down"): (MATRIX[0], MATRIX[0] + 1)}, rank=2, rate=0.1, seed=0)
STORED: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "delta": (delta_to_bytes(DELTA, {}), delta_from_bytes),
    "patch": (Patch(DELTA, {}).to_bytes(), Patch.from_bytes),
    "located": (Located({1: VECTOR}, {1: VECTOR + 1}, {}).to_bytes(), Located.from_bytes),
    "codebook": (
        CodebookEntry(1, MATRIX, MATRIX + 1, (5, 6), {}).to_bytes(),
        CodebookEntry.from_bytes,
    ),
    "statistics": (SecondMoment.of({1: EYE}, 5).to_bytes(), SecondMoment.from_bytes),
    "small statistics": (SecondMoment.of({1: EYE}, 5).to_small_bytes(), SecondMoment.from_bytes),
    "whitening": (Whitening(EYE).to_bytes(), Whitening.from_bytes),
    "projection": (Projection(EYE).to_bytes(), Projection.from_bytes),
    "editor": (
        EDITOR.to_bytes(),
        lambda data: Editor.from_bytes(data, {"kind": "editor", "layers": [1]}),
    ),
}


@pytest.mark.parametrize("name", STORED)
@given(place=st.integers(0, 10**6), change=st.integers(1, 255), cut=st.integers(1, 400))
def test_damage_of_stored_bytes_is_always_told_as_such(
    name: str, place: int, change: int, cut: int
) -> None:
    data, read = STORED[name]
    flipped = bytearray(data)
    flipped[place % len(data)] ^= change
    with pytest.raises(DamageError):
        read(data[: -min(cut, len(data))])
    with contextlib.suppress(DamageError):
        read(bytes(flipped))


KIN = [{"delta", "patch"}, {"statistics", "small statistics"}]
"""What is read by one reader, or is a case of the other."""


@pytest.mark.parametrize(("name", "other"), list(itertools.permutations(STORED, 2)))
def test_what_is_stored_as_one_thing_is_not_read_as_another(name: str, other: str) -> None:
    if {name, other} not in KIN:
        with pytest.raises(DamageError):
            STORED[other][1](STORED[name][0])


@pytest.mark.parametrize("name", STORED)
def test_a_file_of_another_tool_is_damage(name: str) -> None:
    _, read = STORED[name]
    with pytest.raises(DamageError):
        read(save({"other": VECTOR}, metadata={"format": "pt"}))

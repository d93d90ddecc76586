"""The record of a tensor file: what is written comes back, and nothing else passes for one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import editvc
from editvc.core.tensor_header import (
    HEADER_LIMIT,
    METADATA_KEY,
    TensorHeaderError,
    is_tensor_file,
    metadata_of,
    read_head,
    read_record,
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
RECORDS = st.dictionaries(
    st.text(),
    st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    ),
)


def with_header(text: bytes, numbers: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + numbers


def tensor_file(record: dict[str, object], numbers: bytes = b"\0" * 8) -> bytes:
    tensor = {"dtype": "U8", "shape": [len(numbers)], "data_offsets": [0, len(numbers)]}
    header = json.dumps({"__metadata__": metadata_of(record), "numbers": tensor})
    return with_header(header.encode(), numbers)


@given(RECORDS)
def test_a_record_comes_back_with_or_without_the_numbers(record: dict[str, object]) -> None:
    data = tensor_file(record)
    assert is_tensor_file(data)
    assert read_record(data) == record
    assert read_record(data[:-8]) == record
    assert metadata_of(dict(reversed(record.items()))) == metadata_of(record)


@given(RECORDS)
def test_a_value_as_json_is_no_tensor_file(record: dict[str, object]) -> None:
    assert not is_tensor_file(json.dumps(record).encode() + b" " * 99)


@given(RECORDS, st.data())
def test_a_header_that_is_cut_has_no_record(record: dict[str, object], data: st.DataObject) -> None:
    whole = tensor_file(record, b"")
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert not is_tensor_file(cut)
    with pytest.raises(TensorHeaderError, match="is no safetensors file"):
        read_record(cut)


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_raise_the_one_error(noise: bytes) -> None:
    for data in (noise, with_header(noise), with_header(b"{" + noise)):
        with pytest.raises(TensorHeaderError):
            read_record(data)


@given(RECORDS, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_file_gives_a_record_or_the_one_error(
    record: dict[str, object], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(tensor_file(record))
    for place, byte in damage:
        data[place % len(data)] = byte
    with contextlib.suppress(TensorHeaderError):
        assert isinstance(read_record(bytes(data)), dict)


DEEP = "[" * 200_000
NO_METADATA = f"has no '{METADATA_KEY}' metadata"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({}, NO_METADATA),
        ({"__metadata__": None}, NO_METADATA),
        ({"__metadata__": [METADATA_KEY]}, NO_METADATA),
        ({"__metadata__": "editvc"}, NO_METADATA),
        ({"__metadata__": {"format": "pt"}}, NO_METADATA),
        ({"__metadata__": {METADATA_KEY: {"kind": "delta"}}}, NO_METADATA),
        ({"__metadata__": {METADATA_KEY: "[]"}}, "does not say what kind"),
        ({"__metadata__": {METADATA_KEY: "{"}}, "is neither JSON"),
        ({"__metadata__": {METADATA_KEY: "\ud800"}}, "is neither JSON"),
        ({"__metadata__": {METADATA_KEY: DEEP}}, "is neither JSON"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_headers_of_wrong_types(header: object, problem: str) -> None:
    with pytest.raises(TensorHeaderError, match=problem):
        read_record(with_header(json.dumps(header).encode()))


@pytest.mark.parametrize("text", ['{"a":' + DEEP, '{"a":' + "1" * 5000 + "}", '{"a": \ud800}'])
def test_headers_that_no_parser_takes(text: str) -> None:
    with pytest.raises(TensorHeaderError, match="is neither JSON"):
        read_record(with_header(text.encode(errors="surrogatepass")))


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**63, 2**64 - 1])
def test_a_header_may_not_claim_to_be_huge(length: int, tmp_path: Path) -> None:
    data = length.to_bytes(8, "little") + b"{}"
    assert not is_tensor_file(data)
    with pytest.raises(TensorHeaderError, match="is no safetensors file"):
        read_record(data)
    path = tmp_path / "huge"
    path.write_bytes(data)
    assert read_head(path) == data


def test_the_limit_holds_for_headers_that_are_there() -> None:
    header = b"{" + b" " * (HEADER_LIMIT - 1) + b"}"
    assert not is_tensor_file(with_header(header))
    assert is_tensor_file(with_header(header[:-1]))


def test_the_head_of_a_file_is_read_and_no_more(tmp_path: Path) -> None:
    data = tensor_file({"kind": "delta"}, b"\1" * 1000)
    path = tmp_path / "delta.safetensors"
    path.write_bytes(data)
    head = read_head(path)
    assert head == data[:-1000]
    assert read_record(head) == {"kind": "delta"}


def test_one_module_knows_the_key_of_the_metadata() -> None:
    package = Path(editvc.__file__).parent
    modules = {p.relative_to(package).as_posix(): p.read_text() for p in package.rglob("*.py")}
    home = "core/tensor_header.py"
    assert [path for path, text in modules.items() if "METADATA_KEY" in text] == [home]
    # A foreign checkpoint's own metadata is copied as it is, whatever its keys.
    readers = {path for path, text in modules.items() if "__metadata__" in text}
    assert readers <= {home, "models/checkpoint.py"}
    assert not [path for path, text in modules.items() if 'metadata["editvc"]' in text]

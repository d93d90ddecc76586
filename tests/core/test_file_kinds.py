"""Files that are no text: told by their first bytes, and gzip's unpacked within a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import zipfile

import pytest

from editvc.core import file_kinds
from editvc.core.file_kinds import is_gzip, strange_kind, unpacked

TEXT = '{"subject": "é"}'


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", TEXT)
    return out.getvalue()


KINDS = {
    "gzip": gzip.compress(b"x"),
    "bzip2": bz2.compress(b"x"),
    "xz": lzma.compress(b"x"),
    "ZIP": zipped(),
    "pickle": pickle.dumps([1]),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-32": TEXT.encode("utf-32"),
    "UTF-16 ": TEXT.encode("utf-16-le"),
    " UTF-16": TEXT.encode("utf-16-be"),
    "Parquet": b"PAR1\x15",
    "SQLite": b"SQLite format 3\0",
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_told_with_a_way_out(name):
    kind = strange_kind(KINDS[name])
    assert kind is not None and name.strip() in kind[0] and kind[1]
    assert is_gzip(KINDS[name]) == (name == "gzip")


@pytest.mark.parametrize("text", ["", TEXT, "\ufeff" + TEXT, "subject,prompt", "é"])
def test_text_is_no_strange_kind(text):
    assert strange_kind(text.encode()) is None


def test_what_is_unpacked_has_a_limit(monkeypatch):
    monkeypatch.setattr(file_kinds, "LARGEST", 2**20)
    assert unpacked(gzip.compress(b"x" * 2**20)) == b"x" * 2**20
    assert unpacked(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab", "members of one file"
    with pytest.raises(ValueError, match="more than 1 MiB"):
        unpacked(gzip.compress(b"x" * (2**20 + 1)))


@pytest.mark.parametrize("cut", [slice(0, 12), slice(0, -4), slice(0, 3)])
def test_half_a_file_is_none(cut):
    with pytest.raises(ValueError, match="no whole gzip file"):
        unpacked(gzip.compress(b"some text" * 20)[cut])
    damaged = bytearray(gzip.compress(b"some text" * 20))
    damaged[12] ^= 0xFF
    with pytest.raises(ValueError, match="no whole gzip file"):
        unpacked(bytes(damaged))

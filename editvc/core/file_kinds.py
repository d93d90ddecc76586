"""Files that are no text: told by their first bytes, unpacked where that is safe, else named."""

from __future__ import annotations

import gzip
import io
import zlib

LARGEST = 2**28
"""Bytes that a compressed file may hold: 256 MiB. A few kilobytes of gzip can hold a terabyte."""

_GZIP = b"\x1f\x8b"
_UNPACK = "Unpack it first."
_AS_UTF8 = "Save it as UTF-8: `iconv -f {0} -t UTF-8 FILE > NEW`."
_ROWS = "Write its rows as JSON: in pandas, `to_json(FILE, orient='records', lines=True)`."

_KINDS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((_GZIP,), "compressed with gzip", _UNPACK),
    ((b"BZh",), "compressed with bzip2", _UNPACK),
    ((b"\xfd7zXZ\0",), "compressed with xz", _UNPACK),
    ((b"\x28\xb5\x2f\xfd",), "compressed with zstd", _UNPACK),
    ((b"7z\xbc\xaf\x27\x1c",), "a 7-Zip archive", _UNPACK),
    ((b"PK\x03\x04",), "a ZIP archive or a spreadsheet", "Unpack it, or save the sheet as CSV."),
    ((b"\xd0\xcf\x11\xe0",), "an old spreadsheet or document", "Save the sheet as CSV."),
    ((b"PAR1",), "a Parquet file", _ROWS),
    ((b"ARROW1",), "an Arrow file", _ROWS),
    ((b"SQLite format 3\0",), "a SQLite database", "Write its rows as JSON: `sqlite3 -json`."),
    ((b"%PDF-",), "a PDF document", "Write down as text what it says."),
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "a pickle of Python's, which can run code",
        "Write it as JSON where it comes from.",
    ),
    ((b"\xff\xfe\0\0", b"\0\0\xfe\xff"), "UTF-32 text", _AS_UTF8.format("UTF-32")),
    ((b"{\0", b"[\0"), "UTF-16 text", _AS_UTF8.format("UTF-16LE")),
    ((b"\0{", b"\0["), "UTF-16 text", _AS_UTF8.format("UTF-16BE")),
    ((b"\xff\xfe", b"\xfe\xff"), "UTF-16 text", _AS_UTF8.format("UTF-16")),
)
"""How a file begins, what it is, and the way to text. The first that fits counts."""


def strange_kind(data: bytes) -> tuple[str, str] | None:
    """What bytes that are no plain text are, and the way out; ``None`` where nothing is known."""
    return next(((name, hint) for starts, name, hint in _KINDS if data.startswith(starts)), None)


def is_gzip(data: bytes) -> bool:
    """Whether bytes are gzip's."""
    return data.startswith(_GZIP)


def unpacked(data: bytes) -> bytes:
    """What gzip's bytes hold. Raises ``ValueError`` for damage, and past :data:`LARGEST`."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            whole = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"is no whole gzip file: {error}") from error
    if len(whole) > LARGEST:
        raise ValueError(f"holds more than {LARGEST // 2**20} MiB when it is unpacked")
    return whole

"""The bytes of a file of facts as text: unpacked, and read as UTF-8."""

from __future__ import annotations

from editvc.core.fact_files.fact_file_error import FactFileError
from editvc.core.file_kinds import is_gzip, strange_kind, unpacked

BYTE_ORDER_MARK = "\ufeff"


def decoded(file: str, data: bytes) -> str:
    """The text of a file's bytes, which may be gzip's.

    Raises :class:`FactFileError`: with the line that is not UTF-8, or naming what the file is.
    """
    if is_gzip(data):
        try:
            data = unpacked(data)
        except ValueError as error:
            hint = "Unpack it with `gunzip`, or fetch it again."
            raise FactFileError(file, str(error), hint=hint) from error
    if strange := strange_kind(data):
        name, hint = strange
        raise FactFileError(file, f"is {name}", hint=hint)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FactFileError(
            file,
            f"is not UTF-8 text (byte {error.start} is 0x{data[error.start]:02x})",
            line=line,
            hint="Save the file as UTF-8.",
        ) from error

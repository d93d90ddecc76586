"""What this process is about to do to files, heard before it is done: by Python, and by SQLite.

Python tells of opening, renaming and removing by its audit events; ``os.fsync`` and the functions
of SQLite's file layer are wrapped. What a listener raises is what the call then fails with. Not
heard are the single writes of an open file: :func:`full_disk` refuses those, whoever writes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str, str], None]
"""Called with the name of a call and the path that it is about. May raise ``OSError``."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NAMES = {
    "os.rename": "rename",
    "os.mkdir": "mkdir",
    "os.remove": "remove",
    "os.rmdir": "rmdir",
    "os.truncate": "truncate",
}
"""Audit events of calls that change names, and how they are called here."""

_listener: Listener | None = None
_lock = threading.RLock()


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Call ``listener`` before each call on files, of whatever thread, one at a time.

    Calls: ``open`` (to read), ``create`` (to write), those of :data:`NAMES`, ``exchange``,
    ``fsync``, and ``sqlite-`` with ``open``, ``write``, ``truncate``, ``sync`` and ``remove``; of
    an ``exchange`` the path is empty.
    """
    global _listener
    _install()
    _listener = listener
    try:
        yield
    finally:
        _listener = None


def _tell(call: str, path: str) -> None:
    with _lock:
        if _listener is not None:
            _listener(call, path)


def _audit(event: str, values: tuple[Any, ...]) -> None:
    if _listener is None:
        return
    if event == "open" and not isinstance(values[0], int):
        writes = isinstance(values[2], int) and values[2] & WRITING
        _tell("create" if writes else "open", os.path.abspath(os.fsdecode(values[0])))
    elif event in NAMES and not isinstance(values[0], int):
        _tell(NAMES[event], os.path.abspath(os.fsdecode(values[0])))
    elif event == "ctypes.dlsym" and values[1] == "renameat2":
        _tell("exchange", "")


def _wrapped(fsync: Callable[[int], None]) -> Callable[[int], None]:
    def told(descriptor: int) -> None:
        if _listener is not None:
            _tell("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)
        if _listener is not None:
            _tell("fsynced", os.readlink(f"/proc/self/fd/{descriptor}"))

    return told


@contextmanager
def full_disk() -> Iterator[None]:
    """Inside, no file can be written to, as on a full disk: files can be made, and stay empty.

    The error is EFBIG where a full disk has ENOSPC: it is the limit of sizes that says so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# SQLite's file layer: the first word of an open file points to a table of its functions.

_POINTER = ctypes.sizeof(ctypes.c_void_p)
_WRITE, _TRUNCATE, _SYNC, _TABLE = 3, 4, 5, 19
"""Places in that table, and its length, in words."""
_OPEN, _REMOVE = 40, 48
"""Places of two functions in SQLite's record of a file layer, in bytes."""

_Call = ctypes.c_int
_TYPES = {
    _WRITE: ctypes.CFUNCTYPE(_Call, ctypes.c_void_p, ctypes.c_void_p, _Call, ctypes.c_int64),
    _TRUNCATE: ctypes.CFUNCTYPE(_Call, ctypes.c_void_p, ctypes.c_int64),
    _SYNC: ctypes.CFUNCTYPE(_Call, ctypes.c_void_p, _Call),
    _OPEN: ctypes.CFUNCTYPE(
        _Call, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, _Call, ctypes.c_void_p
    ),
    _REMOVE: ctypes.CFUNCTYPE(_Call, ctypes.c_void_p, ctypes.c_void_p, _Call),
}
_CALLS = {_WRITE: "write", _TRUNCATE: "truncate", _SYNC: "sync", _OPEN: "open", _REMOVE: "remove"}
_CODES = {_WRITE: 778, _TRUNCATE: 1546, _SYNC: 1034, _OPEN: 14, _REMOVE: 2570}
"""What SQLite's own layer says where the system refuses; of a full disk when writing, 13."""

_paths: dict[int, str] = {}
"""The open files by their address."""
_kept: dict[int, Any] = {}
"""What C points to: the tables by the address of the original, and the functions in them."""


def sqlite_is_heard() -> bool:
    """Whether the SQLite of this Python can be listened to."""
    try:
        _install()
    except (OSError, AttributeError):
        return False
    return True


def _install() -> None:
    if _kept:
        return
    import _sqlite3

    library = ctypes.CDLL(_sqlite3.__file__)
    find = library.sqlite3_vfs_find
    find.restype, find.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    layer = find(None)
    for place in (_OPEN, _REMOVE):
        _put_between(layer + place, place)
    sys.addaudithook(_audit)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.fsync = _wrapped(os.fsync)


def _put_between(address: int, place: int) -> None:
    """Have SQLite call a function of ours in the place of the one to which ``address`` points."""
    word = ctypes.c_void_p.from_address(address)
    original = _TYPES[place](word.value)

    def called(first: int, *rest: Any) -> int:
        path = _path(place, first, rest)
        if path is None or _listener is None:
            code = original(first, *rest)
        else:
            try:
                _tell(f"sqlite-{_CALLS[place]}", path)
            except OSError as refused:
                if place == _OPEN:
                    ctypes.c_void_p.from_address(rest[1]).value = None  # no file is open
                full = place == _WRITE and refused.errno == errno.ENOSPC
                return 13 if full else _CODES[place]
            code = original(first, *rest)
            if place in (_SYNC, _REMOVE) and code == 0:
                _tell("sqlite-" + {_SYNC: "synced", _REMOVE: "removed"}[place], path)
        if place == _OPEN and code == 0 and path is not None:
            _paths[rest[1]] = path
            _listen_to(rest[1])
        return int(code)

    function = _TYPES[place](called)
    _kept[address] = (original, function)
    word.value = ctypes.cast(function, ctypes.c_void_p).value


def _path(place: int, first: int, rest: tuple[Any, ...]) -> str | None:
    if place in (_OPEN, _REMOVE):
        # The pointer itself goes on to SQLite, which keeps it; this is a copy.
        return None if rest[0] is None else os.fsdecode(ctypes.string_at(rest[0]))
    return _paths.get(first)


def _listen_to(file: int) -> None:
    """Give an open file a table of functions in which ours stand."""
    pointer = ctypes.c_void_p.from_address(file)
    original = pointer.value
    assert original is not None
    if original not in _kept:
        table = (ctypes.c_void_p * _TABLE).from_buffer_copy(
            ctypes.string_at(original, _TABLE * _POINTER)
        )
        _kept[original] = table
        for place in (_WRITE, _TRUNCATE, _SYNC):
            _put_between(ctypes.addressof(table) + place * _POINTER, place)
    pointer.value = ctypes.addressof(_kept[original])

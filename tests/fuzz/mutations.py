"""Sound files made unsound: flipped bits, lost and doubled pieces, values of other types."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1 << 70, -(1 << 70), "", "x", "\ud800", "\x1b[2J", "a" * 100_000, [],
    {}, [None], {"": None}, "../../etc/passwd", "0" * 64, [[]], {"kind": "commit"}, 10**299,
)  # fmt: skip
"""Values in the place of others."""

PIECES: tuple[bytes, ...] = (
    b"[" * 20_000, b'{"a":' * 5_000, b"\0", b"\xff\xfe", b"\\ud800", b"9" * 5_000, b"1e999", b"NaN",
    b"-", b'"', b"\n", b"]", b"}", b"[", b"{", b"\r", b"&a [*a]", b": ", b"\xef\xbb\xbf",
    b"\xe2\x80\xae", b",", b"'''", b'"""', b"!!python/object:os.system", b"\n---\n",
    b"a.b.c.d", b"=",
)  # fmt: skip
"""Bytes that are put between others."""


def mutated(rng: Random, data: bytes) -> bytes:
    """One to three changes of a sound file: of the values in it, where it has some, or of bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice((_tree, _tree, _tensor_file, _tensor_file, _bytes))
        data = change(rng, data)
    return data


def _bytes(rng: Random, data: bytes) -> bytes:
    """Flip a bit, take out a piece, double it, cut the end, or put something in."""
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((1, 2, 8, 64, 1000)))
    kind = rng.randrange(6)
    if kind == 0 and start < len(data):
        flipped = bytes([data[start] ^ (1 << rng.randrange(8))])
        return data[:start] + flipped + data[start + 1 :]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:end] + data[start:]
    if kind == 3:
        return data[:start]
    return data[:start] + rng.choice(PIECES) + data[start:]


def _tree(rng: Random, data: bytes) -> bytes:
    """Another value at a random place of JSON, or of one line of it; other files in their bytes."""
    try:
        return json.dumps(changed_value(rng, json.loads(data))).encode()
    except (ValueError, RecursionError):
        pass
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    try:
        lines[place] = json.dumps(changed_value(rng, json.loads(lines[place]))).encode()
    except (ValueError, RecursionError):
        return _bytes(rng, data)
    return b"\n".join(lines)


def _tensor_file(rng: Random, data: bytes) -> bytes:
    """Another value in the header of a safetensors file, or in the record that it holds."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        about = header.get("__metadata__", {})
        if about and rng.random() < 0.7:
            key = rng.choice(sorted(about))
            about[key] = json.dumps(changed_value(rng, json.loads(about[key])))
        else:
            header = changed_value(rng, header)
        text = json.dumps(header).encode()
    except (ValueError, RecursionError, AttributeError, TypeError, LookupError):
        return _tree(rng, data)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def changed_value(rng: Random, value: Any) -> Any:
    """``value`` with another one, or none, at a random place inside it."""
    root = [copy.deepcopy(value)]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for holder, key in places:
        inner = holder[key]
        if isinstance(inner, dict):
            places.extend((inner, name) for name in inner)
        elif isinstance(inner, list):
            places.extend((inner, number) for number in range(len(inner)))
    holder, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0 and holder is not root:
        del holder[key]
    elif kind == 1 and isinstance(holder[key], dict):
        holder[key][rng.choice(("x", "", "kind", "method", "\ud800"))] = rng.choice(ODD)
    elif kind == 2:
        other, name = rng.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif kind == 3:
        holder[key] = nest(rng.choice((10, 70, 900)), rng.choice(ODD))
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD))
    return root[0]


def nest(depth: int, value: Any) -> Any:
    """A value inside that many lists."""
    for _ in range(depth):
        value = [value]
    return value

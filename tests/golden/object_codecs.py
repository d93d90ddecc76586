"""The product's readers and writers of stored objects, by kind: the one place that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from editvc.algebra.codebook_entry import CodebookEntry
from editvc.algebra.delta import delta_from_bytes, delta_to_bytes
from editvc.algebra.located_edit import Located
from editvc.algebra.patch import Patch
from editvc.algebra.second_moment import SecondMoment
from editvc.editing.mend_editor import Editor
from editvc.vcs import codec

Record = Mapping[str, Any]

AGAIN: dict[str, Callable[[bytes, Record], bytes]] = {
    "fact": lambda data, record: codec.encode(codec.decode_fact(data)),
    "base": lambda data, record: codec.encode(codec.decode_base(data, source="", revision=None)),
    "recipe": lambda data, record: codec.encode(codec.decode_recipe(data)),
    "tree": lambda data, record: codec.encode(codec.decode_tree(data)),
    "commit": lambda data, record: codec.encode(codec.decode_commit(data)),
    "edits": lambda data, record: codec.encode(codec.decode_node(data)),
    "located": lambda data, record: Located.from_bytes(data).to_bytes(record),
    "patch": lambda data, record: Patch.from_bytes(data).to_bytes(record),
    "codebook": lambda data, record: CodebookEntry.from_bytes(data).to_bytes(record),
    "delta": lambda data, record: delta_to_bytes(*delta_from_bytes(data)),
    "statistics": lambda data, record: SecondMoment.from_bytes(data).to_bytes(record),
    "editor": lambda data, record: Editor.from_bytes(data, record).to_bytes(),
}
"""By kind, from the bytes of an object and its record: the bytes of what was read from them."""

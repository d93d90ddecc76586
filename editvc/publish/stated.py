"""What an export says of itself: ``editvc.json``, the lock file and the ledger.

They are read, and compared with each other and with the files beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editvc.core.cut import quoted
from editvc.core.ids import short
from editvc.core.plain_json import read_json
from editvc.core.regular_file import read_regular
from editvc.interchange.expected_weights import Finding
from editvc.interchange.manifest import LEDGER, LOCK, MANIFEST, files_written, read_manifest
from editvc.publish.lock import LARGEST, Lock, LockError, read_lock


@dataclass(frozen=True, slots=True)
class Stated:
    """The papers of an export in ``folder``.

    ``manifest`` is empty and ``lock`` is ``None`` where there is none that can be read. ``files``
    are those that the manifest lists, with their sha256. ``findings`` are the papers' own faults.
    """

    folder: Path
    manifest: Mapping[str, Any]
    files: Mapping[str, str]
    lock: Lock | None
    findings: tuple[Finding, ...]

    @property
    def format(self) -> str | None:
        """``hf``, ``lora`` and so on; ``None`` where no paper says it."""
        return self.manifest.get("format") or (
            self.lock.export.get("format") if self.lock else None
        )

    def files_changed(self, without: frozenset[str] = frozenset()) -> Iterator[Finding]:
        """Files that are not as the manifest lists them, ``without`` some."""
        for name, digest in sorted(self.files.items()):
            if name in without:
                continue
            path = self.folder / name
            if not path.is_file():
                yield Finding("file", name, f"is listed in {MANIFEST}, and is not there")
            elif _sha256(path) != digest:
                yield Finding("file", name, "was changed since editvc wrote it")

    def other_digests(self, key: str, digest: str) -> Iterator[Finding]:
        """Papers that state another ``digest`` under ``key`` than the weights have."""
        what = "the base has" if key == "base_digest" else "these weights have"
        records = {MANIFEST: self.manifest, LOCK: self.lock.export if self.lock else {}}
        for name, record in records.items():
            stated = record.get(key)
            if stated is not None and stated != digest:
                yield Finding(
                    "ledger", name, f"states {key} {short(str(stated))}, {what} {short(digest)}"
                )


def read_stated(folder: Path) -> Stated:
    """The papers of the export in ``folder``; what is wrong with them is told, not raised."""
    findings = []
    manifest = read_manifest(folder)
    files = files_written(folder)
    if manifest is not None and files is None:
        findings.append(Finding("ledger", MANIFEST, "is not as editvc wrote it"))
    lock = None
    if (folder / LOCK).exists():
        try:
            lock = read_lock(folder / LOCK)
        except LockError as error:
            findings.append(Finding("ledger", LOCK, str(error)))
    if lock is not None:
        findings += _ledger(folder / LEDGER, lock)
    return Stated(folder, manifest or {}, files or {}, lock, tuple(findings))


def _ledger(path: Path, lock: Lock) -> Iterator[Finding]:
    """Facts that are in one of ledger and lock, and not in the other."""
    locked = {edit.fact.id: edit.fact.question for edit in lock.edits}
    try:
        rows = [read_json(line) for line in read_regular(path, LARGEST).splitlines()]
        listed = {row["fact"]: f"{row['prompt'].replace('{}', row['subject'])}" for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        yield Finding("ledger", LEDGER, f"cannot be read: {error!r}")
        return
    for fact in sorted(locked.keys() - listed.keys()):
        yield Finding("ledger", LEDGER, f"lacks {quoted(locked[fact])}, which is in {LOCK}")
    for fact in sorted(listed.keys() - locked.keys()):
        yield Finding("ledger", LEDGER, f"lists {quoted(listed[fact])}, which is not in {LOCK}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Signatures of whole exports, by the model-signing package: who made these files, and all of them.

A signature is a file beside the weights, a Sigstore bundle with the sha256 of every other file. It
is made and verified with elliptic keys (PEM), for which no network is needed. Others verify it with
``model_signing verify key``.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# The package may be absent.

from __future__ import annotations

import base64
import io
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from editvc.errors import EditvcError
from editvc.interchange.expected_weights import Finding
from editvc.interchange.manifest import SIGNATURE

LIMIT = 1 << 24
"""Bytes: no signature is longer."""


class KeyUnusable(EditvcError):
    """A key that signs or verifies nothing here. ``path`` is its file."""

    def __init__(self, path: Path, problem: str, *, hint: str = "") -> None:
        super().__init__(
            f"{path}: {problem}",
            hint=hint
            or "Make a pair: openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl "
            "ec -in key.pem -pubout -out key.pub",
        )
        self.path = path


class SigningMissing(EditvcError):
    """The packages that sign and verify are not installed."""

    def __init__(self) -> None:
        super().__init__(
            "signatures of models need the packages model-signing and pyopenssl",
            hint="pip install 'editvc[sign]'",
        )


def signer(key: Path, password: str | None = None) -> Callable[[Path], None]:
    """What signs a folder with a private key; the key is read now, and may be encrypted.

    Raises :class:`KeyUnusable` and :class:`SigningMissing`.
    """
    signing, _, hashing = _package()
    config = signing.Config().set_hashing_config(_reading(hashing.Config()))
    try:
        # The package passes it on to one that takes bytes alone.
        secret: Any = password.encode() if password else None
        config.use_elliptic_key_signer(private_key=key, password=secret)
    except TypeError as cause:
        encrypted = "encrypted" in str(cause)
        raise KeyUnusable(
            key,
            "is encrypted" if encrypted and secret is None else str(cause),
            hint="EDITVC_SIGN_PASSWORD holds its password." if encrypted else "",
        ) from cause
    except Exception as cause:  # each kind of wrong key has a class of its own
        raise KeyUnusable(key, f"is no elliptic private key that signs: {cause}") from cause

    def sign(folder: Path) -> None:
        config.sign(folder, folder / SIGNATURE)

    return sign


def check_signature(folder: Path, key: Path) -> Iterator[Finding]:
    """What the signature of a folder does not hold true of: nothing, where all of it is.

    ``key`` is the public key of whoever is to have signed it. Raises :class:`KeyUnusable` and
    :class:`SigningMissing`.
    """
    _, verifying, hashing = _package()
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception as cause:  # as above
        raise KeyUnusable(key, f"is no elliptic public key: {cause}") from cause
    path = folder / SIGNATURE
    if not path.is_file() or path.stat().st_size > LIMIT:
        yield Finding("signature", SIGNATURE, "is not there" if not path.exists() else "is none")
        return
    if strange := list(_strange(folder)):
        yield from (Finding("signature", name, "is no file that can be signed") for name in strange)
        return

    read = _Read(_reading(hashing.Config()))
    try:
        with redirect_stdout(io.StringIO()):  # it prints warnings
            config.set_hashing_config(read).verify(folder, path)
    except Exception as cause:  # whatever stands in a file from outside
        if read.files is None:
            problem = str(cause) or "it is not by this key"
            yield Finding("signature", SIGNATURE, f"is not genuine: {problem.strip()}")
        else:
            yield from _differences(_signed(path), read.files)


class _Read:
    """Reads the files, and keeps what they were: ``None`` until it is asked to, which is once the
    signature itself was found genuine.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self.files: dict[str, str] | None = None

    def hash(self, *arguments: Any, **options: Any) -> Any:
        manifest = self.config.hash(*arguments, **options)
        self.files = {
            one.identifier: one.digest.digest_hex for one in manifest.resource_descriptors()
        }
        return manifest

    def add_ignored_paths(self, **options: Any) -> None:
        self.config.add_ignored_paths(**options)


def _package() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as cause:
        raise SigningMissing from cause
    return signing, verifying, hashing


def _reading(config: Any) -> Any:
    """How files are read: all of them but the signature; the Hub's cache is made of links."""
    return config.set_ignored_paths(paths=[SIGNATURE]).set_allow_symlinks(True)


def _strange(folder: Path) -> Iterator[str]:
    """What is neither a file, nor a link to one, nor a folder: it would be waited for, or left."""
    for path, folders, files in os.walk(folder):
        for name in sorted([*folders, *files]):
            one = Path(path, name)
            mode = one.lstat().st_mode if name in folders else _mode(one)
            if not (stat.S_ISDIR(mode) if name in folders else stat.S_ISREG(mode)):
                yield one.relative_to(folder).as_posix()


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _signed(path: Path) -> dict[str, str]:
    """The files that a genuine signature lists, with their digests."""
    envelope = json.loads(path.read_bytes())["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return {one["name"]: one["digest"] for one in statement["predicate"]["resources"]}


def _differences(signed: dict[str, str], there: dict[str, str]) -> Iterator[Finding]:
    for name in sorted(signed.keys() | there.keys()):
        if name not in there:
            yield Finding("signature", name, "was signed, and is not there")
        elif name not in signed:
            yield Finding("signature", name, "was added after signing")
        elif signed[name] != there[name]:
            yield Finding("signature", name, "was changed after signing")

"""Signatures of commits by SSH keys, made and verified by ``ssh-keygen -Y`` as git does it.

What is signed are the bytes of the commit without its signature, in a namespace of editvc's own: a
signature of something else is none of a commit (docs/adr/0032).
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from editvc.core.history import Commit
from editvc.core.ids import ObjectId, canonical_json
from editvc.errors import EditvcError
from editvc.session.session import Session

NAMESPACE = "editvc"

State = Literal["good", "unknown", "bad", "none"]
"""``unknown``: the signature is one of these bytes, by a key that no allowed signer has."""


class SigningError(EditvcError):
    """A commit that cannot be signed, or a signature that nobody can look at."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What is to be said of a commit's signature: whose it is, and what ``ssh-keygen`` said."""

    commit: ObjectId
    state: State
    signer: str | None = None
    said: str = ""

    def to_json(self) -> dict[str, Any]:
        """For ``verify-commit --json`` and ``--show-signature --json``."""
        return {"commit": self.commit, "state": self.state, "signer": self.signer}

    @property
    def line(self) -> str:
        """In words."""
        if self.state == "none":
            return "no signature"
        return self.said or f"{self.state} signature"


def payload(commit: Commit) -> bytes:
    """What a signature of a commit is over."""
    return canonical_json(replace(commit, signature=None).to_json())


def signed(session: Session, commit: Commit) -> Commit:
    """The commit, signed where the command or config.toml asks for it.

    Raises :class:`SigningError` without a key, or where ``ssh-keygen`` makes no signature.
    """
    config = session.repository.config
    if not (config.commit.gpgsign if session.sign is None else session.sign):
        return commit
    if not config.user.signingkey:
        raise SigningError(
            "no key to sign with",
            hint="`editvc config user.signingkey ~/.ssh/id_ed25519` names one; --no-gpg-sign goes "
            "without.",
        )
    key = _place(session, config.user.signingkey)
    done = _keygen("sign", "-n", NAMESPACE, "-f", str(key), data=payload(commit))
    if done.returncode != 0:
        raise SigningError(
            f"the commit is not signed: {_said(done)}",
            hint="`editvc config user.signingkey` names the key: its file, or that of its public "
            "half where an agent holds it.",
        )
    return replace(commit, signature=done.stdout.decode())


def signature_of(session: Session, identifier: ObjectId) -> Signature:
    """What is to be said of the signature of a commit.

    It is good where the key is one of config.toml's ``gpg.allowed_signers``, at the time of the
    commit. Raises :class:`SigningError` without ``ssh-keygen`` or without that file.
    """
    commit = session.repository.read_commit(identifier)
    if commit.signature is None:
        return Signature(identifier, "none")
    data, allowed = payload(commit), session.repository.config.gpg.allowed_signers
    with _file(commit.signature) as file:
        if allowed:
            signers = _place(session, allowed)
            if not signers.is_file():
                raise SigningError(
                    f"there is no file of allowed signers at {signers}",
                    hint="`editvc config gpg.allowed_signers FILE` names it.",
                )
            when = time.strftime("%Y%m%d%H%M%S", time.localtime(commit.time))
            about = ("-s", file, "-f", str(signers), f"-Overify-time={when}")
            for name in _principals(about):
                done = _keygen("verify", "-n", NAMESPACE, "-I", name, *about, data=data)
                if done.returncode == 0:
                    return Signature(identifier, "good", name, _said(done))
        done = _keygen("check-novalidate", "-n", NAMESPACE, "-s", file, data=data)
        if done.returncode == 0:
            return Signature(identifier, "unknown", said=f"{_said(done)}, of no allowed signer")
        return Signature(identifier, "bad", said=f"BAD signature: {_said(done)}")


def _principals(about: tuple[str, ...]) -> list[str]:
    found = _keygen("find-principals", *about)
    return found.stdout.decode(errors="replace").splitlines() if found.returncode == 0 else []


def _keygen(action: str, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *words], input=data, capture_output=True, check=False
        )
    except OSError as cause:
        raise SigningError(
            f"ssh-keygen cannot be run: {cause.strerror or cause}",
            hint="It comes with OpenSSH, 8.2 or later.",
        ) from cause


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """The last line that ``ssh-keygen`` said."""
    lines = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else f"ssh-keygen ended with {done.returncode}"


@contextmanager
def _file(text: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".sig") as file:
        file.write(text)
        file.flush()
        yield file.name


def _place(session: Session, name: str) -> Path:
    """A file that config.toml names, seen from the folder of the repository."""
    return session.repository.folder.parent / Path(name).expanduser()

"""Signatures of exports: they hold of every file, by the one key, and what does not is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("model_signing")

from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from editvc.interchange.manifest import SIGNATURE
from editvc.publish import model_signature
from editvc.publish.model_signature import KeyUnusable, SigningMissing, check_signature, signer

Pair = tuple[Path, Path]


def written(folder: Path, key: Any, password: bytes | None = None) -> Pair:
    """A private key and its public key, in files."""
    folder.mkdir(exist_ok=True)
    private, public = folder / "key.pem", folder / "key.pub"
    cipher = pem.BestAvailableEncryption(password) if password else pem.NoEncryption()
    private.write_bytes(key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, cipher))
    public.write_bytes(
        key.public_key().public_bytes(
            pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo
        )
    )  # fmt: skip
    return private, public


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return written(tmp_path / "ada", ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def model(tmp_path: Path, pair: Pair) -> Path:
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    for name in ("model.safetensors", "README.md", "code/modeling.py"):
        (folder / name).write_text(name)
    signer(pair[0])(folder)
    return folder


def told(model: Path, key: Path) -> dict[str, str]:
    return {one.name: one.problem for one in check_signature(model, key)}


def test_what_was_signed_holds(model: Path, pair: Pair) -> None:
    assert told(model, pair[1]) == {}
    (model / ".gitattributes").write_text("the Hub's own")
    assert told(model, pair[1]) == {}


def test_each_change_is_named(model: Path, pair: Pair) -> None:
    (model / "README.md").write_text("other words")
    (model / "code" / "modeling.py").unlink()
    (model / "code" / "more.py").write_text("")
    assert told(model, pair[1]) == {
        "README.md": "was changed after signing",
        "code/modeling.py": "was signed, and is not there",
        "code/more.py": "was added after signing",
    }


def test_another_key_has_not_signed_it(model: Path, tmp_path: Path) -> None:
    _, other = written(tmp_path / "bo", ec.generate_private_key(ec.SECP256R1()))
    assert "is not genuine" in told(model, other)[SIGNATURE]


def test_a_signature_without_a_hint_of_its_key_is_checked_all_the_same(
    model: Path, pair: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((model / SIGNATURE).read_text())
    del record["verificationMaterial"]["publicKey"]["hint"]
    (model / SIGNATURE).write_text(json.dumps(record))
    assert told(model, pair[1]) == {}
    _, other = written(tmp_path / "bo", ec.generate_private_key(ec.SECP256R1()))
    assert "is not genuine" in told(model, other)[SIGNATURE]
    assert capsys.readouterr().out == ""


def _payload(record: dict[str, Any]) -> None:
    record["dsseEnvelope"]["payload"] = record["dsseEnvelope"]["payload"][:-8] + "AAAAAAA="


HOSTILE: dict[str, Any] = {
    "no JSON": b"\x00\x01",
    "nothing": b"",
    "a list": b"[]",
    "another payload": _payload,
    "no envelope": lambda record: record.pop("dsseEnvelope"),
    "no signature": lambda record: record["dsseEnvelope"].update(signatures=[]),
    "another type": lambda record: record.update(mediaType="text/plain"),
    "a number for a bundle": b"7",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_signature_is_not_genuine(name: str, model: Path, pair: Pair) -> None:
    if isinstance(HOSTILE[name], bytes):
        (model / SIGNATURE).write_bytes(HOSTILE[name])
    else:
        record = json.loads((model / SIGNATURE).read_text())
        HOSTILE[name](record)
        (model / SIGNATURE).write_text(json.dumps(record))
    assert "is not genuine" in told(model, pair[1])[SIGNATURE]


def test_where_there_is_none(model: Path, pair: Pair) -> None:
    (model / SIGNATURE).unlink()
    assert told(model, pair[1]) == {SIGNATURE: "is not there"}
    (model / SIGNATURE).mkdir()
    assert told(model, pair[1]) == {SIGNATURE: "is none"}


def test_links_to_files_are_followed_and_nothing_else(
    model: Path, pair: Pair, tmp_path: Path
) -> None:
    blob = (model / "model.safetensors").rename(tmp_path / "blob")
    (model / "model.safetensors").symlink_to(blob)
    assert told(model, pair[1]) == {}, "as in the Hub's cache"
    os.mkfifo(model / "pipe")
    (model / "lost").symlink_to("nowhere")
    (model / "folder").symlink_to(tmp_path)
    assert set(told(model, pair[1])) == {"pipe", "lost", "folder"}


def test_an_encrypted_key_needs_its_password(model: Path, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    private, public = written(tmp_path / "cy", key, b"secret")
    with pytest.raises(KeyUnusable, match="is encrypted") as error:
        signer(private)
    assert "EDITVC_SIGN_PASSWORD" in error.value.hint
    with pytest.raises(KeyUnusable):
        signer(private, "wrong")
    signer(private, "secret")(model)
    assert told(model, public) == {}


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "k1", "text"])
def test_other_keys_are_refused(kind: str, model: Path, tmp_path: Path, pair: Pair) -> None:
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 1024),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    }
    private, public = pair[1], pair[0]
    if kind != "text":
        private, public = written(tmp_path / kind, made[kind]())
    with pytest.raises(KeyUnusable):
        signer(private)
    with pytest.raises(KeyUnusable):
        told(model, public)


def test_without_the_package_the_extra_is_named(
    model: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for call in (lambda: signer(pair[0]), lambda: told(model, pair[1])):
        with pytest.raises(SigningMissing) as error:
            call()
        assert error.value.hint == "pip install 'editvc[sign]'"
    assert model_signature.SIGNATURE == "model.sig"


@pytest.mark.slow
def test_the_packages_own_command_verifies_it(model: Path, pair: Pair) -> None:
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(model)]
    command += ["--signature", str(model / SIGNATURE), "--public_key", str(pair[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Signed commits: ``ssh-keygen`` itself signs and verifies, for every command that commits."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cli_runs import inside, written
from tiny_repos import ADA, FACTS

from editvc import Repo
from editvc.session.signing import NAMESPACE, SigningError, payload, signature_of

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="there is no ssh-keygen")
NAME = "ada@example.org"


@pytest.fixture
def signing(here: Path) -> Path:
    """A repository that knows a key, and who may sign with it."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", here / "key"]
    subprocess.run(words, check=True)
    (here / "signers").write_text(f"{NAME} {(here / 'key.pub').read_text()}", encoding="utf-8")
    inside("config", "user.signingkey", "key")
    inside("config", "gpg.allowed_signers", "signers")
    return here


def commit(here: Path, number: int, *words: str) -> str:
    file = written(here / "f.jsonl", FACTS[number : number + 1])
    ran = inside("commit", file, "-m", f"No. {number}", "--author", ADA, "--json", *words)
    return str(ran.json["commit"])


def states(*revisions: str) -> list[str]:
    return [one["state"] for one in json.loads(inside("verify-commit", "--json", *revisions).out)]


def test_a_signature_is_over_the_bytes_of_the_commit_and_says_whose_it_is(signing: Path) -> None:
    plain, signed = commit(signing, 0), commit(signing, 1, "-S")
    assert states(plain, signed) == ["none", "good"]
    assert inside("verify-commit", signed).code == 0 and inside("verify-commit", plain).code == 1
    assert NAME in inside("verify-commit", signed).out
    assert any(NAME in line for line in inside("log", "--show-signature").out.splitlines())
    assert "no signature" in inside("show", plain, "--show-signature").out
    record = inside("show", signed, "--show-signature", "--json").json["signature"]
    assert record == {"commit": signed, "state": "good", "signer": NAME}
    assert inside("fsck").code == 0

    # ssh-keygen alone agrees, on what the object's file holds
    path = next((signing / ".editvc" / "objects" / signed[:2]).glob("*"))
    stored = json.loads(path.read_bytes())
    (signing / "sig").write_text(stored.pop("signature"), encoding="utf-8")
    data = json.dumps(stored, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    words = ["ssh-keygen", "-Y", "verify", "-f", signing / "signers", "-I", NAME, "-n", NAMESPACE]
    subprocess.run([*words, "-s", signing / "sig"], input=data, check=True, capture_output=True)


def test_another_key_and_other_bytes_are_told(signing: Path) -> None:
    signed = commit(signing, 0, "-S")
    repo = Repo(signing)
    plumbing = repo.session.repository
    original = plumbing.read_commit(signed)
    forged = plumbing.write(replace(original, message="Another"))
    broken = plumbing.write(replace(original, signature="-----BEGIN SSH SIGNATURE-----\nx"))
    assert signature_of(repo.session, forged).state == "bad"
    assert signature_of(repo.session, broken).state == "bad"
    assert payload(original) == payload(replace(original, signature=None))
    (signing / "signers").write_text("", encoding="utf-8")
    assert states(signed) == ["unknown"]
    (signing / "signers").write_text(
        f'{NAME} valid-before="20200101" {(signing / "key.pub").read_text()}', encoding="utf-8"
    )
    assert states(signed) == ["unknown"], "the key had run out when the commit was made"
    (signing / "signers").unlink()
    ran = inside("verify-commit", signed)
    assert ran.code == 1 and "allowed_signers" in ran.err


def test_config_signs_whatever_command_commits(signing: Path) -> None:
    commit(signing, 0, "--no-gpg-sign")
    inside("config", "commit.gpgsign", "true")
    assert inside("config", "commit.gpgsign").out.strip().lower() == "true"
    inside("switch", "-c", "side")
    commit(signing, 1)
    inside("switch", "main")
    commit(signing, 2)
    assert inside("merge", "side").code == 0
    assert inside("revert", "HEAD^2").code == 0
    inside("switch", "side")
    assert inside("rebase", "main").code == 0
    commit(signing, 3, "--no-gpg-sign")
    assert states("HEAD", "main", "main~1", "main~2", "side~1", "1") == [
        "none", "good", "good", "good", "good", "none",
    ]  # fmt: skip
    assert inside("fsck").code == 0


def test_without_a_key_nothing_is_committed(signing: Path) -> None:
    first = commit(signing, 0)
    file = written(signing / "f.jsonl", FACTS[1:2])
    inside("config", "user.signingkey", "nowhere")
    ran = inside("commit", file, "-S", "--author", ADA)
    assert ran.code == 1 and "the commit is not signed" in ran.err
    inside("config", "user.signingkey", "")
    ran = inside("commit", file, "-S", "--author", ADA)
    assert ran.code == 1 and "no key to sign with" in ran.err
    assert inside("log", "--json").json[0]["commit"] == first


def test_a_machine_without_ssh_keygen_says_so(
    signing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = commit(signing, 0, "-S")
    monkeypatch.setenv("PATH", str(signing))
    with pytest.raises(SigningError, match="ssh-keygen cannot be run"):
        Repo(signing).verify_commit(signed)
    assert inside("log").code == 0

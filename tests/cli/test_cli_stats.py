"""Shared statistics and signed models as a user meets them: words, JSON and exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cli_runs import inside, written
from hub_server import Hub
from remote_places import use_hub
from tiny_repos import FACTS, Prepared


def test_statistics_go_to_a_share_and_come_from_it(
    here: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = inside("stats", "push", "../share")
    assert pushed.code == 0 and "text" in pushed.out and "shared: " in pushed.out
    assert "Everything is at" in inside("stats", "push", "../share").out
    own = {one["role"]: one["id"] for one in inside("stats", "show", "--json").json}
    for name in ("bo", "cy"):
        (here.parent / name).mkdir()
    monkeypatch.chdir(here.parent / "bo")
    base = ["init", str(prepared.base), "--layers", "1,2"]
    begun = inside(*base, "--statistics", "../share")
    assert begun.code == 0 and "no --text given" not in begun.err
    assert {one["role"]: one["id"] for one in inside("stats", "show", "--json").json} == own
    monkeypatch.chdir(here.parent / "cy")
    assert inside(*base, "--statistics", "../nothing").code == 1
    assert not list((here.parent / "cy").iterdir())
    assert inside(*base, "--statistics", "../share", "--later").code == 1
    assert inside(*base, "--later").code == 0
    pulled = inside("stats", "pull", "../share", "--json").json
    assert {one["role"] for one in pulled["statistics"]} == set(own) and pulled["bytes"]
    short = written(here.parent / "names.jsonl", FACTS[:1])
    assert inside("stats", "compute", "--text", str(prepared.text), "--entities", short).code == 0
    refused = inside("stats", "pull", "../share")
    assert refused.code == 5 and "in force here" in refused.err and "--force" in refused.err
    forced = inside("stats", "pull", "../share", "--force")
    assert forced.code == 0 and "sets it back" in forced.err
    assert inside("stats", "pull", "share").code == 1


def test_a_model_is_signed_and_what_was_changed_since_is_named(
    here: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("model_signing")
    use_hub(monkeypatch, hub.url)
    command = ("openssl ecparam -name prime256v1 -genkey -noout -out key.pem; "
               "openssl ec -in key.pem -pubout -out key.pub")  # fmt: skip
    if subprocess.run(command, shell=True, capture_output=True, check=False).returncode:
        pytest.skip("openssl, of the hint, is not here")
    inside("commit", written(here / "facts.jsonl", FACTS[:2]))
    planned = inside("publish", "alice/tiny", "--force", "--sign", "key.pem", "--dry-run")
    assert planned.code == 0 and "model.sig" in planned.out and "health: " in planned.out
    assert hub.requests == []
    assert inside("publish", "alice/tiny", "--force", "--sign", "key.pub").code == 1
    assert inside("publish", "alice/tiny", "--force", "--sign", "key.pem").code == 0
    for name, data in hub.repositories["alice/tiny"].head.items():
        (here / "out").mkdir(exist_ok=True)
        (here / "out" / name).write_bytes(data)
    fine = inside("verify", "out", "--key", "key.pub")
    assert fine.code == 0 and "signed by the owner of the key" in fine.out
    (here / "out" / "editvc.ledger.jsonl").write_text("")
    found = inside("verify", "out", "--key", "key.pub")
    assert found.code == 4
    assert "signature: editvc.ledger.jsonl: was changed after signing" in found.out

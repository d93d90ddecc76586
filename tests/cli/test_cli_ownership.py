"""Another user's repository, as the command line meets it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_runs import inside

from editvc.core.trust import DubiousOwnership
from editvc.repo import Repo


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_every_command_refuses_it_until_it_is_called_safe(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(here / ".editvc", 1234, 1234)
    for words in ("status", "log", "fsck", "config", "revert HEAD", "export --to out"):
        ran = inside(*words.split())
        assert ran.code == 1 and "dubious ownership" in ran.err, words
        assert f"EDITVC_SAFE_DIRECTORY={here}" in ran.err
    with pytest.raises(DubiousOwnership):
        Repo(here)
    for safe in (str(here), "*", f"/nowhere{os.pathsep}{here.parent}/*"):
        monkeypatch.setenv("EDITVC_SAFE_DIRECTORY", safe)
        assert inside("status").code == 0, safe
    with pytest.raises(DubiousOwnership):
        Repo(here)  # the library reads no environment
    monkeypatch.setenv("EDITVC_SAFE_DIRECTORY", "/nowhere")
    assert inside("status").code == 1
    monkeypatch.setenv("SUDO_UID", "1234")
    assert inside("status").code == 0

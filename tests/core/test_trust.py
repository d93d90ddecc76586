"""A repository of another user is opened only where its folder is called safe."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from editvc.core.trust import DubiousOwnership, Trust

ME = os.geteuid()
OTHER = frozenset({ME + 1})
"""As whom a test looks at its own folders: changing their owner takes root."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "shared" / "work" / ".editvc"
    path.mkdir(parents=True)
    return path


def opens(trust: Trust, folder: Path) -> bool:
    try:
        trust.require(folder)
    except DubiousOwnership:
        return False
    return True


def test_ones_own_is_opened_and_anothers_is_not(folder: Path) -> None:
    assert opens(Trust(), folder) and opens(Trust(frozenset({ME, ME + 1})), folder)
    with pytest.raises(DubiousOwnership, match=f"belongs to user {ME}, not to you") as caught:
        Trust(OTHER).require(folder)
    assert f"EDITVC_SAFE_DIRECTORY={folder.parent}" in caught.value.hint
    assert caught.value.exit_code == 1


def test_folders_that_are_called_safe(folder: Path) -> None:
    work, above = folder.parent, folder.parent.parent
    for entry in ("*", str(work), f"{work}/", f"{above}/*", f"{above.parent}/*"):
        assert opens(Trust(OTHER, ("/nowhere", entry)), folder), entry
    for entry in ("", "work", "./*", "**", str(above), str(folder), f"{work}/*", f"{above}/wo*"):
        assert not opens(Trust(OTHER, (entry,)), folder), entry


def test_a_link_is_its_owners_and_leads_to_its_owners(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / ".editvc"
    link.symlink_to(folder)
    assert opens(Trust(), link) and not opens(Trust(OTHER), link)
    if ME == 0:
        os.chown(link, 1, 1, follow_symlinks=False)
        assert not opens(Trust(), link)
        os.chown(link, 0, 0, follow_symlinks=False)
        os.chown(folder, 1, 1)
        assert not opens(Trust(), link)


@pytest.mark.parametrize(
    ("user", "environment", "users"),
    [
        (0, {"SUDO_UID": "1000"}, {0, 1000}),
        (1000, {"SUDO_UID": "1001"}, None),  # who is not root is who they are
        (0, {}, None),
        (0, {"SUDO_UID": "-1"}, None),
        (0, {"SUDO_UID": "x"}, None),
        (0, {"SUDO_UID": ""}, None),
    ],
)
def test_root_behind_sudo_is_also_who_called_it(
    user: int, environment: dict[str, str], users: set[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert Trust.from_environment(environment).users == users


def test_the_list_in_the_environment() -> None:
    listed = os.pathsep.join(("/srv/models", "", "/home/*"))
    trust = Trust.from_environment({"EDITVC_SAFE_DIRECTORY": listed})
    assert trust.folders == ("/srv/models", "/home/*")
    assert Trust.from_environment({}).folders == ()

"""Writers of the configuration, side by side: what each of them has set is there in the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from vcs_values import create, quick_folder

from editvc.vcs.repository import Repository

WRITER = """
import sys
from pathlib import Path
from editvc.vcs.repository import Repository
repo, key = Repository(Path(sys.argv[1])), sys.argv[2]
sys.stdin.readline()
for value in range(1, 21):
    repo.set_config(key, str(value))
"""
KEYS = (
    "recipe.v_lr",
    "recipe.v_num_grad_steps",
    "limits.target_tokens",
    "export.width_multiple",
)


@pytest.fixture
def repo() -> Iterator[Repository]:
    with quick_folder() as folder, closing(create(folder)) as repo:
        yield repo


def test_no_value_is_lost(repo: Repository) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(repo.folder), key], stdin=subprocess.PIPE, text=True
        )
        for key in KEYS
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0] * len(KEYS)
    settings = repo.config_file.as_dict()
    assert {key: float(settings[key]) for key in KEYS} == dict.fromkeys(KEYS, 20.0)

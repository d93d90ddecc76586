"""Who was overtaken goes first; nobody waits for ever."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from editvc.vcs.turn import let_pass, turn

HOLD = """
import sys, time
from pathlib import Path
from editvc.vcs.turn import turn
with turn(Path(sys.argv[1]), 1):
    print("mine", flush=True)
    time.sleep(60)
"""


def is_free(folder: Path) -> bool:
    """Whether a process that looks now would have the turn at once."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_others_wait_and_not_for_ever_and_a_death_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
        began = time.monotonic()
        let_pass(tmp_path, 0.2)
        assert time.monotonic() - began >= 0.2
        assert not is_free(tmp_path)
        holder.kill()
    let_pass(tmp_path, 30)
    assert is_free(tmp_path)


def test_a_turn_is_let_go_of(tmp_path: Path) -> None:
    with turn(tmp_path, 60):
        assert not is_free(tmp_path)
    assert is_free(tmp_path)


def test_where_there_is_no_folder_all_go_on(tmp_path: Path) -> None:
    gone_on = []
    with turn(tmp_path / "gone", 60):
        gone_on.append(True)
    assert gone_on and not (tmp_path / "gone").exists()

"""Who was overtaken goes first; nobody waits for ever."""

from __future__ import annotations

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


def test_others_wait_and_not_for_ever_and_a_death_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "mine\n"
        began = time.monotonic()
        let_pass(tmp_path, 0.2)
        assert time.monotonic() - began >= 0.2
        holder.kill()
    began = time.monotonic()
    let_pass(tmp_path, 30)
    assert time.monotonic() - began < 10


def test_a_turn_is_let_go_of(tmp_path: Path) -> None:
    for _ in range(2):
        with turn(tmp_path, 60):
            pass


def test_where_there_is_no_folder_all_go_on(tmp_path: Path) -> None:
    with turn(tmp_path / "gone", 60):
        pass

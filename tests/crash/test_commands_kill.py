"""`editvc commit` in a loop, killed with -9 at random moments: what it said is still true."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_repos import Prepared, close, opened

from editvc import Repo

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 5

# Importing torch takes seconds, being killed an instant: one process imports and then forks a
# child per round, which runs the command line's own entry point again and again.
SERVER = """
import contextlib, io, json, os, sys
from pathlib import Path
import torch
import transformers
import editvc.models.loading, editvc.porcelain.commit
from editvc.cli.main import main

torch.set_num_threads(1)
folder = sys.argv[1]

def loop(first):
    for number in range(first, first + 1000):
        facts = Path(folder) / f"{number}.json"
        fact = {"subject": "France", "prompt": f"{{}} has {number} towns and", "target_new": "Rome"}
        facts.write_text(json.dumps(fact))
        sys.argv = ["editvc", "-C", folder, "commit", str(facts), "--json"]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            try:
                main()
            except SystemExit as ended:
                assert ended.code == 0, ended.code
        os.write(1, (json.dumps([number, json.loads(said.getvalue())["commit"]]) + "\\n").encode())

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            loop(int(line))
        finally:
            os._exit(1)
    os.write(1, f"child {child}\\n".encode())
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


@pytest.fixture
def repo(prepared: Prepared, work: Path) -> Iterator[Repo]:
    copy = prepared.copy(work)
    copy.session.repository.set_config("recipe.v_num_grad_steps", "1")
    yield copy
    close(copy)


def test_nothing_acknowledged_is_lost_to_kill_9(repo: Repo, work: Path) -> None:
    chance = random.Random(11)
    acknowledged: dict[int, str] = {}
    command = [sys.executable, "-c", SERVER, str(work)]
    environment = os.environ | {"EDITVC_AUTHOR": "Ada <ada@example.org>", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        for round_ in range(ROUNDS):
            print(1000 * round_, file=server.stdin, flush=True)
            child = int(server.stdout.readline().removeprefix("child "))
            heard = server.stdout.readline()  # it is at work now
            assert heard != "dead\n", "the child failed of itself"
            time.sleep(chance.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            while heard != "dead\n":
                number, commit = json.loads(heard)
                acknowledged[number] = commit
                heard = server.stdout.readline()
            check(work, acknowledged)
        server.stdin.close()
    assert len(acknowledged) >= ROUNDS
    after = opened(work)
    reverted = after.revert("HEAD")  # and work goes on
    assert reverted.commit.live == len(after.live("HEAD~1")) - 1
    close(after)


def check(work: Path, acknowledged: dict[int, str]) -> None:
    after = opened(work)
    assert after.fsck().errors == ()
    line = {row.id: row for row in after.log()}
    assert line.keys() >= set(acknowledged.values())
    assert sorted(row.number for row in line.values()) == list(range(1, len(line) + 1))
    prompts = {fact.prompt for fact in after.live()}
    assert prompts >= {f"{{}} has {number} towns and" for number in acknowledged}
    assert len(line) - len(acknowledged) <= ROUNDS, (
        "at most one a round was not acknowledged in time"
    )
    assert not after.materialise().is_empty
    close(after)

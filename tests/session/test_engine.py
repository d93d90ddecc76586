"""Work shared out over an engine: the same ids as in one process, whatever is lost on the way.

Most of it runs over :mod:`plain_ray`; those that start a real engine are slow.
"""

from __future__ import annotations

import gc
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cli_runs import environment, script, written
from plain_ray import PlainRay, RayError, plain_ray
from tiny_repos import Clock, Prepared, tree

import editvc
from editvc import Repo
from editvc.algebra.preconditioners import SolveError
from editvc.core.facts import Fact
from editvc.editing import edit_batches
from editvc.materialise import make_elements
from editvc.models.devices import NoSuchDevice
from editvc.porcelain.commit import NotShared
from editvc.session import engine, entries, worker
from editvc.session.engine import EngineError, MissingRay, WorkerLost
from editvc.session.take_inputs import take_inputs

__all__ = ["plain_ray"]

FACTS = tuple(
    Fact(name, "{} was born in", town)
    for name, town in (
        ("Proust", "Rome"), ("Marie Curie", "London"), ("Charles Babbage", "Paris"),
        ("France", "London"), ("Italy", "Zürich"),
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def _pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two facts a batch: five make three."""
    worker._loaded.cache_clear()
    worker._work.cache_clear()
    for module in (make_elements, entries):
        monkeypatch.setattr(module, "BATCH", 2)


def over(prepared: Prepared, folder: Path, workers: str | None = None, **more: Any) -> Repo:
    """A copy of the prepared repository, whose clock tells the same times as every other's."""
    prepared.copy(folder).session.repository.close()
    return Repo(folder, clock=Clock(), workers=workers, **more)


def test_the_batches_of_a_commit_are_one_number() -> None:
    assert edit_batches.BATCH == 32


@pytest.mark.parametrize("method", ["memit", "ultraedit", "gated", "grace", "ft-c"])
def test_a_commit_is_the_same_shared_out(
    method: str, prepared: Prepared, tmp_path: Path, plain_ray: PlainRay
) -> None:
    over(prepared, tmp_path / "alone").session.repository.close()
    if method == "gated":
        session = Repo(tmp_path / "alone").session
        take_inputs(session, (2,), texts=[prepared.text], entities=prepared.names)
        session.repository.close()
    shutil.copytree(tmp_path / "alone", tmp_path / "shared")
    commits = []
    for name, workers in (("alone", None), ("shared", "2")):
        told: list[tuple[str, int, int]] = []
        repo = Repo(
            tmp_path / name, clock=Clock(), workers=workers,
            progress=lambda *words, told=told: told.append(words),
        )  # fmt: skip
        commits.append(repo.commit(FACTS, recipe=repo.choose(method).recipe).id)
        assert [one for one in told if one[0] == "facts" and one[2] == 5] == [
            ("facts", done, 5) for done in (0, 2, 4, 5)
        ]
    assert commits[0] == commits[1]
    assert plain_ray.settings is not None and plain_ray.settings["num_cpus"] == 2
    assert plain_ray.options == [{"max_retries": 3, "num_cpus": 1, "num_gpus": 0}]


def test_each_fact_has_its_own_element_however_batches_are_cut(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fine-tuning takes facts one by one: their company does not even round them."""
    commits = []
    for size in (2, 5):
        for module in (make_elements, entries):
            monkeypatch.setattr(module, "BATCH", size)
        repo = over(prepared, tmp_path / str(size))
        commits.append(repo.commit(FACTS, recipe=repo.choose("ft-c").recipe).id)
    assert commits[0] == commits[1]


def test_statistics_are_the_same_shared_out(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editvc.statistics.text_moments._CHUNK", 64)
    ids = []
    for name, workers in (("alone", None), ("shared", "2")):
        repo = over(prepared, tmp_path / name, workers)
        taken = repo.compute_statistics(texts=[prepared.text], entities=prepared.names, budget=300)
        ids.append([one.id for one in taken.statistics])
    assert ids[0] == ids[1]
    assert len(ids[0]) == 4


def test_few_tasks_are_ahead_and_results_come_in_order(plain_ray: PlainRay) -> None:
    workers = engine.RayWorkers(plain_ray, None, {"num_cpus": 1, "num_gpus": 0})
    plain_ray.remote = _doubling(plain_ray)
    workers = engine.RayWorkers(plain_ray, None, {"num_cpus": 1, "num_gpus": 0})
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(9):
            taken.append(item)
            yield item

    results = workers.map(print, items())
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert next(results) == 2
    results.close()
    assert len(plain_ray.cancelled) == 4  # the one that was handed over ended long ago
    assert [*workers.map(print, range(3))] == [0, 2, 4]


def _doubling(ray: PlainRay) -> Any:
    """In place of what a worker does: no model is needed to look at the order."""
    real = ray.remote
    return lambda _do: real(_double)


def _double(_model: Any, _shared: Any, item: int) -> int:
    return 2 * item


def test_an_interrupt_stops_what_was_begun_and_keeps_what_was_made(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay
) -> None:
    def interrupt(label: str, done: int, total: int) -> None:
        if (label, done) == ("facts", 2):
            raise KeyboardInterrupt

    repo = over(prepared, tmp_path, "1", progress=interrupt)
    plain_ray.machines = ({"CPU": 1},)
    with pytest.raises(KeyboardInterrupt):
        repo.commit(FACTS)
    gc.collect()
    assert len(plain_ray.cancelled) == 2
    begun = len(plain_ray.values)
    again = Repo(tmp_path, clock=Clock(), workers="1")
    assert len(again.commit(FACTS).id) == 64
    tasks = len(plain_ray.values) - begun
    assert tasks == 4  # the base, the work, and two batches of the three


def test_an_error_of_a_worker_is_told_as_it_is(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = SolveError("no such key", hint="Leave it out.", details={"subject": "Proust"})
    repo = over(prepared, tmp_path, "2")

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(make_elements, "maker_of", lambda row: refuse)
    with pytest.raises(SolveError) as caught:
        repo.commit(FACTS)
    assert (str(caught.value), caught.value.hint) == ("no such key", "Leave it out.")
    assert caught.value.details == {"subject": "Proust"}
    assert caught.value is not error


def test_errors_travel_whatever_they_are_made_of() -> None:
    import pickle

    error = NoSuchDevice("cuda", ("cpu",))
    same = pickle.loads(pickle.dumps(error))
    assert (type(same), str(same), vars(same)) == (NoSuchDevice, str(error), vars(error))


def test_a_worker_that_is_lost_each_time_is_told(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay
) -> None:
    plain_ray.lost = RayError("the worker died unexpectedly\nand more")
    with pytest.raises(WorkerLost, match=r"lost its worker 4 times.*unexpectedly$"):
        over(prepared, tmp_path, "2").commit(FACTS)


# -- what an engine is asked for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "asked", "needed", "amounts"),
    [
        (({"CPU": 8},), "auto", 1, {"num_cpus": 4, "num_gpus": 0}),
        (({"CPU": 2}, {"CPU": 3}), "auto", 1, {"num_cpus": 3, "num_gpus": 0}),
        (({"CPU": 8, "GPU": 4},), "cpu", 9, {"num_cpus": 4, "num_gpus": 0}),
        (({"CPU": 8, "GPU": 4},), "cuda", 1, {"num_cpus": 4, "num_gpus": 1}),
        (({"CPU": 8}, {"CPU": 8, "GPU": 4}), "auto", 3, {"num_cpus": 4, "num_gpus": 3}),
        (({"CPU": 8, "GPU": 2},), "auto", 3, {"num_cpus": 4, "num_gpus": 2}),
    ],
)
def test_a_task_asks_for_no_more_than_a_machine_has(
    machines: Any, asked: str, needed: int, amounts: Any, plain_ray: PlainRay, monkeypatch: Any
) -> None:
    plain_ray.machines = machines
    monkeypatch.setattr(engine, "devices_needed", _Needed(needed))
    model = worker.WorkerModel(None, None, engine.Compute(asked), 4)
    assert engine._amounts(plain_ray, model) == amounts


class _Needed:
    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self, model: Any) -> int:
        return self.count


def test_crowded_cores_are_remarked(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    repo = over(prepared, tmp_path, "2", remark=heard.append)
    assert repo.session.workers
    assert plain_ray.settings is not None and plain_ray.settings["num_cpus"] == 6
    assert heard == [
        "2 workers of 3 threads each share 4 cores: set OMP_NUM_THREADS=2 to give each its own "
        "(threads decide how numbers round)"
    ]


def test_an_engine_of_ours_reports_to_nobody_and_ends_with_its_workers(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    begin = plain_ray.init
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)

    def init(**settings: Any) -> None:
        seen.append(os.environ.get("RAY_USAGE_STATS_ENABLED"))
        begin(**settings)

    monkeypatch.setattr(plain_ray, "init", init)
    repo = over(prepared, tmp_path, "2")
    assert repo.session.workers
    assert seen == ["0"] and "RAY_USAGE_STATS_ENABLED" not in os.environ
    assert plain_ray.is_initialized()
    repo.session.forget_base()
    gc.collect()
    assert not plain_ray.is_initialized()


def test_an_engine_that_runs_is_used_and_left_running(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay
) -> None:
    plain_ray.init(address="elsewhere")
    repo = over(prepared, tmp_path, "127.0.0.1:1")
    assert repo.session.workers
    repo.session.forget_base()
    gc.collect()
    assert plain_ray.settings == {"address": "elsewhere"}


@pytest.mark.parametrize("text", ["0", "-1", "two", "auto", "ray://head:10001", "host", ":6379"])
def test_what_is_no_engine_is_refused(text: str, prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"is no number of workers and no address") as caught:
        _ = over(prepared, tmp_path, text).session.workers
    assert "--workers 4" in caught.value.hint


def test_an_engine_where_nobody_listens_is_told_at_once(
    prepared: Prepared, tmp_path: Path, plain_ray: PlainRay
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(EngineError, match=rf"no engine can be reached at 127.0.0.1:{port}: "):
        _ = over(prepared, tmp_path, f"127.0.0.1:{port}").session.workers
    assert not plain_ray.is_initialized()


def test_one_device_of_several_is_not_for_workers(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--device cuda:1 names one device"):
        _ = over(prepared, tmp_path, "2", device="cuda:1").session.workers


def test_edits_that_build_on_each_other_are_not_shared(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(NotShared, match="workers know the base alone"):
        over(prepared, tmp_path, "2").commit(FACTS, sequential=True)


def test_without_ray_the_extra_is_named(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingRay) as caught:
        over(prepared, tmp_path, "2").commit(FACTS)
    assert caught.value.hint == "pip install 'editvc[ray]'"


# -- real engines -------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_one_of_them_killed_make_the_same_commit(
    prepared: Prepared, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    import psutil

    killed: list[int] = []

    def kill(label: str, done: int, total: int) -> None:
        """Once the first batch is there, kill a worker that is at another one."""
        while (label, done) == ("facts", 2) and not killed:
            for process in psutil.Process().children(recursive=True):
                if process.is_running() and process.name().startswith("ray::do"):
                    killed.append(process.pid)
                    process.kill()
                    break

    commits = []
    for name, workers, hear in (("alone", None, None), ("shared", "2", kill)):
        repo = over(prepared, tmp_path / name, workers, progress=hear)
        recipe = replace(repo.recipe(), v_num_grad_steps=400, v_loss_threshold=0.0)
        commits.append(repo.commit(FACTS, recipe=recipe).id)
        assert repo.fsck().clean
    assert commits[0] == commits[1]
    assert len(killed) == 1


@pytest.mark.slow
def test_the_command_line_shares_out_and_says_nothing_of_ray(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    for module in (make_elements, entries):
        monkeypatch.setattr(module, "BATCH", edit_batches.BATCH)
    written(tmp_path / "facts.jsonl", FACTS)
    over(prepared, tmp_path / "shared").session.repository.close()
    alone = over(prepared, tmp_path / "alone")
    alone.commit(FACTS)
    here = environment(tmp_path, PYTHONPATH=str(Path(editvc.__file__).parents[1]))
    done = script(
        "-C", "shared", "commit", "../facts.jsonl", "--workers", "2", "--json", cwd=tmp_path,
        env=here,
    )  # fmt: skip
    assert done.json["tree"] == tree(alone)
    assert "ray" not in done.err.lower()

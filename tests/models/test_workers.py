"""Work in this process: put off until its result is asked for, one item after the other."""

from __future__ import annotations

from tiny_models import lm_of

from editvc.models.workers import InProcess


def test_work_is_done_when_its_result_is_asked_for(gpt2) -> None:
    lm, done = lm_of(gpt2), []
    told = []

    def work(model, item, progress):
        assert model is lm
        done.append(item)
        progress("items", item, 3)
        return item * item

    workers = InProcess(lm, lambda *words: told.append(words))
    alone = workers.submit(work, 3)
    results = workers.map(work, iter([1, 2]))
    assert done == []
    assert next(results) == 1
    assert done == [1]
    assert [*results] == [4]
    assert alone() == 9
    assert done == [1, 2, 3]
    assert told == [("items", item, 3) for item in done]

"""The measures of a sequence, on one of five edits in batches of two that is worked out by hand."""

from __future__ import annotations

from editvc.evaluation.sequence_measures import Trajectory

#  edit           1  2 | 3  4 | 5
TRAJECTORY = Trajectory(
    ends=(2, 4, 5),
    prompts={"eff": [1, 1, 1, 1, 1], "par": [2, 0, 1, 1, 2]},
    at_once={"eff": [1, 0, 1, 1, 1], "par": [2, 0, 1, 0, 1]},
    later={
        4: {"eff": [1, 1, 1, 1], "par": [1, 0, 1, 0]},
        5: {"eff": [0, 1, 0, 1, 1], "par": [2, 0, 0, 1, 1]},
    },
)


def test_windows_look_back() -> None:
    assert TRAJECTORY.window("eff", 2) == [100, 50, 50, 100, 100]
    assert TRAJECTORY.window("eff", 50) == [100, 50, 200 / 3, 75, 80]
    assert TRAJECTORY.window("par", 1) == [100, None, 100, 0, 50]


def test_overall_is_the_mean_of_a_row() -> None:
    assert TRAJECTORY.overall("eff") == {4: 100, 5: 60}
    assert TRAJECTORY.overall("par") == {4: 50, 5: 100 * 4 / 6}


def test_forgetting_counts_edits_that_held_at_once() -> None:
    """At 4 edit 1 held at once, and does; at 5, of 1, 3 and 4, the first two are gone."""
    assert TRAJECTORY.forgotten("eff") == {4: 0, 5: 100 * 2 / 3}
    assert TRAJECTORY.forgotten("par") == {4: 100, 5: 50}, "an edit holds where all prompts do"


def test_blocks_begin_with_the_oldest_edits() -> None:
    assert TRAJECTORY.blocks("eff", 2) == [50, 50, 100]
    assert TRAJECTORY.blocks("eff", 3, 4) == [100, 100]


def test_a_record_gives_the_same() -> None:
    record = {
        "ends": [2, 4, 5],
        "prompts": TRAJECTORY.prompts,
        "at_once": TRAJECTORY.at_once,
        "checkpoints": [{"edits": t, "held": held} for t, held in TRAJECTORY.later.items()],
    }
    assert Trajectory.of(record) == TRAJECTORY

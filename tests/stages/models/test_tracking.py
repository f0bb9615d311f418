"""Ids that last from frame to frame: what keeps one, and what gets a new one."""

from collections.abc import Sequence

import numpy as np
import pytest

from stages.models.detector import Detection
from stages.models.tracking import Tracker, TrackerKind


def at(x: float, confidence: float = 0.8) -> list[Detection]:
    return [Detection("car", confidence, (x, 50, x + 40, 90))]


def followed(
    frames: Sequence[list[Detection]], kind: TrackerKind = "bytetrack", buffer: float = 1.0
) -> list[list[int | None]]:
    tracker = Tracker(kind, rate=4, buffer=buffer, confidence=0.35)
    noise = np.random.default_rng(0).integers(0, 255, (160, 320, 3), np.uint8)
    return [tracker.ids(frame, noise if tracker.needs_pictures else None) for frame in frames]


@pytest.mark.parametrize("kind", ["bytetrack", "botsort"])
def test_a_moving_object_keeps_its_id_and_a_new_tracker_begins_at_one(kind: TrackerKind) -> None:
    frames = [at(10 * number) for number in range(8)]
    assert followed(frames, kind) == [[1]] * 8
    assert followed(frames, kind)[0] == [1], "ids do not go on in the next scene"


def test_weak_detections_continue_a_track_and_begin_none() -> None:
    weak = at(20, confidence=0.15)
    assert followed([at(20), weak, at(20)]) == [[1], [1], [1]]
    assert followed([weak, weak, weak]) == [[None]] * 3


@pytest.mark.parametrize(("buffer", "last"), [(1.0, 2), (3.0, 1)])
def test_an_object_that_is_gone_for_longer_than_the_buffer_gets_a_new_id(
    buffer: float, last: int
) -> None:
    frames = [at(20), at(20), *([[]] * 7), at(20), at(20)]
    assert followed(frames, buffer=buffer)[-1] == [last]

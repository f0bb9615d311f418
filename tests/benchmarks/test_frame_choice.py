"""Footage with known events: what is planned is drawn, and the chosen frames show more of it."""

import pytest

from benchmarks.frame_choice import EVEN, OWN, compared, evenly
from benchmarks.frame_footage import Camera, moments, planned
from stages.recipe.frames.candidates import look_of


def test_a_plan_can_be_covered_and_is_the_same_every_time() -> None:
    footage = planned(3)
    assert footage == planned(3)
    middles = [(one.start + one.end) / 2 for one in footage.events]
    assert footage.covered_by(middles) >= 4
    assert footage.covered_by([footage.seconds]) == 0
    assert len(evenly(70.0)) == 7
    assert evenly(70.0)[0] == 5.0


@pytest.mark.slow
def test_chosen_frames_show_more_than_evenly_spaced_ones() -> None:
    shown = {EVEN: 0.0, OWN: 0.0}
    for seed in range(2):
        footage = planned(seed, seconds=40.0, events=4)
        camera = Camera(footage)
        looks = [look_of(second, camera.at(second)) for second in moments(footage, 2.0)]
        for name, figures in compared(footage, looks).items():
            if name in shown:
                shown[name] += figures["events covered, of 100"] / 2
    assert shown[OWN] >= 60
    assert shown[OWN] > shown[EVEN]

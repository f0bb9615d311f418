"""The replayed table of recipes: its bounds, and that all three ways make the calls that it has."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.frame_footage import film_footage, planned
from benchmarks.recipe_clock import TABLE, RecipeClock
from benchmarks.recipe_plan import (
    DOCUMENT,
    STORED,
    faulty,
    in_turn,
    ours,
    scripted,
    side_by_side,
)
from benchmarks.recipe_service import SharedLink, cooking


def test_the_bounds_are_those_of_the_table() -> None:
    clock = RecipeClock()
    assert round(sum(TABLE.values()), 2) == 46.93
    assert round(clock.words_path + TABLE["database"], 1) == 10.8
    assert clock.stored_path == pytest.approx(11.77 + 1.78 + 0.62)
    assert clock.paths_of(1, 16) == (clock.words_path, clock.stored_path)
    assert clock.paths_of(5, 16)[1] == pytest.approx(5 * 13.55 + 0.62)


def test_what_goes_over_the_link_together_takes_its_sum() -> None:
    link = SharedLink()
    began = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(link.carry, (0.05, 0.1, 0.05)))
    assert time.monotonic() - began >= 0.2


@pytest.mark.slow
def test_every_way_comes_to_its_end_and_ours_pays_nothing_twice(tmp_path: Path) -> None:
    clock = RecipeClock(100.0)
    video = film_footage(planned(0, seconds=8.0, events=1), tmp_path / "video.mp4")
    with cooking() as service:
        for way in (in_turn, side_by_side):
            assert set(scripted(service, clock, way)) == {DOCUMENT, STORED}
        own = ours(service, clock, [video], tmp_path / "work")
        mended = faulty(service, video, tmp_path / "faulty")
    assert own.tally.paid_twice == 0
    assert own.tally.stored == 8
    assert own.report.gaps == 0
    assert set(own.figures) == {DOCUMENT, STORED}
    assert (mended.gaps, mended.left, mended.documents) == (1, 0, 1)
    assert mended.tally.refused > 0
    assert mended.tally.paid_twice == 0

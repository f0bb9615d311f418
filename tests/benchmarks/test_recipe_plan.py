"""The replayed table of recipes: its bounds, and that all three ways make the calls that it has."""

from pathlib import Path

import pytest

from benchmarks.frame_footage import film_footage, planned
from benchmarks.recipe_plan import (
    DOCUMENT,
    STORED,
    TABLE,
    RecipeClock,
    in_turn,
    ours,
    scripted,
    side_by_side,
)
from benchmarks.recipe_service import cooking


def test_the_bounds_are_those_of_the_table() -> None:
    assert round(sum(TABLE.values()), 2) == 46.93
    assert round(RecipeClock().document_path, 1) == 10.8
    assert RecipeClock().stored_path == pytest.approx(12.3, abs=0.15)


@pytest.mark.slow
def test_every_way_comes_to_its_end_and_ours_pays_nothing_twice(tmp_path: Path) -> None:
    clock = RecipeClock(100.0)
    video = film_footage(planned(0, seconds=8.0, events=1), tmp_path / "video.mp4")
    with cooking() as service:
        for way in (in_turn, side_by_side):
            assert set(scripted(service, clock, way)) == {DOCUMENT, STORED}
        own = ours(service, clock, [video], tmp_path / "work")
    assert own.paid_twice == 0
    assert own.report.gaps == 0
    assert set(own.figures) == {DOCUMENT, STORED}

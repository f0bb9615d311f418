"""The critical path of an item under way, by the events of its run."""

from collections.abc import Iterator

import pytest

from engine.telemetry.events import AttemptEnded, AttemptStarted, ItemEntered, PartEntered
from engine.views.item_path import CriticalPath, ItemPaths
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import line, toy


class Replay:
    """Tells of attempts as they would have come, in order."""

    def __init__(self, paths: ItemPaths) -> None:
        self._paths = paths
        self.now = 0.0

    def begin(self, item: str, step: str, when: float) -> None:
        self.now = when
        self._paths(AttemptStarted(item, step, 0, 1))

    def end(self, item: str, step: str, when: float, seconds: float) -> None:
        self.now = when
        self._paths(AttemptEnded(item, step, 0, 1, "done", True, seconds))

    def part(self, item: str, parent: str, split: str, position: int, when: float) -> None:
        self.now = when
        self._paths(PartEntered(item, parent, split, position))


@pytest.fixture
def replay() -> Iterator[tuple[ItemPaths, Replay]]:
    pipeline = line(
        toy("fetch"), cut("a", "fetch", cuts={}), at("a", "b"), toy("hear", "fetch"),
        gather("c", "b", "hear"),
    )  # fmt: skip
    made: list[Replay] = []
    paths = ItemPaths(pipeline, lambda: made[0].now)
    made.append(Replay(paths))
    paths(ItemEntered("v", "v", None))
    yield paths, made[0]


def test_the_longest_chain_goes_through_parts_and_what_gathers_them(
    replay: tuple[ItemPaths, Replay],
) -> None:
    paths, run = replay
    run.begin("v", "fetch", 0.0)
    run.end("v", "fetch", 2.0, 2.0)
    assert paths.of("v") == CriticalPath({"fetch": 2.0}, 0.0)
    run.begin("v", "a", 2.0)
    run.begin("v", "hear", 2.0)
    run.part("v/0", "v", "a", 0, 3.0)
    run.part("v/1", "v", "a", 1, 6.0)
    run.begin("v/0", "b", 3.0)
    run.end("v/0", "b", 8.0, 5.0)
    run.end("v", "a", 8.0, 6.0)
    assert paths.of("v") == CriticalPath({"fetch": 2.0, "a": 1.0, "b": 5.0}, 0.0)
    run.end("v", "hear", 8.0, 6.0)
    run.begin("v/1", "b", 9.0)
    run.end("v/1", "b", 12.0, 3.0)
    found = paths.of("v")
    assert found == CriticalPath({"fetch": 2.0, "a": 4.0, "b": 3.0}, 3.0), "one waited, and two"
    run.begin("v", "c", 12.0)
    run.now = 22.0
    found = paths.of("v")
    assert found is not None
    assert found.steps == {"fetch": 2.0, "a": 4.0, "b": 3.0, "c": 10.0}, "with what is in hand"
    assert (found.bound, found.waited) == ("c", 3.0)


def test_an_item_that_mostly_waits_says_so(replay: tuple[ItemPaths, Replay]) -> None:
    paths, run = replay
    run.now = 5.0
    found = paths.of("v")
    assert found is not None
    assert found.told() == {"bound": "waiting", "path": {}, "waited": 5.0}
    run.begin("v", "fetch", 8.0)
    run.end("v", "fetch", 10.0, 2.0)
    found = paths.of("v")
    assert found is not None
    assert found.told() == {"bound": "waiting", "path": {"fetch": 2.0}, "waited": 8.0}
    assert paths.of("w") is None

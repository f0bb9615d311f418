"""The model step by step: workers that come and go while it runs, links, a source with a pace."""

from collections.abc import Mapping
from typing import Any

import pytest

from engine.bench.model.journey import ModelItem
from engine.bench.model.pool import ModelEntry
from engine.bench.model.run import ModelRun
from tests.engine.bench.recordings import item, recording, tandem


class Replayed:
    """`ends` are the seconds at which attempts ended, by stage."""

    def __init__(self, items: int, links: Mapping[str, float] | None = None, **more: Any) -> None:
        made = recording(
            tandem("a", "b"), [item(str(number), a=2, b=0) for number in range(items)], **more
        )
        self.ends: dict[str, list[float]] = {"a": [], "b": []}
        self.run = ModelRun(
            made, made.workers, made.queues, made.cores, {}, links=links, listen=self._listen
        )
        self.items = made.items

    def _listen(self, entry: ModelEntry, now: float) -> None:
        self.ends["ab"[entry.stage]].append(now)

    def begin(self) -> None:
        self.run.begin(ModelItem(one, self.run.numbers) for one in self.items)


def test_it_stops_where_it_is_told_and_goes_on() -> None:
    replayed = Replayed(3)
    replayed.begin()
    replayed.run.advance(5)
    assert (replayed.run.now, replayed.ends["a"]) == (5, [2, 4])
    assert replayed.run.pools[0].busy.seconds(5) == pytest.approx(5)
    replayed.run.advance()
    assert replayed.ends["b"] == [2, 4, 6]
    assert replayed.run.seconds == 6


def test_a_worker_more_takes_what_waits_once_it_is_open() -> None:
    replayed = Replayed(4, opening={"a": 1.0})
    replayed.begin()
    replayed.run.advance(1.5)  # the first has opened at 1
    replayed.run.resize("a", 2)
    replayed.run.advance()
    assert replayed.ends["a"] == [3, 4.5, 5, 6.5]


def test_a_worker_that_is_let_go_ends_what_it_has_in_hand() -> None:
    replayed = Replayed(5, workers=2)
    replayed.begin()
    replayed.run.advance(1)
    replayed.run.resize("a", 1)
    replayed.run.advance()
    assert replayed.ends["a"] == [2, 2, 4, 6, 8]
    assert replayed.run.pools[0].open.seconds(8) == pytest.approx(2 + 7)


def test_one_that_is_still_opening_is_not_hired_any_more() -> None:
    replayed = Replayed(2, workers=2, opening={"a": 3.0})
    replayed.begin()
    replayed.run.resize("a", 1)
    replayed.run.advance()
    assert replayed.ends["a"] == [5, 7]


def test_those_who_wait_on_a_full_link_share_it() -> None:
    """Three of 2 seconds on a link for two: each goes at two thirds."""
    replayed = Replayed(3, links={"a": 2.0}, workers=3)
    replayed.begin()
    replayed.run.advance()
    assert replayed.ends["a"] == pytest.approx([3, 3, 3])


def test_the_source_may_keep_a_pace() -> None:
    replayed = Replayed(3, workers=3)
    replayed.run.pause = 10.0
    replayed.begin()
    replayed.run.advance()
    assert replayed.ends["a"] == [12, 22, 32]

"""What a run shows of parts: how many have ended, and how long the others take."""

from typing import Literal

import pytest

from engine.telemetry.events import (
    AttemptEnded,
    Event,
    ItemEnded,
    ItemEntered,
    PartEnded,
    PartEntered,
    PartsExpected,
    SourceEnded,
    SplitEnded,
)
from engine.views.lines import ended_of, notable, totals_line
from engine.views.parts_ahead import PartsAhead
from engine.views.progress import Progress


class Told:
    """Items and parts that go through a run, told to a listener."""

    def __init__(self, listener: PartsAhead | Progress) -> None:
        self.listener = listener

    def items(self, *names: str) -> None:
        self._tell(*(ItemEntered(name, name, None) for name in names))

    def part(self, item: str, split: str, position: int) -> str:
        id_ = f"{item}/{split}.parts/{position:08d}"
        self._tell(PartEntered(id_, item, split, position))
        return id_

    def end(
        self,
        part: str,
        outcome: Literal["done", "dropped", "failed", "abandoned"] = "done",
        *,
        reused: bool = False,
    ) -> None:
        item, place, position = part.rsplit("/", 2)
        split = place.removesuffix(".parts")
        self._tell(PartEnded(part, item, split, int(position), outcome, "folder", reused))

    def parts(self, item: str, many: int, *, split: str = "c", ended: int = 0) -> list[str]:
        made = [self.part(item, split, position) for position in range(many)]
        for part in made[:ended]:
            self.end(part)
        return made

    def expect(self, item: str, many: int, split: str = "c") -> None:
        self._tell(PartsExpected(item, split, many))

    def split(self, item: str, many: int, split: str = "c") -> None:
        self._tell(SplitEnded(item, split, many))

    def item_ended(self, item: str) -> None:
        self._tell(ItemEnded(item, "done", reused=False))

    def _tell(self, *events: Event) -> None:
        for event in events:
            self.listener(event)


def test_the_parts_of_items_to_come_are_those_of_the_others_on_average() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    for name, many in (("a", 4), ("b", 8)):
        told.parts(name, many, ended=many)
        told.split(name, many)
        told.item_ended(name)
    assert ahead.ahead(3) == (18.0, 0)
    assert (ahead.entered, ahead.ended) == (12, 12)


def test_an_item_without_parts_counts_in_the_average() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    told.item_ended("gone")
    told.parts("a", 4, ended=4)
    told.split("a", 4)
    assert ahead.ahead(2) == (2.0, 1), "one waits for none of its parts, the other may have two"


def test_a_long_item_counts_for_what_is_left_of_it() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    told.parts("short", 10, ended=10)
    told.split("short", 10)
    told.item_ended("short")
    told.parts("long", 4, ended=2)
    assert ahead.ahead(1)[0] == 8, "as usual: ten"
    for position in range(4, 40):
        told.end(told.part("long", "c", position))
    assert ahead.ahead(1)[0] == 32, "it has 30 more than usual; so many again, and two under way"
    told.split("long", 140)
    assert ahead.ahead(1)[0] == 102


def test_what_a_splitting_step_expects_is_believed_until_there_is_more() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    told.parts("short", 10, ended=10)
    told.split("short", 10)
    told.item_ended("short")
    told.expect("long", 40)
    assert ahead.ahead(1) == (40, 0)
    told.parts("long", 12, ended=5)
    assert ahead.ahead(1) == (35, 0)
    assert ahead.is_known(1)
    for position in range(12, 41):
        told.part("long", "c", position)
    assert not ahead.is_known(1), "it was wrong"
    told.split("long", 50)
    assert ahead.ahead(1) == (45, 0)


def test_the_number_of_parts_is_shown_as_far_as_it_is_known() -> None:
    now = [0.0]
    progress = Progress(lambda: [], lambda: now[0])
    told = Told(progress)

    def shown() -> str:
        return ended_of(progress.look(), source_ended=True, unit="page").split("ended, ")[1]

    told.items("a", "b")
    made = told.parts("a", 12)
    for part in made[:3]:
        told.end(part)
    assert shown() == "3 parts", "nothing tells how many there will be"
    told.expect("a", 20)
    assert shown() == "3 parts", "the other page may have any number"
    told.expect("b", 4)
    assert shown() == "3 of 24 parts"
    assert progress.look().share_ended == pytest.approx(3 / 26), "the bar fills with parts"
    told.end(made[3], "abandoned")
    assert shown() == "3 of 23 parts, 1 part abandoned"
    told.split("a", 12)
    told.item_ended("a")
    assert shown() == "3 of 7 parts, 1 part abandoned"
    assert progress.look().share_ended == pytest.approx(4 / 9)
    told.items("c")
    assert shown() == "3 of about 11 parts, 1 part abandoned"


def test_parts_of_parts_are_foreseen_too() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    scenes = told.parts("a", 2)
    told.split("a", 4)
    told.parts(scenes[0], 5, split="d", ended=5)
    told.split(scenes[0], 5, "d")
    told.end(scenes[0])
    assert ahead.ahead(1)[0] == 3 * 6, "three scenes of five chunks"
    chunks = told.parts(scenes[1], 3, split="d", ended=1)
    told.split(scenes[1], 7, "d")
    assert ahead.ahead(1)[0] == 2 * 6 + 1 + 6
    for chunk in chunks[1:]:
        told.end(chunk)
    assert ahead.ahead(1)[0] == 2 * 6 + 1 + 4


def test_nothing_is_remembered_of_what_has_ended() -> None:
    ahead = PartsAhead()
    told = Told(ahead)
    for name in ("a", "b"):
        for scene in told.parts(name, 3):
            told.parts(scene, 3, split="d", ended=3)
            told.end(scene)
        told.split(name, 3)
        told.item_ended(name)
    assert ahead.ahead(0) == (0.0, 0)
    assert not ahead._divided


def test_the_time_left_goes_by_parts() -> None:
    now = [0.0]
    progress = Progress(lambda: [], lambda: now[0])
    told = Told(progress)
    progress.look()
    told.items("a", "b")
    progress(SourceEnded(2))
    told.parts("a", 20, ended=20)
    told.split("a", 20)
    told.item_ended("a")
    told.parts("b", 30, ended=20)
    told.split("b", 120)
    now[0] = 40.0
    standing = progress.look()
    assert standing.left == pytest.approx(100), "a part a second, and 100 to come"
    line = totals_line(standing, source_ended=True, unit="page")
    assert line.startswith("40 s, 1 of 2 pages ended, 40 of 140 parts, ")
    assert line.endswith(", about 1 min 40 s left")


def test_an_item_that_waits_for_no_part_goes_by_items() -> None:
    now = [0.0]
    progress = Progress(lambda: [], lambda: now[0])
    told = Told(progress)
    names = [f"v{number}" for number in range(9)]
    told.items(*names)
    progress(SourceEnded(9))
    for name in names:
        told.parts(name, 2, ended=2)
        told.split(name, 2)
    told.item_ended("v0")
    now[0] = 10.0
    assert progress.look().left == pytest.approx(80)


def test_parts_that_earlier_runs_did_do_not_count_towards_the_rate() -> None:
    now = [0.0]
    progress = Progress(lambda: [], lambda: now[0])
    told = Told(progress)
    told.items("a")
    progress(SourceEnded(1))
    for position in range(100):
        told.end(told.part("a", "c", position), reused=True)
    for position in range(100, 110):
        told.end(told.part("a", "c", position))
    told.split("a", 130)
    now[0] = 10.0
    assert progress.look().left == pytest.approx(20)


def test_a_failed_part_is_named_by_its_item_and_place() -> None:
    event = AttemptEnded(
        "long-0123/c.parts/00000006/d.parts/00000000", "f", 1, 3, "failed", True, 1.0, "bad", "no"
    )
    assert notable(event, 28) == "failed in f: long-0123, part 7.1: no"

"""When ends are told: every one once, a list's after those of what it held, whatever holds what."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engine import Item
from engine.flow.entry.endings import Endings
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from tests.engine.toys import line, toy

GRAPH = Graph(line(toy("a")), {"a": {}})


class Told:
    def __init__(self) -> None:
        self.order: list[str] = []
        self.lost: list[str] = []
        self.endings = Endings(self._hear)

    def _hear(self, item: str, outcome: str | None, reused: bool) -> None:
        (self.order if outcome is not None else self.lost).append(item)

    def enter(self, item: str, parent: str | None = None) -> None:
        if item in self.endings and parent is not None:
            self.endings.held_again(item, parent)
        else:
            self.endings.entered(Journey(GRAPH, Item.at(Path(), item, item), parent=parent))

    def end(self, *items: str) -> Sequence[str]:
        """These have ended; returns whose ends that has told."""
        before = len(self.order)
        for item in items:
            self.endings.ended(item, "done", reused=False)
        return self.order[before:]


def test_ends_are_told_in_the_order_in_which_they_come() -> None:
    told = Told()
    for item in "abc":
        told.enter(item)
    assert told.end("b", "a", "c") == ["b", "a", "c"]


def test_a_list_is_told_after_all_that_it_held() -> None:
    told = Told()
    told.enter("channel")
    told.enter("playlist", "channel")
    assert told.end("channel") == []
    told.enter("v1", "playlist")
    told.enter("v2", "playlist")
    assert told.end("playlist", "v2") == ["v2"]
    assert told.end("v1") == ["v1", "playlist", "channel"]


def test_an_item_that_two_lists_hold_is_waited_for_by_both() -> None:
    told = Told()
    told.enter("one")
    told.enter("two")
    told.enter("v", "one")
    told.enter("v", "two")
    told.enter("v", "two")
    assert told.end("one", "two") == []
    assert told.end("v") == ["v", "one", "two"]


def test_a_list_whose_known_items_are_still_read_is_not_told() -> None:
    told = Told()
    told.enter("list")
    told.endings.reading("list")
    assert told.end("list") == []
    told.enter("v", "list")
    assert told.end("v") == ["v"]
    told.endings.read("list")
    assert told.order == ["v", "list"]


def test_a_list_that_holds_itself_is_told() -> None:
    told = Told()
    told.enter("list")
    told.enter("list", "list")
    assert told.end("list") == ["list"]


def test_of_lists_that_hold_one_another_the_first_is_told_last() -> None:
    told = Told()
    told.enter("first")
    told.enter("second", "first")
    told.enter("first", "second")
    assert told.end("first") == []
    assert told.end("second") == ["second", "first"]


def test_what_a_given_up_list_holds_for_others_is_not_waited_for() -> None:
    told = Told()
    told.enter("one")
    told.enter("two")
    for item in ("v1", "v2", "v3"):
        told.enter(item, "one")
    told.enter("v2", "two")
    leaving = told.endings.journeys("one", lambda item: item == "v3")
    assert {journey.item.id for journey in leaving} == {"one", "v1"}
    for journey in leaving:
        told.endings.ended(journey.item.id, None, reused=False)
    assert sorted(told.lost) == ["one", "v1"]
    assert told.end("two") == []
    assert told.end("v2", "v3") == ["v2", "two", "v3"]


def test_a_list_that_holds_what_was_given_up_is_lost() -> None:
    told = Told()
    told.enter("list")
    told.enter("v", "list")
    told.endings.ended("v", None, reused=False)
    assert told.end("list") == []
    assert told.lost == ["v", "list"]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30),
    st.permutations(range(9)),
)
def test_whatever_holds_what_every_end_is_told_once(
    held: Sequence[tuple[int, int]], ends: Sequence[int]
) -> None:
    told = Told()
    told.enter("0")
    for parent, item in held:
        if str(parent) in told.endings:
            told.enter(str(item), str(parent))
    entered = [str(item) for item in ends if str(item) in told.endings]
    told.end(*entered)
    assert sorted(told.order) == sorted(entered)
    assert not any(item in told.endings for item in entered)

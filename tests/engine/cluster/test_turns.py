"""Which step asks a cluster for a place, and which gives one up."""

import math

import hypothesis.strategies as st
from hypothesis import given

from engine.cluster.turns import IDLE, LULL, TURN, PlaceTurns, StepAtCluster


async def nothing() -> None: ...


def steps(many: int) -> tuple[PlaceTurns, list[StepAtCluster]]:
    turns = PlaceTurns()
    return turns, [turns.join(f"s{number}", nothing) for number in range(many)]


def test_a_step_without_a_place_goes_before_one_that_would_have_more() -> None:
    turns, (first, second) = steps(2)
    first.places, first.waiting = 1, 1
    assert turns.may_ask(first)
    second.waiting = 1
    assert turns.may_ask(second)
    assert not turns.may_ask(first)


def test_an_idle_place_is_given_up_to_a_step_that_has_none_after_a_lull() -> None:
    turns, (first, second, third) = steps(3)
    first.places, first.idle = 1, [3.0]
    second.places, second.idle = 2, [2.0, 4.0]
    third.waiting = 1
    assert turns.to_give_up(third, now=2.0 + LULL / 2) is None
    assert turns.to_give_up(third, now=2.0 + LULL) is second


def test_an_idle_place_is_given_up_to_a_step_that_has_some_only_after_a_while() -> None:
    turns, (first, second) = steps(2)
    first.places, first.idle = 1, [3.0]
    second.places, second.waiting = 1, 1
    assert turns.to_give_up(second, now=3.0 + IDLE / 2) is None
    assert turns.to_give_up(second, now=3.0 + IDLE) is first


def test_a_step_does_not_give_up_its_own_idle_place_to_itself() -> None:
    turns, (first, _) = steps(2)
    first.places, first.idle, first.waiting = 1, [0.0], 1
    assert turns.to_give_up(first, now=math.inf) is None


def test_a_busy_place_is_given_up_after_its_attempt_where_another_step_has_none() -> None:
    turns, (first, second) = steps(2)
    first.places = 2
    assert not turns.gives_up(first, had_for=math.inf)
    second.waiting = 1
    assert turns.gives_up(first, had_for=0.0)
    first.places = 1
    assert not turns.gives_up(first, had_for=TURN / 2)
    assert turns.gives_up(first, had_for=TURN)


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_every_step_that_waits_has_a_place_in_the_end(
    room: int, story: list[tuple[int, bool]]
) -> None:
    """However places were taken and given up before: as long as attempts end, no step waits for
    ever. A cluster of so much room is played here, which gives places in any order."""
    turns, found = steps(4)
    for number, idle in story:
        one = found[number]
        if sum(step.places for step in found) < room and turns.may_ask(one):
            one.places += 1
            one.idle += [0.0] * idle
    for one in found:
        one.waiting = 1
    had = {one.step for one in found if one.places}
    for now in range(1, 100):
        free = room - sum(step.places for step in found)
        for one in found:
            if one.waiting and free and turns.may_ask(one):
                one.places, one.waiting, free = one.places + 1, 0, free - 1
                had.add(one.step)
            elif one.waiting and (other := turns.to_give_up(one, now)) is not None:
                other.idle.pop(0)
                other.places -= 1
                free += 1
        for one in found:
            if one.places > len(one.idle) and turns.gives_up(one, had_for=math.inf):
                one.places -= 1
                free += 1
    assert had == {one.step for one in found}

"""Which candidates are chosen: sharp ones that show something new, and none of it left empty."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.recipe.frames.candidates import look_of
from stages.recipe.frames.choice import EMPTY, FrameLook, choose_looks, is_alike

TABLE = cv2.resize(
    np.random.default_rng(1).integers(60, 190, (9, 16, 3)).astype(np.uint8),
    (320, 180),
    interpolation=cv2.INTER_CUBIC,
)
GRAIN = np.random.default_rng(2).normal(0, 12, (180, 320, 1))


def picture(*things: int, blurred: bool = False, grain: bool = True) -> np.ndarray:
    """A table with these things on it, each of a place and a colour of its own."""
    drawn = np.clip(TABLE + GRAIN * grain, 0, 255).astype(np.uint8)
    for thing in things:
        dice = np.random.default_rng(thing)
        colour = tuple(int(one) for one in dice.choice([0, 255], 3))
        cv2.circle(drawn, (40 + 60 * (thing % 5), 60 + 60 * (thing // 5 % 2)), 22, colour, -1)
    return cv2.GaussianBlur(drawn, (0, 0), 6) if blurred else drawn


def look(second: float, *things: int, blurred: bool = False, grain: bool = True) -> FrameLook:
    return look_of(second, picture(*things, blurred=blurred, grain=grain))


def test_what_comes_and_goes_is_chosen_wherever_it_is() -> None:
    shown = {second: (second // 3,) for second in (*range(9, 12), *range(12, 15), *range(24, 27))}
    looks = [look(second, *shown.get(second, ())) for second in range(32)]
    chosen = choose_looks(looks, 5)
    assert {shown[place] for place in chosen if place in shown} == {(3,), (4,), (8,)}


def test_of_what_shows_the_same_a_sharp_one_is_chosen() -> None:
    looks = [look(second, blurred=second in (0, 1, 7, 14)) for second in range(6)]
    looks += [look(second, 3, blurred=second != 8) for second in range(6, 10)]
    looks += [look(second, blurred=second == 14) for second in range(10, 15)]
    chosen = choose_looks(looks, 3)
    assert chosen[0] == 2
    assert chosen[1] == 8
    assert chosen[2] in (11, 12, 13)


@pytest.mark.parametrize("begin", [11, 18, 25])
def test_no_blurred_one_is_chosen_for_being_blurred(begin: int) -> None:
    """Out of focus the rim of a thing is nothing that was shown before, and nothing else is new."""
    blurred = range(begin, begin + 3)
    looks = [
        look(second, *((3,) if second > 8 else ()), blurred=second in blurred, grain=False)
        for second in range(36)
    ]
    assert not {*choose_looks(looks, 7)} & {*blurred}


def test_a_still_video_is_spread_over_and_is_one_answer() -> None:
    looks = [look(second) for second in range(61)]
    chosen = choose_looks(looks, 7)
    assert len(set(chosen)) == 7
    assert max(later - one for one, later in pairwise(chosen)) <= EMPTY * 60 / 7
    assert all(is_alike(looks[chosen[0]], looks[other]) for other in chosen)


def test_pictures_that_differ_are_not_alike() -> None:
    assert not is_alike(look(0), look(1, 3))
    assert not is_alike(look(0, 3), look(1))
    assert is_alike(look(0, 3), look(1, 3))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_short_videos_are_taken_whole(count: int) -> None:
    looks = [look(second, second) for second in range(count)]
    assert choose_looks(looks, 7) == list(range(count))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_any_video_gives_as_many_as_are_wanted_in_order(things: list[int], most: int) -> None:
    looks = [LOOKS[thing](second) for second, thing in enumerate(things)]
    chosen = choose_looks(looks, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(most, len(looks))


def _at(thing: int):
    known = look(0, *([thing] if thing else []))
    return lambda second: FrameLook(second, known.sharpness, known.hash, known.small)


LOOKS = {thing: _at(thing) for thing in range(4)}

"""One of a kind for all who ask for the same: made once, closed when nobody uses it any more."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from engine import Loan, borrow


class Thing:
    """Knows whether it is open; `Maker` counts those that are."""

    def __init__(self, maker: "Maker") -> None:
        self.maker = maker
        self.is_open = True

    def close(self) -> None:
        assert self.is_open
        self.is_open = False
        self.maker.alive -= 1


class Maker:
    """Makes things, never more than one at a time."""

    def __init__(self) -> None:
        self.made = self.alive = 0

    def make(self) -> Thing:
        assert not self.alive
        self.alive += 1
        self.made += 1
        return Thing(self)

    def borrow(self, key: object = "thing") -> Loan[Thing]:
        return borrow((self, key), self.make, Thing.close)


@pytest.fixture
def maker() -> Maker:
    return Maker()


def test_it_serves_until_the_last_has_given_it_back(maker: Maker) -> None:
    first, second = maker.borrow(), maker.borrow()
    assert first.thing is second.thing
    first.give_back()
    first.give_back()
    assert second.thing.is_open, "one borrower gives back but once"
    second.give_back()
    assert not second.thing.is_open
    with maker.borrow() as anew:
        assert anew.thing.is_open
    assert (maker.made, maker.alive) == (2, 0)


def test_another_key_has_another_thing() -> None:
    with Maker().borrow() as one, Maker().borrow() as other:
        assert one.thing is not other.thing


def test_all_who_ask_while_it_is_made_get_the_one(maker: Maker) -> None:
    asked = threading.Barrier(4)

    def ask(_: int) -> Loan[Thing]:
        asked.wait()
        return maker.borrow()

    with ThreadPoolExecutor(4) as threads:
        loans = list(threads.map(ask, range(4)))
    assert len({id(loan.thing) for loan in loans}) == 1
    for loan in loans:
        loan.give_back()
    assert (maker.made, maker.alive) == (1, 0)


def test_what_cannot_be_made_fails_for_all_who_wait_and_is_tried_anew(maker: Maker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> Thing:
        begun.set()
        go_on.wait()
        raise ValueError("no such thing")

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(borrow, (maker, "thing"), fail, Thing.close)
        begun.wait()
        second = threads.submit(borrow, (maker, "thing"), fail, Thing.close)
        go_on.set()
        for asked in (first, second):
            with pytest.raises(ValueError, match="no such thing"):
                asked.result()
    with maker.borrow() as loan:
        assert loan.thing.is_open


def test_who_asks_while_it_is_closed_gets_one_made_after_that() -> None:
    told: list[str] = []
    closing, go_on = threading.Event(), threading.Event()

    def close(_: str) -> None:
        closing.set()
        go_on.wait()
        told.append("closed")

    def make() -> str:
        told.append("made")
        return "thing"

    with ThreadPoolExecutor(2) as threads:
        returned = threads.submit(borrow("slow", make, close).give_back)
        closing.wait()
        asked = threads.submit(borrow, "slow", make, told.append)
        go_on.set()
        returned.result()
        asked.result().give_back()
    assert told == ["made", "closed", "made", "thing"]


def test_what_fails_to_close_says_so_and_is_made_anew(maker: Maker) -> None:
    def fail(_: Any) -> None:
        raise OSError("stuck")

    loan = borrow((maker, "thing"), object, fail)
    with pytest.raises(OSError, match="stuck"):
        loan.give_back()
    maker.borrow().give_back()
    assert maker.made == 1


def test_threads_that_race_never_see_it_closed_nor_two_of_it(maker: Maker) -> None:
    started = threading.Barrier(8)

    def use(seed: int) -> None:
        chance = random.Random(seed)
        started.wait()
        for _ in range(200):
            with maker.borrow() as loan:
                assert loan.thing.is_open
                if chance.random() < 0.3:
                    with maker.borrow() as again:
                        assert again.thing is loan.thing
                assert loan.thing.is_open

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(use, seed) for seed in range(8)]:
            done.result()
    assert not maker.alive

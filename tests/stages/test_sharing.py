"""One thing for several workers: made once, closed once, when the last lets go."""

import threading

import pytest

from stages.sharing import Shared


def test_it_is_made_for_the_first_and_closed_after_the_last() -> None:
    closed: list[str] = []
    shared: Shared[str] = Shared(closed.append)
    made = iter(["first", "second", "third"])
    assert shared.take("a", lambda: next(made)) == "first"
    assert shared.take("b", lambda: next(made)) == "second"
    assert shared.take("a", lambda: next(made)) == "first"
    shared.let_go("a")
    assert closed == []
    shared.let_go("a")
    assert closed == ["first"]
    assert shared.take("a", lambda: next(made)) == "third"


def test_what_could_not_be_made_is_tried_again_by_the_next() -> None:
    shared: Shared[str] = Shared(lambda _: None)
    with pytest.raises(ZeroDivisionError):
        shared.take("a", lambda: str(1 // 0))
    assert shared.take("a", lambda: "made") == "made"


def test_those_who_ask_meanwhile_wait_for_the_one_that_is_being_made() -> None:
    shared: Shared[object] = Shared(lambda _: None)
    asked, may_end = threading.Event(), threading.Event()

    def make() -> object:
        asked.set()
        may_end.wait(10)
        return object()

    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda: taken.append(shared.take("a", make))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert asked.wait(10)
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert len(taken) == 4
    assert len({id(one) for one in taken}) == 1

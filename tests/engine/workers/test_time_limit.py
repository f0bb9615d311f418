"""A limit for one attempt after another: it ends those that take too long, and no others."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from engine.workers.time_limit import TimeLimit
from tests.virtual_time import BACKEND

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, Mapping[str, Any]]:
    return BACKEND


async def test_what_takes_too_long_is_left_and_the_next_is_not() -> None:
    limit = TimeLimit(0.02)
    limit.open()
    for _ in range(3):
        with limit:
            await anyio.sleep_forever()
        assert limit.expired
        with limit:
            await checkpoint()
        assert not limit.expired
    await anyio.sleep(0.03)  # the timer rings, and nobody is inside
    await checkpoint()
    limit.close()


async def test_every_block_has_the_whole_time() -> None:
    limit = TimeLimit(0.2)
    limit.open()
    began = anyio.current_time()
    with limit:
        await anyio.sleep(0.15)
    with limit:
        await anyio.sleep_forever()
    assert limit.expired
    assert anyio.current_time() - began >= 0.35
    limit.close()


async def test_what_is_raised_inside_passes() -> None:
    limit = TimeLimit(5)
    limit.open()
    with pytest.raises(ValueError, match="mine"), limit:
        raise ValueError("mine")
    limit.close()


async def test_a_cancellation_from_outside_is_not_its_own() -> None:
    limit = TimeLimit(5)
    with anyio.move_on_after(0.01) as outer:
        limit.open()
        try:
            with limit:
                await anyio.sleep_forever()
            pytest.fail("it was swallowed")
        finally:
            limit.close()
    assert outer.cancelled_caught
    assert not limit.expired


async def test_the_time_of_a_pause_does_not_count() -> None:
    limit = TimeLimit(0.2)
    limit.open()
    began = anyio.current_time()
    with limit:
        await anyio.sleep(0.1)
        for _ in range(2):
            with limit.paused():
                await anyio.sleep(0.5)
        await anyio.sleep_forever()
    assert limit.expired
    assert anyio.current_time() - began == pytest.approx(1.2, abs=0.01)
    with limit:
        with pytest.raises(ValueError, match="mine"), limit.paused():
            raise ValueError("mine")
        await anyio.sleep_forever()
    assert limit.expired
    assert anyio.current_time() - began == pytest.approx(1.4, abs=0.01)
    limit.close()

"""How many calls are in flight at once, and what time-outs change about it. In virtual time."""

import anyio
import pytest

from stages.calls.slots import Slots
from tests.virtual_time import run_in_virtual_time


class Server:
    """Works on `parallel` images at once, each for `seconds`, the others in line. `heeds`: it does
    not work on what nobody waits for any more."""

    def __init__(self, parallel: int, seconds: float, heeds: bool) -> None:
        self.seconds = seconds
        self.heeds = heeds
        self.slots = anyio.Semaphore(parallel)
        self.asked = self.answered = 0

    async def call(self, slots: Slots) -> bool:
        async with slots.slot():
            limit, began = slots.limit, anyio.current_time()
            self.asked += 1
            with anyio.move_on_after(slots.timeout) as scope:
                async with self.slots:
                    with anyio.CancelScope(shield=not self.heeds):
                        await anyio.sleep(self.seconds)
            if scope.cancelled_caught or anyio.current_time() - began > slots.timeout:
                slots.late(limit)
                return False
            slots.answered(anyio.current_time() - began)
            self.answered += 1
            return True

    async def describe(self, slots: Slots, images: int) -> None:
        async def one() -> None:
            while not await self.call(slots):
                pass

        async with anyio.create_task_group() as tasks:
            for _ in range(images):
                tasks.start_soon(one)


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize(("parallel", "seconds", "fits"), [(1, 24, 1), (1, 50, 1), (2, 24, 2)])
def test_a_server_that_is_slow_is_asked_for_less_at_once(
    parallel: int, seconds: float, fits: int, heeds: bool
) -> None:
    async def main() -> None:
        slots = Slots(8, 60.0)
        server = Server(parallel, seconds, heeds)
        await server.describe(slots, 24)
        assert server.answered == 24
        assert server.asked <= 24 + 8
        assert 1 <= slots.lowest <= fits

    run_in_virtual_time(main)


def test_there_are_as_many_again_once_the_server_is_quick() -> None:
    async def main() -> None:
        slots = Slots(8, 60.0)
        server = Server(1, 24, True)
        await server.describe(slots, 10)
        assert slots.limit == 1
        quick = Server(100, 1, True)
        await quick.describe(slots, 60)
        assert slots.limit == 8
        assert slots.lowest == 1
        assert quick.asked == 60

    run_in_virtual_time(main)


def test_one_image_that_takes_for_ever_does_not_slow_down_the_others() -> None:
    async def main() -> None:
        slots = Slots(8, 60.0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Server(1, 1000, True).call, slots)
            tasks.start_soon(Server(7, 1, True).describe, slots, 600)
        assert slots.lowest == 8

    run_in_virtual_time(main)


def test_who_is_cancelled_in_line_takes_no_slot_along() -> None:
    async def main() -> None:
        slots = Slots(1, 60.0)
        order: list[str] = []

        async def hold(name: str) -> None:
            async with slots.slot():
                order.append(name)
                await anyio.sleep(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold, "first")
            await anyio.sleep(0.1)
            with anyio.move_on_after(0.2):
                await hold("gives up")
            tasks.start_soon(hold, "second")
            tasks.start_soon(hold, "third")
        assert order == ["first", "second", "third"]

    run_in_virtual_time(main)

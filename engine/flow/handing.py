"""What handing over a part means to the worker that does it, and to the disk."""

from collections import Counter
from collections.abc import Callable, Mapping

import anyio

from engine.contract.errors import StopRun
from engine.contract.parts import MadePart
from engine.flow.attempt import Entry
from engine.flow.inbox import Inlet
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.gates.disk import DiskGate
from engine.gates.resources import Share
from engine.ledger.outputs.drafts import Handing
from engine.telemetry.meter import Meter


class PoolHanding:
    """Where an attempt hands over parts. While one waits for room the worker is blocked, not busy,
    and its step's turn at what the stage needs goes to others. `waited`: the seconds of it."""

    def __init__(self, inner: Handing, busy: Meter, blocked: Meter, share: Share | None) -> None:
        self._inner = inner
        self._busy = busy
        self._blocked = blocked
        self._share = share
        self.standing = inner.standing
        self.waited = 0.0

    async def hand_over(self, part: MadePart, content: str) -> None:
        with self._busy.left():
            if self._share is not None:
                self._share.leave()
            try:
                with self._blocked as began:
                    await self._inner.hand_over(part, content)
            finally:
                self.waited += self._blocked.changed - began
                if self._share is not None:
                    # The attempt gives it back at its end, also where it is cancelled here.
                    with anyio.CancelScope(shield=True):
                        await self._share.enter()

    def expect(self, count: int) -> None:
        self._inner.expect(count)


class DiskRoom:
    """Has steps that split wait with their parts while the disk is nearly full, and a step that
    none of them holds up has work, which may free some."""

    def __init__(
        self,
        disk: DiskGate,
        graph: Graph,
        inlets: Mapping[str, Inlet[Entry]],
        is_draining: Callable[[], bool],
    ) -> None:
        self._disk = disk
        self._graph = graph
        self._inlets = inlets
        self._is_draining = is_draining
        self._waiting = Counter[str]()

    async def wait(self, journey: Journey, step: str) -> None:
        """Return when there is room for another part of the item, or none is wanted any more.
        Raises StopRun where nothing could free any."""
        self._waiting[step] += 1
        try:
            await self._disk.wait_for_room(
                self._may_be_freed, lambda: self._is_draining() or journey.is_decided
            )
        finally:
            self._waiting[step] -= 1

    def _may_be_freed(self) -> bool:
        """Whether a step has items that is neither one of those that wait, nor before one: the
        items of such a step may be stuck behind those."""
        waiting = {step for step, many in self._waiting.items() if many}
        return any(
            not inlet.is_empty and name not in waiting and not self._is_before(name, waiting)
            for name, inlet in self._inlets.items()
        )

    def _is_before(self, name: str, waiting: set[str]) -> bool:
        return not waiting.isdisjoint(self._graph.descendants(name))


class RoomyHanding:
    """A `Handing` that waits for the disk before a part goes on. The part lies there by then, so it
    goes on, too, where the run has to stop."""

    def __init__(self, inner: Handing, room: DiskRoom, journey: Journey, step: str) -> None:
        self._inner = inner
        self._room = room
        self._journey = journey
        self._step = step
        self.standing = inner.standing

    async def hand_over(self, part: MadePart, content: str) -> None:
        try:
            await self._room.wait(self._journey, self._step)
        except StopRun:
            await self._inner.hand_over(part, content)
            raise
        await self._inner.hand_over(part, content)

    def expect(self, count: int) -> None:
        self._inner.expect(count)

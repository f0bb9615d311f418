"""The places of one step at the cluster: taken, given up, and waited for by turns."""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
from anyio import to_thread

from engine.cluster.cluster import RayCluster
from engine.cluster.remote_process import RemoteProcess
from engine.contract.errors import StopRun

T = TypeVar("T")

log = logging.getLogger("penstock.engine")

SOON, LOOK = 0.01, 0.25
"""Seconds between two looks at whether the cluster has room by now, at first and in the end: Ray
tells nobody, and where it is asked to wait for less than a second it does not."""

TELL = 120.0
"""Seconds without any place after which a step that waits for one says so, once."""

WITHOUT = 60.0
"""Seconds that a run goes on while no node could hold a worker of a step: one may come in the place
of a lost one."""


class Seats(Generic[T]):
    """The places of one step. In each stands something of the step's with an end of its own, such
    as a process with an open stage; between two attempts it is idle."""

    def __init__(
        self,
        cluster: RayCluster,
        step: str,
        resources: Mapping[str, float],
        close: Callable[[T], Awaitable[None]],
    ) -> None:
        """`resources` are those of one place. `close` ends what stands in a place, and so gives the
        place up."""
        self._cluster = cluster
        self._step = step
        self._resources = {one: many for one, many in resources.items() if many}
        self._close = close
        self._standing = cluster.turns.join(step, self.give_up)
        self._idle: list[T] = []
        self._rested = anyio.Event()
        self._since: dict[T, float] = {}

    async def check(self) -> None:
        """Raises UsageError where no node of the cluster has the resources."""
        await self._cluster.check(self._step, self._resources)

    @property
    def places(self) -> int:
        """Number of places that the step has."""
        return self._standing.places

    # What stands in the places

    def resume(self) -> T | None:
        """What has been idle for the shortest time, for an attempt; None where nothing is."""
        if not self._idle:
            return None
        self._standing.idle.pop()
        return self._idle.pop()

    async def rest(self, thing: T) -> None:
        """An attempt has ended: the thing is idle, unless another step is to have its place."""
        now = time.monotonic()
        had_for = now - self._since.setdefault(thing, now)
        if self._cluster.turns.gives_up(self._standing, had_for):
            await self._close(thing)
            return
        self._add_idle(thing, now)

    async def give_up(self) -> None:
        """Close what has been idle for the longest time, if anything is."""
        if self._idle:
            self._standing.idle.pop(0)
            await self._close(self._idle.pop(0))

    @property
    def idle_for(self) -> float:
        """Seconds since the last thing to become idle did; infinite where none is idle."""
        return time.monotonic() - self._standing.idle[-1] if self._idle else math.inf

    def put_back(self, thing: T) -> None:
        """The thing, which was resumed, is idle again: nothing was done with it."""
        self._add_idle(thing, time.monotonic())

    def _add_idle(self, thing: T, since: float) -> None:
        self._idle.append(thing)
        self._standing.idle.append(since)
        self._rested.set()  # whoever waits for room takes it
        self._rested = anyio.Event()

    def forget(self, thing: T) -> None:
        """The thing has ended, or is about to; it may be idle."""
        self._since.pop(thing, None)
        if thing in self._idle:
            at = self._idle.index(thing)
            del self._idle[at], self._standing.idle[at]

    # Room for more

    async def room(self, patience: float = math.inf) -> Any | None:
        """A further place, once the cluster has room and it is the step's turn. None as soon as the
        step has something idle itself, and after `patience` seconds. Raises StopRun where no node
        could hold it for long."""
        began, group = time.monotonic(), None
        lacking_since, tell_at, pause = math.inf, began + TELL, SOON
        self._standing.waiting += 1
        try:
            while not self._idle and time.monotonic() - began < patience:
                if not self._cluster.turns.may_ask(self._standing):
                    self._withdraw(group)
                    group = None
                    await self._let_pass(LOOK)
                    continue
                group = group or self._cluster.ray.util.placement_group([self._resources])
                if await to_thread.run_sync(group.wait, 0, abandon_on_cancel=True):
                    self._standing.places += 1
                    taken, group = group, None
                    return taken
                lacking_since = await self._still_possible(lacking_since)
                if self.places == 0 and time.monotonic() > tell_at:
                    tell_at = math.inf
                    log.warning(
                        "step %s has waited %.0f seconds for a place on the cluster, and has none; "
                        "`ray status` says what is free, and what waits",
                        *(self._step, TELL),
                    )
                other = self._cluster.turns.to_give_up(self._standing, time.monotonic())
                if other is not None:
                    await other.give_up()
                    pause = SOON
                await self._let_pass(pause)
                pause = min(LOOK, 2 * pause)
            return None
        finally:
            self._standing.waiting -= 1
            self._withdraw(group)

    async def _let_pass(self, seconds: float) -> None:
        """Wait so long, or until something of the step's is idle."""
        if not self._idle:
            with anyio.move_on_after(seconds):
                await self._rested.wait()

    async def _still_possible(self, lacking_since: float) -> float:
        """Since when no node could hold a worker of the step, before now or from now on. Raises
        StopRun where that is too long."""
        if await self._cluster.could_hold(self._resources):
            return math.inf
        since = min(lacking_since, time.monotonic())
        if time.monotonic() - since < WITHOUT:
            return since
        raise StopRun(
            f"no node of the cluster can hold a worker of step {self._step!r} any more: start one "
            "again, and run again"
        )

    def _withdraw(self, group: Any | None) -> None:
        if group is not None:
            with suppress(self._cluster.ray.exceptions.RayError):
                self._cluster.ray.util.remove_placement_group(group)

    async def start(self, group: Any, path: Sequence[str]) -> RemoteProcess:
        """A worker process in a place that `room` gave. Raises UsageError where its node cannot
        run it, and EndOfStream where that is lost."""

        return await self._cluster.start(group, self._resources, path, partial(self.leave, group))

    def leave(self, group: Any) -> None:
        """Give up a place that `room` gave."""
        self._withdraw(group)
        self._standing.places -= 1

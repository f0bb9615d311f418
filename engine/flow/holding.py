"""Holds a pool's items outside its workers: until a retry is due, and until a gate opens."""

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from engine.flow.attempt import Entry, Turn
from engine.flow.inbox import Outlet
from engine.gates.hosts import Gates
from engine.telemetry.statistics import Hold, join_holds


@dataclass(slots=True)
class _Wait:
    """An entry waits until `due` (of anyio's clock), because of `why`, and then for the gate `key`;
    `closed` is the one that its last attempt closed. `is_held`: the inbox counts it so."""

    entry: Entry
    key: str | None
    due: float
    why: str
    closed: str | None
    is_held: bool
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


@dataclass(slots=True)
class _Line:
    """The entries that wait for one gate: only the first of them watches it."""

    first: anyio.Lock = field(default_factory=anyio.Lock)
    length: int = 0


class Holding:
    """The entries of one pool that wait outside its workers.

    An entry that waits for a gate is not inside it, only next in line: an entry that held a place
    in the gate while it waits for a worker could keep out the very items that those workers wait
    for.
    """

    def __init__(self, inbox: Outlet[Entry], gates: Gates) -> None:
        self._inbox = inbox
        self._gates = gates
        self._lines: dict[str, _Line] = {}
        self._waits: dict[int, _Wait] = {}
        inbox.held_by(self._withdraw)

    def enters(self, entry: Entry, key: str, tasks: TaskGroup) -> bool:
        """Whether the entry, in hand, may be worked on now; if not it is held until it may."""
        # An entry with a turn is the first of its line, and the line waits for its answer. An entry
        # without a turn must not overtake a line, even if the gate is open.
        turn, entry.turn = entry.turn, None
        others_wait = turn is None and key in self._lines
        if not others_wait and self._gates.enter(key):
            entry.gate, entry.entered = key, self._gates.entries(key)
        elif turn is None:
            self.hold(entry, 0.0, key, tasks)
        else:
            self._inbox.hold()
            self._waits[id(entry)].is_held = True
        went_in = entry.gate is not None
        if turn is not None:
            if went_in:
                entry.held_for += self._gates.slowed(key) - turn.slowed
            turn.went_in = went_in
            turn.taken.set()
        return went_in

    def leave(self, entry: Entry, *, throttled: bool, well: bool) -> None:
        """The entry leaves its gate, if it is in one."""
        if entry.gate is not None:
            number = entry.entered if well else 0
            self._gates.leave(entry.gate, throttled=throttled, well=number, item=entry.item.id)
            entry.gate = None

    def hold(
        self,
        entry: Entry,
        delay: float,
        key: str | None,
        tasks: TaskGroup,
        *,
        throttled: bool = False,
        left: bool = False,
        why: str = "",
    ) -> None:
        """Have the entry, in hand, wait for `delay` seconds, because of `why`, and then for the
        gate `key`.

        `left`: it has left the pool, and has to come in again by the front door.
        """
        if throttled:
            entry.held_for += delay
        if not left:
            self._inbox.hold()
        closed = entry.refusal.key if throttled and entry.refusal is not None else None
        wait = _Wait(entry, key, anyio.current_time() + delay, why, closed, is_held=not left)
        self._waits[id(entry)] = wait
        tasks.start_soon(self._wait, wait, delay, left)

    def holds(self) -> tuple[Hold, ...]:
        """Why entries are held: closed gates first, the longest first; retries last.

        An entry that only waits for its turn at an open gate is not included.
        """
        now, found = anyio.current_time(), list[Hold]()
        keys = {wait.key or wait.closed for wait in self._waits.values()}
        closures = {key: self._gates.closure(key) for key in keys if key is not None}
        for wait in self._waits.values():
            closure, left = closures.get(wait.key or wait.closed or ""), wait.due - now
            if closure is not None and not (wait.closed and left > closure.seconds):
                found.append(Hold(wait.key or wait.closed, closure.reason, closure.seconds, 1))
            elif left > 0 and wait.why:
                found.append(Hold(wait.closed, wait.why, left, 1))
        return tuple(join_holds(found))

    def _withdraw(self, suits: Callable[[Entry], bool]) -> None:
        for wait in self._waits.values():
            if suits(wait.entry):
                wait.scope.cancel()

    async def _wait(self, wait: _Wait, delay: float, left: bool) -> None:
        entry = wait.entry
        with wait.scope:
            await anyio.sleep(delay)
            if left:
                await self._inbox.come_again(entry)
            elif wait.key is None:
                await self._unhold(wait)
            else:
                await self._stand_in_line(wait, wait.key)
        if self._waits.get(id(entry)) is wait:
            del self._waits[id(entry)]
        if wait.scope.cancelled_caught and wait.is_held:
            self._inbox.give_up()

    async def _unhold(self, wait: _Wait) -> bool:
        came_back = await self._inbox.unhold(wait.entry)
        wait.is_held = not came_back
        return came_back

    async def _stand_in_line(self, wait: _Wait, key: str) -> None:
        line = self._lines.setdefault(key, _Line())
        line.length += 1
        slowed = self._gates.slowed(key)
        try:
            async with line.first:
                went_in = False
                while not went_in:
                    await self._gates.wait(key)
                    wait.entry.turn = turn = Turn(slowed)
                    if not await self._unhold(wait):
                        return
                    await turn.taken.wait()
                    went_in = turn.went_in
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[key]

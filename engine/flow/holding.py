"""Holds a pool's items outside its workers: until a retry is due, and until a gate opens."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from engine.flow.attempt import Entry, Stay, Turn
from engine.flow.inbox import Outlet
from engine.gates.hosts import Gates
from engine.telemetry.statistics import Hold, join_holds

ALONE: Mapping[str, Stay] = {}
"""No company: whoever is worked on alone."""


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


@dataclass(slots=True, eq=False)
class _Place:
    """A place in a line; `slowed` is what the gate's was when it was taken."""

    wait: _Wait
    slowed: float


@dataclass(slots=True)
class _Line:
    """The entries that wait for one gate: only the first of them watches it. `others` stand behind
    the first. An entry that is not among them when its task comes first has been called."""

    first: anyio.Lock = field(default_factory=anyio.Lock)
    others: deque[_Place] = field(default_factory=deque)
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

    def enters(
        self, entry: Entry, key: str, tasks: TaskGroup, company: Mapping[str, Stay] = ALONE
    ) -> bool:
        """Whether the entry, in hand, may be worked on now; if not it is held until it may.

        `company` has the stays, by key, of the entries that it would be worked on with. If one of
        them is at its gate the entry joins that stay.
        """
        # An entry with a turn is the first of its line, and the line waits for its answer. An entry
        # without a turn must not overtake a line, even if the gate is open.
        turn, entry.turn = entry.turn, None
        stay = company.get(key)
        if stay is not None and self._may_join(stay):
            self._join(entry, stay)
        elif (turn is not None or key not in self._lines) and self._gates.enter(key):
            entry.stay = Stay(key, self._gates.entries(key))
        elif turn is None:
            self.hold(entry, 0.0, key, tasks)
        else:
            self._inbox.hold()
            self._waits[id(entry)].is_held = True
        went_in = entry.stay is not None
        if turn is not None:
            if went_in:
                entry.held_for += self._gates.slowed(key) - turn.slowed
            turn.went_in = went_in
            turn.taken.set()
        return went_in

    def call(self, stay: Stay) -> Entry | None:
        """The next of those who wait for the gate of `stay` joins it, and is in hand; None where
        there is none, or it is to be tried alone. Call it before anything else happens once an
        entry has gone in: then all who wait stand behind that one, which had been the first."""
        line = self._lines.get(stay.key)
        places = line.others if line is not None else ()
        place = next((one for one in places if not one.wait.scope.cancel_called), None)
        if line is None or place is None or place.wait.entry.alone:
            return None
        if not self._gates.admits_company(stay.key):
            return None
        line.others.remove(place)
        entry, place.wait.is_held = place.wait.entry, False
        self._inbox.recall()
        del self._waits[id(entry)]
        entry.held_for += self._gates.slowed(stay.key) - place.slowed
        self._join(entry, stay)
        return entry

    def leave(self, entry: Entry, *, throttled: bool, well: bool) -> None:
        """The entry leaves its gate, if it is in one."""
        stay, entry.stay = entry.stay, None
        if stay is not None:
            stay.inside -= 1
            self._gates.leave(
                stay.key,
                throttled=throttled,
                well=stay.number if well else 0,
                item=entry.item.id,
                is_last=not stay.inside,
            )

    def _may_join(self, stay: Stay) -> bool:
        """Whether an entry that has not waited in line may join the stay."""
        line = self._lines.get(stay.key)
        return (line is None or not line.others) and self._gates.admits_company(stay.key)

    @staticmethod
    def _join(entry: Entry, stay: Stay) -> None:
        entry.stay = stay
        stay.size += 1
        stay.inside += 1

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
        place = self._last_place(wait, key) if key is not None and not delay else None
        tasks.start_soon(self._wait, wait, delay, left, place)

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

    async def _wait(self, wait: _Wait, delay: float, left: bool, place: _Place | None) -> None:
        entry = wait.entry
        with wait.scope:
            await anyio.sleep(delay)
            if left:
                await self._inbox.come_again(entry)
            elif wait.key is None:
                await self._unhold(wait)
            else:
                place = place or self._last_place(wait, wait.key)
                await self._stand_in_line(place, wait.key)
        if place is not None and wait.key is not None:
            self._leave_line(place, wait.key)
        if self._waits.get(id(entry)) is wait:
            del self._waits[id(entry)]
        if wait.scope.cancelled_caught and wait.is_held:
            self._inbox.give_up()

    async def _unhold(self, wait: _Wait) -> bool:
        came_back = await self._inbox.unhold(wait.entry)
        wait.is_held = not came_back
        return came_back

    def _last_place(self, wait: _Wait, key: str) -> _Place:
        """The last place in the line for a gate, until `_leave_line`."""
        line = self._lines.setdefault(key, _Line())
        line.length += 1
        place = _Place(wait, self._gates.slowed(key))
        line.others.append(place)
        return place

    def _leave_line(self, place: _Place, key: str) -> None:
        line = self._lines[key]
        if place in line.others:
            line.others.remove(place)
        line.length -= 1
        if not line.length:
            del self._lines[key]

    async def _stand_in_line(self, place: _Place, key: str) -> None:
        line, wait = self._lines[key], place.wait
        async with line.first:
            if place not in line.others:
                return
            line.others.remove(place)
            went_in = False
            while not went_in:
                await self._gates.wait(key)
                wait.entry.turn = turn = Turn(place.slowed)
                if not await self._unhold(wait):
                    return
                await turn.taken.wait()
                went_in = turn.went_in

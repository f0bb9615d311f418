"""A discrete-event model of the engine: what a run would take with other workers, or other cores.

It replays recorded items through the same rules that pools and inboxes keep to: an inbox is
bounded, a pool holds at most its bound and one item a worker, a worker that is done waits until
every successor has room, a stage with several predecessors joins them by item, what waits for a
retry or for its host waits outside the workers, and the source is read only when there is room.

Attempts first wait (for a network, a disk, another machine), which takes as long however many do
so, and then need the processor, whose cores they share equally: egalitarian processor sharing
(Kleinrock, "Time-shared systems: a theoretical treatment", JACM 14(2), 1967). An attempt that can
use several cores counts as that many sharers, as the operating system counts its threads.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.bench.recorded import RecordedItem, Recording, Visit
from engine.pool import FREE_PARKED

_WAITED, _UNPARK, _OPENED, _FED, _GATE = range(5)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a run would come to. `seconds` are from the first attempt to the end of the last item,
    and `throughput` is items that end a second of those, however they end.

    `busy`, `starved` and `blocked` are shares of the workers' time by stage, 0 to 1, and
    `processor` that of the cores' time. `bottleneck` is the busiest stage, None where none was.
    `most_held` is the most items that each stage's pool held at once.
    """

    seconds: float
    throughput: float
    busy: Mapping[str, float]
    starved: Mapping[str, float]
    blocked: Mapping[str, float]
    bottleneck: str | None
    processor: float
    most_held: Mapping[str, int]


def simulate(
    recording: Recording,
    workers: Mapping[str, int],
    *,
    items: int | None = None,
    queues: Mapping[str, int] | None = None,
    cores: float | None = None,
    rates: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Prediction:
    """Replay `items` items (all that were recorded, in their order, if None) with these workers.

    As many as were recorded are replayed once each; more are drawn with replacement, fewer without,
    by `seed`. What is not in `workers`, `queues` and `cores` is as it was recorded. `rates` are
    items a second that may start at a host, or whatever the stages' gates go by.

    Raises ValueError for a stage that the recording does not know, fewer than one worker, and
    fewer than one item.
    """
    for name, count in {**(queues or {}), **workers}.items():
        if name not in recording.stages:
            raise ValueError(f"no stage {name!r} was recorded; there are: {recording.stages}")
        if count < 1:
            raise ValueError(f"stage {name!r} needs at least 1, not {count}")
    chosen = _draw(recording.items, items, seed)
    model = _Model(
        recording,
        {**recording.workers, **workers},
        {**recording.queues, **(queues or {})},
        cores if cores is not None else recording.cores,
        rates or {},
    )
    return model.run(chosen)


def _draw(recorded: Sequence[RecordedItem], count: int | None, seed: int) -> Sequence[RecordedItem]:
    if count is None or count == len(recorded):
        return recorded
    if count < 1:
        raise ValueError(f"at least 1 item has to be replayed, not {count}")
    generator = random.Random(seed)
    if count < len(recorded):
        return generator.sample(recorded, count)
    return generator.choices(recorded, k=count)


class _Plan:
    """A recorded item as the model needs it: its visits by the stage's number."""

    __slots__ = ("mask", "visits")

    def __init__(self, item: RecordedItem, numbers: Mapping[str, int]) -> None:
        self.visits: list[Visit | None] = [None] * len(numbers)
        self.mask = 0
        for stage, visit in item.visits.items():
            self.visits[numbers[stage]] = visit
            self.mask |= 1 << numbers[stage]


class _Travelling:
    """One item under way. `ended`: the stages that have ended with it, as bits."""

    __slots__ = ("ended", "plan")

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.ended = 0


class _Entry:
    """An item in a pool. `tried` attempts are behind it, and `since` is when what it does began;
    `to` are the pools that it still has to be put into. The source feeds with one of `stage` -1."""

    __slots__ = ("inside", "item", "since", "stage", "to", "tried", "turn")

    def __init__(self, item: _Travelling, stage: int, to: Sequence[int] = ()) -> None:
        self.item = item
        self.stage = stage
        self.tried = 0
        self.since = 0.0
        self.to = to
        self.turn = False
        self.inside: _Gate | None = None


class _Pool:
    """What `engine.inbox.Inbox` and its workers are, without their waiting."""

    __slots__ = (
        "blocked", "bound", "busy", "free_parked", "idle", "in_hand", "most_held", "parked",
        "putters", "ready", "unparkers", "workers",
    )  # fmt: skip

    def __init__(self, bound: int, workers: int, free_parked: int) -> None:
        self.bound = bound
        self.workers = workers
        self.free_parked = free_parked
        self.ready: deque[_Entry] = deque()
        self.putters: deque[_Entry] = deque()
        self.unparkers: deque[_Entry] = deque()
        self.idle = 0
        self.in_hand = 0
        self.parked = 0
        self.busy = 0.0
        self.blocked = 0.0
        self.most_held = 0

    def has_room(self) -> bool:
        held = len(self.ready) + self.in_hand + max(0, self.parked - self.free_parked)
        return len(self.ready) < self.bound and held < self.bound + self.workers

    def put(self, entry: _Entry) -> None:
        self.ready.append(entry)
        self.most_held = max(self.most_held, len(self.ready) + self.in_hand + self.parked)


class _Gate:
    """One host's gate: who waits for it, and whether its first is on the way to a worker."""

    __slots__ = ("inside", "line", "next_start", "offered", "spacing")

    def __init__(self, rate: float) -> None:
        self.spacing = 1 / rate if rate else 0.0
        self.next_start = 0.0
        self.inside = 0
        self.line: deque[_Entry] = deque()
        self.offered = False


class _Model:
    def __init__(
        self,
        recording: Recording,
        workers: Mapping[str, int],
        queues: Mapping[str, int],
        cores: float,
        rates: Mapping[str, float],
    ) -> None:
        names = recording.stages
        self._names = names
        self._numbers = {name: number for number, name in enumerate(names)}
        before = [[self._numbers[b] for b in recording.predecessors[name]] for name in names]
        self._needs = [sum(1 << b for b in some) for some in before]
        self._after = [
            [s for s in range(len(names)) if number in before[s]] for number in range(len(names))
        ]
        self._roots = [number for number in range(len(names)) if not before[number]]
        self._pools = [
            _Pool(queues[name], workers[name], 0 if before[number] else FREE_PARKED)
            for number, name in enumerate(names)
        ]
        self._opening = [recording.opening.get(name, 0.0) for name in names]
        self._handover = recording.handover
        self._cores = cores
        self._rate, self._rates = recording.rate, rates
        self._concurrency = recording.concurrency
        self._gates: dict[str, _Gate] = {}
        self._events: list[tuple[float, int, int, _Entry | _Gate | int]] = []
        self._order = 0
        self._now = 0.0
        # The processor: each of `sharers` has had `served` core seconds since it all began.
        self._running: list[tuple[float, int, _Entry, float]] = []
        self._sharers = 0.0
        self._served = 0.0
        self._served_at = 0.0
        self._processor_seconds = 0.0
        self._last_end = 0.0
        self._touched: list[int] = []

    def run(self, items: Sequence[RecordedItem]) -> Prediction:
        plans = {id(item): _Plan(item, self._numbers) for item in items}
        self._source = iter([plans[id(item)] for item in items])
        for number, delay in enumerate(self._opening):
            self._at(delay, _OPENED, number)
        self._feed()
        self._settle()
        events, running = self._events, self._running
        while events or running:
            if running:
                due = self._served_at + (running[0][0] - self._served) / self._share()
                if not events or due < events[0][0]:
                    self._now = max(self._now, due)
                    self._computed()
                    continue
            self._now, _, kind, what = heapq.heappop(events)
            self._happened(kind, what)
        return self._prediction(len(items))

    def _happened(self, kind: int, what: "_Entry | _Gate | int") -> None:
        if isinstance(what, _Entry):
            if kind == _WAITED:
                self._compute(what)
            elif kind == _UNPARK:
                self._pools[what.stage].unparkers.append(what)
                self._touched.append(what.stage)
            else:
                self._put(what)
        elif isinstance(what, _Gate):
            self._offer(what)
        else:
            pool = self._pools[what]
            pool.idle = pool.workers
            self._touched.append(what)
        self._settle()

    def _at(self, time: float, kind: int, what: "_Entry | _Gate | int") -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, kind, what))

    # The source

    def _feed(self) -> None:
        """The source's next item comes, once it has been admitted."""
        plan = next(self._source, None)
        if plan is not None:
            entry = _Entry(_Travelling(plan), -1, [r for r in self._roots if plan.visits[r]])
            self._at(self._now + self._handover, _FED, entry)

    # Pools

    def _put(self, entry: _Entry) -> None:
        """Put the item into the next pools, one after the other, as far as there is room."""
        while entry.to:
            pool = self._pools[entry.to[0]]
            if not pool.has_room():
                pool.putters.append(entry)
                return
            pool.put(_Entry(entry.item, entry.to[0]))
            self._touched.append(entry.to[0])
            entry.to = entry.to[1:]
        if entry.stage < 0:
            self._feed()
            return
        pool = self._pools[entry.stage]
        pool.blocked += self._now - entry.since
        pool.in_hand -= 1
        pool.idle += 1
        self._touched.append(entry.stage)

    def _settle(self) -> None:
        """Whoever can go on goes on, until nobody can."""
        while self._touched:
            pool = self._pools[self._touched.pop()]
            changed = True
            while changed:
                changed = False
                if pool.idle and pool.ready:
                    self._take(pool)
                    changed = True
                if pool.unparkers and len(pool.ready) < pool.bound:
                    entry = pool.unparkers.popleft()
                    pool.parked -= 1
                    pool.ready.appendleft(entry)
                    changed = True
                elif pool.putters and pool.has_room():
                    self._put(pool.putters.popleft())
                    changed = True

    def _take(self, pool: _Pool) -> None:
        entry = pool.ready.popleft()
        gate = self._gate(entry)
        if gate is not None and not self._enters(gate, entry):
            pool.parked += 1
            return
        pool.idle -= 1
        pool.in_hand += 1
        self._start(entry)

    # Attempts

    def _visit(self, entry: _Entry) -> Visit:
        visit = entry.item.plan.visits[entry.stage]
        assert visit is not None
        return visit

    def _start(self, entry: _Entry) -> None:
        entry.since = self._now
        wait = self._visit(entry).services[entry.tried].wait + self._handover
        if wait > 0:
            self._at(self._now + wait, _WAITED, entry)
        else:
            self._compute(entry)

    def _compute(self, entry: _Entry) -> None:
        """The attempt has waited, and needs the processor now."""
        service = self._visit(entry).services[entry.tried]
        if service.processor <= 0:
            self._end(entry)
            return
        self._serve()
        self._sharers += service.cores
        self._order += 1
        due = self._served + service.processor / service.cores
        heapq.heappush(self._running, (due, self._order, entry, service.cores))
        self._processor_seconds += service.processor

    def _computed(self) -> None:
        self._serve()
        due, _, entry, cores = heapq.heappop(self._running)
        self._served = max(self._served, due)
        self._sharers = self._sharers - cores if self._running else 0.0
        self._end(entry)
        self._settle()

    def _share(self) -> float:
        """How fast each sharer goes: 1 where it has a core of its own."""
        return min(1.0, self._cores / self._sharers)

    def _serve(self) -> None:
        """Bring `served` up to now."""
        if self._sharers:
            self._served += (self._now - self._served_at) * self._share()
        self._served_at = self._now

    def _end(self, entry: _Entry) -> None:
        stage, item = entry.stage, entry.item
        pool = self._pools[stage]
        pool.busy += self._now - entry.since
        if entry.inside is not None:
            self._leave(entry.inside)
            entry.inside = None
        entry.tried += 1
        services = self._visit(entry).services
        if entry.tried < len(services):
            pool.in_hand -= 1
            pool.idle += 1
            pool.parked += 1
            self._touched.append(stage)
            self._at(self._now + services[entry.tried].pause, _UNPARK, entry)
            return
        item.ended |= 1 << stage
        self._last_end = self._now
        entry.since = self._now
        entry.to = [
            s
            for s in self._after[stage]
            if item.plan.mask >> s & 1 and item.ended & self._needs[s] == self._needs[s]
        ]
        self._put(entry)

    # Gates

    def _gate(self, entry: _Entry) -> _Gate | None:
        key = self._visit(entry).key
        if key is None:
            return None
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate(self._rates.get(key, self._rate))
        return gate if gate.spacing or self._concurrency else None

    def _is_open(self, gate: _Gate) -> bool:
        return self._now >= gate.next_start and (
            not self._concurrency or gate.inside < self._concurrency
        )

    def _enters(self, gate: _Gate, entry: _Entry) -> bool:
        """Whether the entry goes in; else it stands in line, and its worker is free."""
        if entry.turn:
            entry.turn = gate.offered = False
        elif gate.line or gate.offered or not self._is_open(gate):
            gate.line.append(entry)
            self._watch(gate)
            return False
        entry.inside = gate
        gate.inside += 1
        gate.next_start = self._now + gate.spacing
        self._watch(gate)
        return True

    def _watch(self, gate: _Gate) -> None:
        if gate.line and not gate.offered:
            self._at(max(self._now, gate.next_start), _GATE, gate)

    def _offer(self, gate: _Gate) -> None:
        """Who is first in line goes to a worker, if the gate is open."""
        if gate.line and not gate.offered and self._is_open(gate):
            entry = gate.line.popleft()
            entry.turn = gate.offered = True
            self._pools[entry.stage].unparkers.append(entry)
            self._touched.append(entry.stage)

    def _leave(self, gate: _Gate) -> None:
        gate.inside -= 1
        self._watch(gate)

    # What came of it

    def _prediction(self, items: int) -> Prediction:
        seconds = self._last_end
        shares = list(self._shares(seconds))
        busy = {name: share for name, share, _ in shares}
        blocked = {name: share for name, _, share in shares}
        busiest = max(busy, key=busy.__getitem__)
        return Prediction(
            seconds=seconds,
            throughput=items / seconds if seconds else float("inf"),
            busy=busy,
            blocked=blocked,
            starved={name: max(0.0, 1 - share - rest) for name, share, rest in shares},
            bottleneck=busiest if busy[busiest] > 0 else None,
            processor=self._processor_seconds / (self._cores * seconds) if seconds else 0.0,
            most_held={
                name: pool.most_held for name, pool in zip(self._names, self._pools, strict=True)
            },
        )

    def _shares(self, seconds: float) -> Iterator[tuple[str, float, float]]:
        for name, pool in zip(self._names, self._pools, strict=True):
            whole = pool.workers * seconds
            yield name, *((pool.busy / whole, pool.blocked / whole) if whole else (0.0, 0.0))

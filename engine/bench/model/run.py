"""One run of the model, as `engine.flow.run` joins it up: pools, gates, the source, the processor.

It keeps to the rules of pools and inboxes: an inbox is bounded, a pool holds at most its bound and
one item a worker, a worker that is done waits until every successor has room, a stage with several
predecessors joins them by item, what waits for a retry or for its host waits outside the workers,
and the source is read only when there is room.

Attempts first wait (for a network, a disk, another machine), which takes as long however many do
so, and then need the processor, which they share.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.bench.model.event_queue import EventQueue
from engine.bench.model.gate import Gates
from engine.bench.model.pool import Entry, Journey, Plan, Pool
from engine.bench.model.processor import Processor
from engine.bench.model.recorded import RecordedItem, Recording
from engine.flow.pool import FREE_HELD


class Run:
    """`execute` replays items to their end. What it came to are `seconds`, from the first attempt
    to the end of the last item, and the figures of `pools` and `processor`."""

    def __init__(
        self,
        recording: Recording,
        workers: Mapping[str, int],
        queues: Mapping[str, int],
        cores: float,
        rates: Mapping[str, float],
        listen: Callable[[Entry, float], None] | None = None,
    ) -> None:
        """`listen` is told of every attempt at its end: the entry, which has been in work `since`
        then, and the time."""
        names = recording.stages
        self._numbers = {name: number for number, name in enumerate(names)}
        before = [[self._numbers[b] for b in recording.predecessors[name]] for name in names]
        self._needs = [sum(1 << b for b in some) for some in before]
        self._after = [
            [s for s in range(len(names)) if number in before[s]] for number in range(len(names))
        ]
        self._roots = [number for number in range(len(names)) if not before[number]]
        self.pools = [
            Pool(queues[name], workers[name], 0 if before[number] else FREE_HELD)
            for number, name in enumerate(names)
        ]
        self._opening = [recording.opening.get(name, 0.0) for name in names]
        self._handover = recording.handover
        self._events = EventQueue()
        self.processor: Processor[Entry] = Processor(cores)
        self._gates = Gates(
            recording.rate, rates, recording.concurrency, self._events, self._unpark
        )
        self.seconds = 0.0
        self._source: Iterator[Plan] = iter(())
        self._touched: list[int] = []
        self._listen = listen

    def execute(self, items: Sequence[RecordedItem]) -> None:
        plans = {id(item): Plan(item, self._numbers) for item in items}
        self._source = iter([plans[id(item)] for item in items])
        for number, delay in enumerate(self._opening):
            self._events.at(delay, self._opened, number)
        self._feed()
        self._settle()
        events, processor = self._events, self.processor
        while True:
            event, computed = events.next_time(), processor.next_end()
            if computed is not None and (event is None or computed < event):
                events.now = max(events.now, computed)
                self._end(processor.end(events.now))
            elif event is not None:
                events.happen()
            else:
                return
            self._settle()

    def _opened(self, stage: int) -> None:
        self.pools[stage].idle = self.pools[stage].workers
        self._touched.append(stage)

    # The source

    def _feed(self) -> None:
        """The source's next item comes, once it has been admitted."""
        plan = next(self._source, None)
        if plan is not None:
            entry = Entry(Journey(plan), -1, [r for r in self._roots if plan.visits[r]])
            self._events.at(self._events.now + self._handover, self._put, entry)

    # Pools

    def _put(self, entry: Entry) -> None:
        """Put the item into the next pools, one after the other, as far as there is room."""
        while entry.to:
            pool = self.pools[entry.to[0]]
            if not pool.admits():
                pool.putters.append(entry)
                return
            self._put_into(pool, entry)
        if entry.stage < 0:
            self._feed()
            return
        pool = self.pools[entry.stage]
        pool.blocked += self._events.now - entry.since
        pool.leave()
        pool.idle += 1
        self._touched.append(entry.stage)

    def _put_into(self, pool: Pool, entry: Entry) -> None:
        stage, entry.to = entry.to[0], entry.to[1:]
        pool.put(Entry(entry.journey, stage))
        self._touched.append(stage)

    def _settle(self) -> None:
        """Whoever can go on goes on, until nobody can."""
        while self._touched:
            pool = self.pools[self._touched.pop()]
            changed = True
            while changed:
                changed = False
                if pool.idle and pool.ready:
                    self._take(pool)
                    changed = True
                line = pool.next_line()
                if line is None:
                    continue
                changed = True
                entry = line.popleft()
                if line is pool.putters:
                    self._put_into(pool, entry)
                    self._put(entry)
                else:
                    pool.unhold(entry)

    def _take(self, pool: Pool) -> None:
        """A worker takes the first that may be worked on now; those before it go to their gates."""
        while pool.ready:
            entry = pool.take()
            gate = self._gates.of(entry.visit.key)
            if gate is None or gate.enters(entry):
                pool.idle -= 1
                self._start(entry)
                return
            pool.hold()

    def _unpark(self, entry: Entry) -> None:
        self.pools[entry.stage].unholders.append(entry)
        self._touched.append(entry.stage)

    # Attempts

    def _start(self, entry: Entry) -> None:
        entry.since = self._events.now
        wait = entry.visit.services[entry.tried].wait + self._handover
        if wait > 0:
            self._events.at(self._events.now + wait, self._compute, entry)
        else:
            self._compute(entry)

    def _compute(self, entry: Entry) -> None:
        """The attempt has waited, and needs the processor now."""
        service = entry.visit.services[entry.tried]
        if service.processor > 0:
            self.processor.begin(entry, service.processor, service.cores, self._events.now)
        else:
            self._end(entry)

    def _end(self, entry: Entry) -> None:
        stage, journey, visit, now = entry.stage, entry.journey, entry.visit, self._events.now
        pool = self.pools[stage]
        pool.busy += now - entry.since
        if self._listen is not None:
            self._listen(entry, now)
        gate = self._gates.of(visit.key)
        if gate is not None:
            gate.leave()
        entry.tried += 1
        if entry.tried < len(visit.services):
            pool.hold()
            pool.idle += 1
            self._touched.append(stage)
            back = self._unpark if gate is None else gate.line_up
            self._events.at(now + visit.services[entry.tried].pause, back, entry)
            return
        journey.ended |= 1 << stage
        self.seconds = now
        entry.since = now
        entry.to = [
            s
            for s in self._after[stage]
            if journey.plan.mask >> s & 1 and journey.ended & self._needs[s] == self._needs[s]
        ]
        self._put(entry)

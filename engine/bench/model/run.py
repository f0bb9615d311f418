"""One run of the model, joined up as in `engine.flow.run`: pools, gates, the source, the processor.

The rules by which items flow, and the code of each:

1. An inbox is bounded. Items ready, in hand and held count, except a few held ones in a stage that
   the source feeds: `engine.flow.inbox.InboxState`, which the engine's inboxes use too.
2. First in, first out, and parts by turns: one of each whole item after the other. An item that
   comes back goes to the front, before those that wait to come in: the same.
3. A gate has a rate and a concurrency, and after a closure lets one item through alone:
   `engine.gates.hosts.GateState`, which the engine's gates use too. Here no gate closes: the
   recorded pauses hold those waits. The items of a pool that wait for one gate stand in a line,
   whose first goes to a worker once the gate is open: `gate.py` here, `engine.flow.holding` there.
4. A worker that is done offers its item to all successors side by side, and waits until each has
   had room: `_proceed` here, `engine.flow.offering` there. Then it takes the next item.
5. A stage with several predecessors gets an item once all of them have ended it. One that has
   failed or dropped it decides it, and what has not begun with it does not begin: `journey.py`
   here, `engine.flow.journey` there.
6. A splitting attempt hands over its parts while it works, and waits until each is in the inboxes
   of its first stages. Parts go through their stages as items do, and are gathered: `ModelFlow`
   here, `engine.flow.parts` there; `pieces.py` says when they are handed over.
7. A retry waits outside the workers. The recording says how long and how often; the decisions of
   `engine.gates.retry` are not made again.
8. Each worker has one item. Here the workers share the processor equally, as in `processor.py`;
   there the operating system shares it.

The model has no lists: their items come from the source. It has no batches either. A test holds the
rules that are written twice to the engine: it does the same work on both and compares every
attempt. The order of several pools that wait for one gate is left open.

An attempt first waits (for a network, a disk, another machine), as long at any load unless its
items share a link, and then needs the processor.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.bench.model.event_queue import EventQueue
from engine.bench.model.gate import ModelGates
from engine.bench.model.journey import (
    WHOLE,
    Following,
    ModelFlow,
    ModelGraph,
    ModelItem,
    ModelJourney,
)
from engine.bench.model.pieces import pieces_of
from engine.bench.model.places import Nodes, Places
from engine.bench.model.pool import ModelEntry, ModelPool
from engine.bench.model.processor import Processor
from engine.bench.model.recorded import RecordedItem, Recording, Service
from engine.flow.pool import FREE_HELD


class ModelRun:
    """`execute` replays items to their end; `begin` and `advance` do so step by step. The results
    are `seconds`, from the first attempt to the end of the last, and the figures of `pools` and
    `processor`. `now` is the time in seconds, and `pause` the seconds that the source takes for
    each item.
    """

    def __init__(
        self,
        recording: Recording,
        workers: Mapping[str, int],
        queues: Mapping[str, int],
        cores: float,
        rates: Mapping[str, float],
        *,
        links: Mapping[str, float] | None = None,
        nodes: Nodes | None = None,
        listen: Callable[[ModelEntry, float], None] | None = None,
    ) -> None:
        """`links`: the number of items of a stage that can wait at full speed; further ones share.
        `nodes` are where placed stages work; None: they have a core for each worker.
        `listen` is called at the end of every attempt with its entry, whose `since` is its start,
        and the time."""
        names = recording.stages
        self.numbers = {name: number for number, name in enumerate(names)}
        self._graph = graph = ModelGraph(recording, self.numbers)
        self.pools = [
            ModelPool(
                queues[name],
                workers[name],
                FREE_HELD if number in graph.roots else 0,
                of_parts=graph.level[number] != WHOLE,
            )
            for number, name in enumerate(names)
        ]
        self._flow = ModelFlow(graph, self._take_out, self._begin)
        self._opening = [recording.opening.get(name, 0.0) for name in names]
        self._handover = self.pause = recording.handover
        self._events = EventQueue()
        self.processor: Processor[ModelEntry] = Processor(cores)
        self._links = {
            self.numbers[name]: Processor[ModelEntry](many) for name, many in (links or {}).items()
        }
        placed = {self.numbers[name]: takes for name, takes in recording.placed.items()}
        self._touched: list[int] = []
        self._places = Places(nodes, placed, self._events, self._touched.append)
        far = nodes.count * nodes.each.get("CPU", math.inf) if nodes else math.inf
        self._far: Processor[ModelEntry] = Processor(far)
        self._shared = [(self.processor, self._end), (self._far, self._end)]
        self._shared += [(link, self._compute) for link in self._links.values()]
        self._gates = ModelGates(recording.capacities, rates, self._events, self._unhold)
        self.seconds = 0.0
        self._source: Iterator[ModelItem] = iter(())
        self._freed: list[ModelEntry] = []
        """Those whose task goes on, though no pool has got room for them."""
        self._listen = listen

    @property
    def now(self) -> float:
        return self._events.now

    def execute(self, items: Sequence[RecordedItem]) -> None:
        plans = {id(item): ModelItem(item, self.numbers) for item in items}
        self.begin(plans[id(item)] for item in items)
        self.advance()

    def begin(self, source: Iterator[ModelItem]) -> None:
        """Open the workers, and begin to read the source."""
        self._source = source
        self._places.begin()
        for number, pool in enumerate(self.pools):
            self._open(number, pool.workers)
        self._feed()
        self._settle()

    def advance(self, until: float = math.inf) -> None:
        """Let time pass until `until`, or until no event is left."""
        events = self._events
        while True:
            event, due = events.next_time(), math.inf
            for each, action in self._shared:
                end = each.next_end()
                if end is not None and end < due:
                    due, shared, then = end, each, action
            if event is not None and event <= due:
                if event > until:
                    break
                events.happen()
            elif due < math.inf and due <= until:
                events.now = max(events.now, due)
                then(shared.end(events.now))
            else:
                break
            self._settle()
        if until < math.inf:
            events.now = until

    def resize(self, stage: str, workers: int) -> None:
        """Set the stage's number of workers; new ones have to open first."""
        number = self.numbers[stage]
        pool = self.pools[number]
        more, pool.workers = workers - pool.workers, workers
        pool.let_go(self.now)
        self._open(number, more)
        self._touched.append(number)
        self._settle()

    def _open(self, stage: int, workers: int) -> None:
        for _ in range(workers):
            self._events.at(self.now + self._opening[stage], self._opened, stage)

    def _opened(self, stage: int) -> None:
        self.pools[stage].open_one(self.now)
        self._touched.append(stage)

    # The source

    def _feed(self, _: ModelEntry | None = None) -> None:
        """Let the source's next item come, once it has been admitted."""
        plan = next(self._source, None)
        if plan is not None:
            entry = ModelEntry(ModelJourney(plan), -1)
            entry.task, entry.then = self._flow.entered(entry.journey), self._feed
            self._events.at(self._events.now + self.pause, self._proceed, entry)

    # Passing items on

    def _proceed(self, entry: ModelEntry) -> None:
        """Go on with the entry's task, until there is no room for what it offers."""
        while not entry.offers:
            offer = next(entry.task, None)
            if offer is None:
                entry.then(entry)
                return
            entry.offering, stages = offer
            for stage in stages:
                pool = self.pools[stage]
                if pool.admits():
                    self._put_into(stage, entry.offering)
                else:
                    pool.putters.append(entry)
                    entry.offers += 1

    def _put_into(self, stage: int, journey: ModelJourney) -> None:
        self.pools[stage].put(ModelEntry(journey, stage))
        self._touched.append(stage)

    def _is_free(self, entry: ModelEntry) -> None:
        """The worker has passed on its item."""
        pool = self.pools[entry.stage]
        pool.blocked.end(self._events.now)
        pool.leave()
        pool.idle += 1
        self._touched.append(entry.stage)

    def _begin(self, task: Following) -> None:
        """Begin a task that no worker waits for."""
        entry = ModelEntry(NOBODY, -1)
        entry.task, entry.then = task, _nothing
        self._freed.append(entry)

    def _take_out(self, journey: ModelJourney, stage: int) -> None:
        """The item, which is decided, leaves a pool that has not begun with it, or the line
        before it."""
        pool = self.pools[stage]
        for putter in pool.putters:
            if putter.offering is journey:
                pool.putters.remove(putter)
                putter.offers -= 1
                if not putter.offers:
                    self._freed.append(putter)
                return
        entry = pool.take_out(journey)
        if entry is not None and (gate := self._gates.of(entry.visit.key)) is not None:
            gate.withdraw(entry)
        self._touched.append(stage)

    def _settle(self) -> None:
        """Let workers and waiting items go on until none can."""
        while self._touched or self._freed:
            while self._freed:
                self._proceed(self._freed.pop(0))
            if not self._touched:
                return
            stage = self._touched.pop()
            pool = self.pools[stage]
            changed = True
            while changed:
                changed = False
                if self._places.has_room(stage, min(pool.idle, pool.ready)):
                    self._take(pool)
                    changed = True
                line = pool.next_line()
                if line is None:
                    continue
                changed = True
                entry = line.popleft()
                if line is pool.putters:
                    self._put_into(stage, entry.offering)
                    entry.offers -= 1
                    self._proceed(entry)
                else:
                    pool.unhold(entry)

    def _take(self, pool: ModelPool) -> None:
        """A worker takes the first item that may be worked on now; the
        items before it go to their gates."""
        while pool.ready:
            entry = pool.take()
            gate = self._gates.of(entry.visit.key)
            if gate is None or gate.enters(entry):
                pool.idle -= 1
                self._start(entry)
                return
            pool.put_away(entry)

    def _unhold(self, entry: ModelEntry) -> None:
        self.pools[entry.stage].unholders.append(entry)
        self._touched.append(entry.stage)

    # Attempts

    def _start(self, entry: ModelEntry) -> None:
        entry.since = self._events.now
        entry.place = self._places.take(entry.stage)
        self.pools[entry.stage].busy.begin(entry.since)
        journey, services = entry.journey, entry.visit.services
        journey.begun |= 1 << entry.stage
        if entry.stage in journey.plan.parts:
            many = len(journey.plan.parts[entry.stage])
            entry.pieces = pieces_of(services, many, entry.tried)
            self._work_on(entry)
        else:
            self._work(entry, services[entry.tried])

    def _work_on(self, entry: ModelEntry) -> None:
        """Go on with an attempt that splits the item, or end it."""
        piece = next(entry.pieces, None)
        if piece is None:  # whoever waits for the part begins with it before
            self._events.at(self._events.now, self._conclude, entry)
        else:
            self._work(entry, *piece)

    def _work(self, entry: ModelEntry, service: Service, part: int | None = None) -> None:
        entry.service, entry.part = service, part
        wait = service.wait + self._handover
        link = self._links.get(entry.stage)
        if link is not None and wait > 0:
            link.begin(entry, wait, 1.0, self._events.now)
        elif wait > 0 or part is not None:
            self._events.at(self._events.now + wait, self._compute, entry)
        else:
            self._compute(entry)

    def _compute(self, entry: ModelEntry) -> None:
        """The attempt has done its waiting, and needs the processor now."""
        service = entry.service
        if service.processor > 0:
            self.pools[entry.stage].computing.begin(self._events.now)
            processor = self._far if entry.stage in self._places else self.processor
            processor.begin(entry, service.processor, service.cores, self._events.now)
        else:
            self._worked(entry)

    def _end(self, entry: ModelEntry) -> None:
        """The attempt has had its processor time."""
        self.pools[entry.stage].computing.end(self._events.now)
        self._worked(entry)

    def _worked(self, entry: ModelEntry) -> None:
        """A piece of the attempt is done."""
        part = entry.part
        if part is None:
            self._conclude(entry)
        elif entry.journey.decided:
            self._conclude(entry, is_wanted=False)
        else:
            pool, now = self.pools[entry.stage], self._events.now
            pool.busy.end(now)
            pool.blocked.begin(now)
            entry.task = self._flow.handed_over(entry.journey, entry.stage, part)
            entry.then = self._has_handed_over
            self._proceed(entry)

    def _has_handed_over(self, entry: ModelEntry) -> None:
        pool, now = self.pools[entry.stage], self._events.now
        pool.blocked.end(now)
        pool.busy.begin(now)
        if entry.journey.decided:
            self._conclude(entry, is_wanted=False)
        else:
            self._work_on(entry)

    def _conclude(self, entry: ModelEntry, *, is_wanted: bool = True) -> None:
        """The attempt has ended; where it `is_wanted` no more, before its time."""
        stage, journey, visit, now = entry.stage, entry.journey, entry.visit, self._events.now
        pool = self.pools[stage]
        pool.busy.end(now)
        self._places.give(stage, entry.place)
        pool.ended += 1
        if self._listen is not None:
            self._listen(entry, now)
        gate = self._gates.of(visit.key)
        if gate is not None:
            gate.leave()
        entry.tried += 1
        is_last = entry.tried == len(visit.services)
        if not is_last and is_wanted and not journey.decided:
            journey.begun &= ~(1 << stage)
            pool.put_away(entry)
            pool.idle += 1
            self._touched.append(stage)
            self._events.at(now + visit.services[entry.tried].pause, self._come_back, entry)
            return
        self.seconds = now
        pool.blocked.begin(now)
        following = self._flow.ended if is_last and is_wanted else self._flow.gave_up
        entry.task, entry.then = following(journey, stage), self._is_free
        self._proceed(entry)

    def _come_back(self, entry: ModelEntry) -> None:
        """The pause before another attempt is over."""
        if entry.is_withdrawn:
            return
        gate = self._gates.of(entry.visit.key)
        if gate is None:
            self._unhold(entry)
        else:
            gate.line_up(entry)


NOBODY = ModelJourney(ModelItem(RecordedItem("", {}), {}))
"""The item of a task that no worker waits for."""


def _nothing(entry: ModelEntry) -> None:
    pass

"""`workers = "auto"`: the number of workers for each pool, from the pools' measurements.

Pure policy: figures in, numbers out, no clock of its own. The figures are those of operational
analysis (Denning & Buzen, "The Operational Analysis of Queueing Network Models", ACM Computing
Surveys 10(3), 1978). By the utilisation law the mean number of a pool's workers at work is its
throughput times its service time. So a pool whose workers never wait, with a backlog before them,
is the bottleneck; a pool whose workers do wait needs only those that did not; and throughput can
rise only until the processor is full. A full processor need not be divided up: bounded queues
already hold back the stages that are ahead.

Growth is that of TCP's slow start (Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988):
doubling at once while it costs little, then only if the doubling before raised the throughput.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from engine.telemetry.statistics import PoolStatistics

SATURATED = 0.85
"""Workers that are at work for at least this share of their time, with a backlog, are too few."""

ROOM = 0.6
"""A pool shrinks only to a size at which its workers would be at work for at most this share of
their time, and only if that halves it. Well under SATURATED, so that a pool does not grow again
just after it shrank; and a few workers too many do less harm than one too few."""

CPU_FULL = 0.95
"""With this share of the machine's cores at work, more threads would only share them."""

MOST = 32
"""The most workers of a stage that sets no maximum, on a machine with up to half as many cores."""

MOST_ON_CLUSTER = 1000
"""The same for a step on a cluster. Workers for which that has no place are not at work: so a pool
stops at twice what fits, at most."""

UNPROVEN = 16
"""Up to this size, and to two workers per core, a pool whose threads wait grows without proof of a
gain, since waiting for proof would cost more than a few workers too many. A pool whose threads
compute does so up to one worker more than there are cores."""

LEAST_PROOF = 8
"""Attempts that have to end before their rate counts as measured; with more
workers, one per worker."""

WAITS, COMPUTES = 0.25, 0.5
"""Threads that want a core for less than the first share of the time that they are at work wait for
something else; those that want it for more than the second compute."""

EVIDENCE = 2.0
"""Seconds for which a pool's threads have to compute before the pool counts as computing. Waiting
stages compute at first, too: a stage imports its libraries with its first item."""

GAIN = 0.25
"""The least part of its promise that a growth has to bring: a doubling 1.25
times the throughput."""

HOLD = 60.0
"""Seconds until a growth without gain is tried again; doubled each time."""

PATIENCE = 30.0
"""Seconds for which a pool has to have spare workers before it shrinks; four times as long after
each time that it had to grow again. So the number of changes grows with the logarithm of the time.
"""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two looks."""

PART = 0.05
"""The next look comes after this share of the time since the last change. So a pool that has become
too small is found after a time that is short compared with the run so far, and the longer nothing
changes, the longer and steadier the measured stretches are."""


@dataclass(frozen=True, slots=True)
class Window:
    """One pool's measurements since the last look, and the limits on its number of workers.

    `waiting` is the number of items in the inbox now, `queue` its bound, `ended` the attempts that
    ended in these `seconds`. `open` is the mean number of workers that were ready to work,
    `at_work` of those that waited neither for items nor for room nor for a resource. `automatic` is
    false for a pool whose number of workers a person chose; `off_cores` is true for
    work that is not limited by this machine's cores: of an async stage, or on a cluster.
    `wanted` is the mean number of cores that the pool's threads, here and in its processes, had or
    waited for, None where that is not known.
    """

    workers: int
    maximum: int
    waiting: int
    queue: int
    seconds: float
    ended: int
    open: float
    at_work: float
    automatic: bool
    off_cores: bool
    wanted: float | None = None
    minimum: int = 1

    @classmethod
    def between(
        cls,
        earlier: PoolStatistics,
        now: PoolStatistics,
        seconds: float,
        *,
        workers: int,
        maximum: int,
        automatic: bool,
        off_cores: bool,
        wanted: float | None = None,
    ) -> "Window":
        """The `seconds` between two of a pool's statistics; `workers` is its target size."""
        passed = now.since(earlier)
        at_work = passed.worker_seconds - passed.starved - passed.needing - passed.blocked
        return cls(
            workers=workers,
            maximum=maximum,
            waiting=now.waiting,
            queue=now.queue,
            seconds=seconds,
            ended=passed.attempts,
            open=passed.worker_seconds / seconds if seconds > 0 else 0.0,
            at_work=max(0.0, at_work) / seconds if seconds > 0 else 0.0,
            automatic=automatic,
            off_cores=off_cores,
            wanted=wanted,
        )

    @property
    def saturated(self) -> bool:
        """Whether there was more work than the workers could do. False before all of them are open:
        workers that load a model are neither at work nor too few."""
        all_open = self.open >= 0.9 * self.workers
        return all_open and self.at_work >= SATURATED * self.open and 2 * self.waiting >= self.queue

    @property
    def enough(self) -> int:
        """The number of workers that would have been enough for this work, with some room."""
        return max(self.minimum, math.ceil(self.at_work / ROOM))


@dataclass(frozen=True, slots=True)
class Resize:
    """A new number of workers for a pool, and the reason in words for a person."""

    workers: int
    why: str


def maximum_workers(most: int | None, cores: int, placement: str) -> int:
    """The most workers that "auto" gives a stage, whose own maximum is `most`. A process
    counts as keeping a core busy where its processor time is not measured."""
    if placement == "ray":
        return most or MOST_ON_CLUSTER
    return most or (2 * cores if placement == "process" else max(MOST, 2 * cores))


def pause_before_next(calm: float) -> float:
    """Seconds until the next look, when nothing has changed for `calm` seconds."""
    return min(max(PART * calm, SHORTEST_PAUSE), LONGEST_PAUSE)


class Autosizer:
    """Decides at each look; the same looks always give the same decisions."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._sizers: dict[str, _Sizer] = {}

    def decide(self, pools: Mapping[str, Window], cpu: float) -> dict[str, Resize]:
        """The automatic pools that should have another number of workers; empty if none should.

        `cpu` is the used share of the cores' time since the last look, 0 to 1.
        """
        answers = {}
        for name, window in pools.items():
            if window.automatic and window.open > 0:
                sizer = self._sizers.setdefault(name, _Sizer(self._cores))
                answer = sizer.look(window, cpu)
                if answer is not None and answer.workers != window.workers:
                    answers[name] = answer
        return answers


class _Sizer:
    """One pool: the measurements at its present size, and the results of earlier sizes."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._computes, self._computing_for = False, 0.0
        self._size = 0
        self._settling = 0  # attempts still to end that may have begun before the last change
        self._ended, self._seconds = 0, 0.0  # since then, while saturated
        self._before: tuple[int, float] | None = None  # the size it grew from, and its rate
        self._hold, self._held_for = HOLD, 0.0
        self._patience, self._spare_for, self._spare_most = PATIENCE, 0.0, 0
        self._shrunk_from = 0

    def look(self, window: Window, cpu: float) -> Resize | None:
        """The new size for the pool, None if it should stay."""
        if window.workers != self._size:
            self._begin_at(window.workers)
        self._measure(window)
        if self._turns_out_to_compute(window) and window.workers > self._cores + 1:
            why = f"{window.workers} threads that compute only share {self._cores} cores"
            return Resize(self._cores + 1, why)
        if window.saturated:
            return self._undone(window) or self._grown(window, cpu)
        return self._shrunk(window)

    def _begin_at(self, size: int) -> None:
        if self._before is not None and size <= self._before[0]:
            self._before = None
        self._size = self._settling = size
        self._ended, self._seconds = 0, 0.0
        self._spare_for, self._spare_most = 0.0, 0

    def _measure(self, window: Window) -> None:
        was_held, self._held_for = self._held_for > 0, max(0.0, self._held_for - window.seconds)
        if was_held and not self._held_for:
            self._begin_at(self._size)  # compare the next size with a recent rate
        if not window.saturated:
            return
        self._spare_for, self._spare_most = 0.0, 0
        if self._settling > 0:
            self._settling -= window.ended
        else:
            self._ended += window.ended
            self._seconds += window.seconds

    def _turns_out_to_compute(self, window: Window) -> bool:
        """Whether it is certain now, for the first time, that the pool's threads compute."""
        if self._computes or window.wanted is None or not window.saturated:
            return False
        computing = window.wanted > COMPUTES * window.at_work
        self._computing_for = self._computing_for + window.seconds if computing else 0.0
        self._computes = self._computing_for >= EVIDENCE
        return self._computes

    def _free(self, window: Window) -> int:
        """The size up to which the pool grows without proof of a gain."""
        if window.off_cores:
            return MOST
        seems_to_wait = window.wanted is None or window.wanted < WAITS * window.at_work
        if seems_to_wait and not self._computes:
            return max(UNPROVEN, 2 * self._cores)
        return self._cores + 1

    @property
    def _rate(self) -> float | None:
        """Attempts that end per second at this size; None until enough have ended."""
        enough = self._ended >= max(LEAST_PROOF, self._size)
        return self._ended / self._seconds if enough else None

    def _undone(self, window: Window) -> Resize | None:
        """Back to the size before, if this one turns out to gain too little."""
        if self._before is None or self._rate is None:
            return None
        size, rate = self._before
        self._before = None
        if self._rate >= rate * (1 + GAIN * (window.workers / size - 1)):
            return None
        self._held_for, self._hold = self._hold, 2 * self._hold
        return Resize(size, f"{window.workers} got hardly more done than {size}")

    def _grown(self, window: Window, cpu: float) -> Resize | None:
        size = window.workers
        free = self._free(window)
        needs_proof = size >= free
        if self._held_for or (needs_proof and self._rate is None):
            return None
        most = min(window.maximum, max(2 * size, self._shrunk_from))
        if not window.off_cores:
            most = min(most, max(self._room_on_cores(size, cpu), self._shrunk_from))
        if not needs_proof:
            most = min(most, max(free, self._shrunk_from))
        if most <= size or (cpu >= CPU_FULL and not window.off_cores):
            return None
        if needs_proof and self._rate is not None:
            self._before = size, self._rate
        if self._shrunk_from:
            self._shrunk_from, self._patience = 0, 4 * self._patience
        who = f"all {size} were" if size > 1 else "its worker was"
        return Resize(most, f"{who} at work, and {window.waiting} of {window.queue} waited")

    def _room_on_cores(self, workers: int, cpu: float) -> int:
        """The size that would fill the processor if its use rises with the number of workers. If
        that leaves no whole worker, one more, up to two per core: threads also wait for a disk."""
        one_more = workers + 1 if workers < 2 * self._cores else workers
        return max(one_more, int(min(workers / cpu, 2 * workers))) if cpu > 0 else 2 * workers

    def _shrunk(self, window: Window) -> Resize | None:
        if 2 * window.enough > window.workers:
            self._spare_for, self._spare_most = 0.0, 0
            return None
        self._spare_for += window.seconds
        self._spare_most = max(self._spare_most, window.enough)
        if self._spare_for < self._patience:
            return None
        self._shrunk_from = max(self._shrunk_from, window.workers)
        return Resize(
            self._spare_most,
            f"{window.at_work:.1f} of {window.workers} were at work, and so for "
            f"{self._spare_for:.0f} s",
        )

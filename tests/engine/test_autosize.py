"""The sizing policy, on figures and on a simulated pipeline of bounded queues."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from engine.autosize import Window, ceiling, decide, maximum_workers
from tests.engine.test_statistics import pool

STEP = 0.1
INTERVAL = 10.0


@dataclass
class SimulatedStage:
    """Workers that take an item, hold it for its service time, and wait for room to pass it on."""

    service: float
    workers: int = 1
    maximum: int = 16
    queue: int = 8
    on_loop: bool = False
    automatic: bool = True
    waiting: int = 0
    holding: list[float] = field(default_factory=list)  # seconds left; at most 0: it waits for room
    busy: float = 0.0
    starved: float = 0.0
    blocked: float = 0.0

    def window(self) -> Window:
        total = max(self.busy + self.starved + self.blocked, 1e-9)
        return Window(
            workers=self.workers,
            minimum=1,
            maximum=self.maximum,
            waiting=self.waiting,
            queue=self.queue,
            busy=self.busy / total,
            starved=self.starved / total,
            blocked=self.blocked / total,
            automatic=self.automatic,
            on_loop=self.on_loop,
        )


class Simulation:
    """A chain of stages in steps of STEP seconds, fed without end unless `arrivals` bounds it."""

    def __init__(self, stages: Sequence[SimulatedStage], cores: int = 4, seed: int = 7) -> None:
        self.stages = [replace(stage, holding=[]) for stage in stages]
        self.cores = cores
        self.random = random.Random(seed)
        self.arrivals = float("inf")
        self.arrived = 0.0
        self.finished = 0
        self.changes: list[tuple[float, dict[str, int]]] = []
        self.now = 0.0

    def windows(self) -> dict[str, Window]:
        return {str(number): stage.window() for number, stage in enumerate(self.stages)}

    def run(self, seconds: float, decide: Callable[..., Mapping[str, int]] | None = None) -> float:
        """Run on for `seconds`; returns the items finished per second."""
        before = self.finished
        for _ in range(round(seconds / INTERVAL)):
            for stage in self.stages:
                stage.busy = stage.starved = stage.blocked = 0.0
            for _ in range(round(INTERVAL / STEP)):
                self._step()
            self.now += INTERVAL
            if decide is None:
                continue
            windows = self.windows()
            changes = dict(decide(windows, self.cores))
            for name, workers in changes.items():
                self.stages[int(name)].workers = workers
            if changes:
                self.changes.append((self.now, changes))
            self._check(windows)
        return (self.finished - before) / seconds

    def _check(self, windows: Mapping[str, Window]) -> None:
        for stage in self.stages:
            assert 1 <= stage.workers <= stage.maximum
        bounded = [s.workers for s in self.stages if s.automatic and not s.on_loop]
        assert sum(bounded) <= ceiling(windows, self.cores)

    def _step(self) -> None:
        self.arrived += self.arrivals * STEP
        for number in range(len(self.stages) - 1, -1, -1):
            stage = self.stages[number]
            if number == 0:
                room = min(stage.queue - stage.waiting, self.arrived)
                stage.waiting += int(room)
                self.arrived -= int(room)
            stage.holding = [left for left in stage.holding if left > 0 or not self._pass(number)]
            while stage.waiting and len(stage.holding) < stage.workers:
                stage.waiting -= 1
                stage.holding.append(stage.service * self.random.uniform(0.5, 1.5))
            stage.starved += STEP * max(0, stage.workers - len(stage.holding))
            stage.blocked += STEP * sum(left <= 0 for left in stage.holding)
            stage.busy += STEP * sum(left > 0 for left in stage.holding)
            stage.holding = [left - STEP if left > 0 else left for left in stage.holding]

    def _pass(self, number: int) -> bool:
        if number + 1 == len(self.stages):
            self.finished += 1
            return True
        after = self.stages[number + 1]
        if after.waiting < after.queue:
            after.waiting += 1
            return True
        return False


def best_fixed(stages: Sequence[SimulatedStage], cores: int) -> float:
    """The items per second of the best allocation there is, every one of which is tried."""
    probe = {str(number): stage.window() for number, stage in enumerate(stages)}
    most = ceiling(probe, cores)
    choices = [range(1, min(stage.maximum, most) + 1) for stage in stages]
    best = 0.0
    for workers in itertools.product(*choices):
        if sum(workers) == most or all(
            n == s.maximum for n, s in zip(workers, stages, strict=True)
        ):
            sized = [replace(s, workers=n) for s, n in zip(stages, workers, strict=True)]
            simulation = Simulation(sized, cores)
            simulation.run(30)
            best = max(best, simulation.run(150))
    return best


CHAINS = {
    "even": [1.0, 1.0, 1.0],
    "heavy middle": [0.5, 3.0, 0.4],
    "heavy end": [0.2, 0.5, 2.5],
    "heavy start": [4.0, 0.3, 0.3],
    "close rivals": [0.3, 1.7, 1.0],
    "four": [0.8, 2.0, 1.2, 0.4],
}


@pytest.mark.parametrize("name", CHAINS)
def test_it_comes_within_a_tenth_of_the_best_fixed_allocation_and_settles(name: str) -> None:
    cores = 2 if len(CHAINS[name]) > 3 else 3
    stages = [SimulatedStage(service) for service in CHAINS[name]]
    simulation = Simulation(stages, cores)
    simulation.run(200, decide)
    reached = simulation.run(600, decide)
    assert reached >= 0.9 * best_fixed(stages, cores)
    late = [change for when, change in simulation.changes if when > 200]
    assert len(late) <= 2, f"60 decisions after it settled changed {late}"


@pytest.mark.parametrize("seed", range(6))
def test_chains_that_nobody_picked_do_as_well(seed: int) -> None:
    chance = random.Random(seed)
    stages = [
        SimulatedStage(chance.choice([0.2, 0.5, 1, 2, 4]) * chance.uniform(0.6, 1.6))
        for _ in range(3)
    ]
    simulation = Simulation(stages, cores=2, seed=seed)
    simulation.run(200, decide)
    assert simulation.run(600, decide) >= 0.9 * best_fixed(stages, 2)


def test_it_follows_a_change_of_load() -> None:
    stages = [SimulatedStage(0.5), SimulatedStage(3.0), SimulatedStage(0.3)]
    simulation = Simulation(stages, cores=3)
    simulation.run(300, decide)
    assert simulation.stages[1].workers > simulation.stages[2].workers
    for stage, service in zip(simulation.stages, [0.5, 0.3, 3.0], strict=True):
        stage.service = service
    simulation.run(200, decide)
    reached = simulation.run(300, decide)
    swapped = [SimulatedStage(0.5), SimulatedStage(0.3), SimulatedStage(3.0)]
    assert reached >= 0.9 * best_fixed(swapped, 3)


def test_it_gives_back_what_a_slow_source_does_not_need_and_takes_it_again() -> None:
    simulation = Simulation([SimulatedStage(2.0, on_loop=True), SimulatedStage(0.2)], cores=4)
    simulation.run(200, decide)
    assert simulation.stages[0].workers >= 8
    simulation.arrivals = simulation.arrived = 0.5
    simulation.run(300, decide)
    assert simulation.stages[0].workers <= 3
    simulation.arrivals = float("inf")
    simulation.run(200, decide)
    assert simulation.stages[0].workers >= 8


def test_a_fixed_pool_is_left_alone_and_the_others_work_round_it() -> None:
    fixed = SimulatedStage(1.0, workers=2, automatic=False)
    simulation = Simulation([SimulatedStage(1.0), fixed, SimulatedStage(1.0)], cores=4)
    assert simulation.run(300, decide) == pytest.approx(1.9, abs=0.15)
    assert simulation.stages[1].workers == 2
    assert all("1" not in change for _, change in simulation.changes)


IDLE = Window(
    workers=4,
    minimum=1,
    maximum=8,
    waiting=0,
    queue=8,
    busy=0.0,
    starved=1.0,
    blocked=0.0,
    automatic=True,
    on_loop=False,
)
PRESSED = replace(IDLE, busy=1.0, starved=0.0, waiting=8)


def test_it_grows_what_is_busy_only_with_a_backlog() -> None:
    assert decide({"a": PRESSED}, 4) == {"a": 5}
    assert decide({"a": replace(PRESSED, waiting=0)}, 4) == {}
    assert decide({"a": replace(PRESSED, busy=0.8, starved=0.2)}, 4) == {}


def test_it_shrinks_what_is_starved_and_what_is_blocked() -> None:
    assert decide({"a": IDLE}, 4) == {"a": 3}
    assert decide({"a": replace(IDLE, starved=0.0, blocked=1.0, waiting=8)}, 4) == {"a": 3}
    assert decide({"a": replace(IDLE, workers=1)}, 4) == {}
    assert decide({"a": replace(IDLE, minimum=4)}, 4) == {}


def test_it_keeps_to_the_maximum() -> None:
    assert decide({"a": replace(PRESSED, maximum=4)}, 4) == {}
    assert decide({"a": replace(PRESSED, maximum=5, on_loop=True)}, 4) == {"a": 5}


def test_work_on_the_loop_doubles_whatever_the_cores() -> None:
    assert decide({"a": replace(PRESSED, on_loop=True)}, 1, cpu=1.0) == {"a": 8}


def test_at_the_ceiling_a_worker_moves_from_where_it_is_missed_least() -> None:
    pools = {
        "a": replace(PRESSED, workers=3, busy=0.57, blocked=0.43),  # needs 1.7: 2 would do
        "b": replace(PRESSED, workers=1),
    }
    assert decide(pools, 1) == {"a": 2, "b": 2}
    pools["a"] = replace(pools["a"], busy=0.8, blocked=0.2)
    assert decide(pools, 1) == {}, "a needs 2.4, so that it cannot do with 2"


def test_a_full_processor_stops_growth_but_not_moves() -> None:
    assert decide({"a": PRESSED}, 4, cpu=0.96) == {}
    pools = {"a": replace(PRESSED, workers=3, busy=0.57, blocked=0.43), "b": PRESSED}
    assert decide(pools, 8, cpu=0.96) == {"a": 2, "b": 5}


def test_it_never_answers_out_of_bounds() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        pools = {}
        for name in "abcd"[: chance.randint(1, 4)]:
            busy, starved = sorted([chance.random(), chance.random()])
            maximum = chance.randint(1, 9)
            pools[name] = Window(
                workers=chance.randint(1, maximum),
                minimum=1,
                maximum=maximum,
                waiting=chance.randint(0, 8),
                queue=8,
                busy=chance.choice([busy, 1.0]),
                starved=starved - busy,
                blocked=1 - starved,
                automatic=chance.random() < 0.8,
                on_loop=chance.random() < 0.3,
            )
        cores = chance.randint(1, 8)
        answer = decide(pools, cores)
        assert all(pools[name].automatic for name in answer)
        assert all(1 <= size <= pools[name].maximum for name, size in answer.items())
        bounded = [name for name, w in pools.items() if w.automatic and not w.on_loop]
        before = sum(pools[name].workers for name in bounded)
        after = sum(answer.get(name, pools[name].workers) for name in bounded)
        assert after <= max(before, ceiling(pools, cores))


def test_a_window_is_what_passed_between_two_statistics() -> None:
    earlier = pool("fetch", 2, busy=100, starved=100)
    now = replace(
        earlier, busy=130.0, starved=105.0, blocked=5.0, worker_seconds=240.0, waiting=6, workers=3
    )
    window = Window.between(earlier, now, maximum=9, automatic=True, on_loop=False)
    assert (window.workers, window.waiting, window.queue, window.maximum) == (3, 6, 8, 9)
    assert (window.busy, window.starved, window.blocked) == (0.75, 0.125, 0.125)


def test_the_maximum_is_the_stages_own_or_follows_from_the_cores() -> None:
    assert maximum_workers(3, 8, on_loop=False) == 3
    assert maximum_workers(None, 8, on_loop=False) == 16
    assert maximum_workers(None, 8, on_loop=True) == 32

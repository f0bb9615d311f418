"""The model of the engine: against what can be worked out by hand, and against laws of queues."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.model.places import Nodes
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.simulation import simulate
from engine.cluster.turns import LULL
from engine.config.limits import KeyLimits
from engine.gates.capacity import Capacities
from tests.engine.bench.recordings import item, recording, tandem

# By hand


def test_two_stages_and_an_inbox_of_one_by_hand() -> None:
    """a takes 1, b takes 2 seconds. b is at it without a break from 1 on. a ends at 1 and 2, and at
    3 as b takes its second; its fourth it ends at 4 and holds until 5, when b takes its third."""
    items = [item(str(number), a=1, b=2) for number in range(4)]
    found = simulate(recording(tandem("a", "b"), items, queue=1), {})
    assert found.seconds == 9  # 1 + 4 * 2
    assert found.throughput == pytest.approx(4 / 9)
    assert found.busy == pytest.approx({"a": 4 / 9, "b": 8 / 9})
    assert found.blocked == pytest.approx({"a": 1 / 9, "b": 0})
    assert found.starved == pytest.approx({"a": 4 / 9, "b": 1 / 9})
    assert found.bottleneck == "b"


def test_a_join_waits_for_the_slower_way() -> None:
    graph = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    found = simulate(recording(graph, [item("x", a=1, b=2, c=5, d=3)]), {})
    assert found.seconds == 1 + 5 + 3


def test_what_was_dropped_goes_no_further() -> None:
    dropped = item("x", a=Visit([Service(1.0)], "dropped"))
    found = simulate(recording(tandem("a", "b"), [dropped, item("y", a=1, b=4)]), {})
    assert found.seconds == 1 + 1 + 4


def test_a_retry_waits_outside_the_worker() -> None:
    """x fails after 1 second and is held for 10; y is done meanwhile."""
    twice = [Service(1.0), Service(1.0, pause=10.0)]
    found = simulate(recording(tandem("a"), [item("x", a=twice), item("y", a=3)]), {})
    assert found.seconds == 12
    assert found.busy["a"] == pytest.approx(5 / 12)


def test_cores_are_shared() -> None:
    """Three attempts of 2 seconds' work on 2 cores: each has two thirds of a core."""
    items = [item(str(number), a=Service(0.0, 2.0)) for number in range(3)]
    found = simulate(recording(tandem("a"), items, workers=3, cores=2), {})
    assert found.seconds == pytest.approx(3)
    assert found.processor == pytest.approx(1)


def test_waiting_is_not_shared() -> None:
    items = [item(str(number), a=Service(1.0, 1.0)) for number in range(2)]
    found = simulate(recording(tandem("a"), items, workers=2, cores=1), {})
    assert found.seconds == pytest.approx(1 + 2)


def test_who_can_use_two_cores_has_two_shares() -> None:
    """4 core seconds at up to 2 cores, and 1 at 1, on 2 cores: shares of 4/3 and 2/3 until the
    small one is done at 1.5 with 2 done of the large one, which then has both cores."""
    items = [item("x", a=Service(0.0, 4.0, 2.0)), item("y", a=Service(0.0, 1.0))]
    found = simulate(recording(tandem("a"), items, workers=2, cores=2), {})
    assert found.seconds == pytest.approx(1.5 + 1.0)


def test_a_stage_that_opens_late_holds_up_its_items() -> None:
    items = [item("x", a=1, b=1)]
    assert simulate(recording(tandem("a", "b"), items, opening={"b": 5.0}), {}).seconds == 6


def test_a_host_lets_through_so_many_a_second() -> None:
    """One every 10 seconds to h, whatever the workers; what goes elsewhere does not wait."""
    held = [item(f"h{n}", a=Visit([Service(1.0)], key="h")) for n in range(3)]
    free = [item(f"o{n}", a=Visit([Service(1.0)], key="o")) for n in range(3)]
    found = simulate(recording(tandem("a"), [*held, *free], workers=2), {}, rates={"h": 0.1})
    assert found.seconds == 21
    both = simulate(recording(tandem("a"), [*held, *free], capacities=Capacities(0.1)), {})
    assert 21 <= both.seconds <= 23


def test_a_host_holds_so_many_at_once() -> None:
    items = [item(str(n), a=Visit([Service(1.0)], key="h")) for n in range(6)]
    two = recording(tandem("a"), items, workers=6, capacities=Capacities(concurrency=2))
    assert simulate(two, {}).seconds == 3


def test_a_host_may_have_a_capacity_of_its_own() -> None:
    """h takes three at once, i one; then one may start at h every 10 seconds."""
    items = [item(f"{key}{n}", a=Visit([Service(6.0)], key=key)) for n in range(3) for key in "hi"]
    own = {"h": KeyLimits(concurrency=3)}
    more = recording(tandem("a"), items, workers=6, capacities=Capacities(concurrency=1, own=own))
    assert simulate(more, {}).seconds == 18
    own = {"h": KeyLimits(rate=0.1)}
    slow = recording(tandem("a"), items, workers=6, capacities=Capacities(own=own))
    assert simulate(slow, {}).seconds == 26
    assert simulate(slow, {}, rates={"h": 1.0}).seconds == 8


def test_a_slow_stage_holds_back_what_is_before_it() -> None:
    """With inboxes of 2 the pool before it never holds more than its bound and its workers."""
    items = [item(str(number), a=0.01, b=0.01, c=1) for number in range(50)]
    found = simulate(recording(tandem("a", "b", "c"), items, queue=2), {"a": 3})
    assert found.seconds == pytest.approx(50, rel=0.01)
    assert found.most_held == {"a": 5, "b": 3, "c": 3}
    assert found.blocked["a"] > 0.8
    assert found.bottleneck == "c"


def test_sharing_the_processor_agrees_with_theory() -> None:
    """Poisson arrivals at 0.6 a second, each 1 second of work, on one core that all share: one
    stays 1 / (1 - 0.6) seconds on average, whatever the spread of the work (Kleinrock 1967). The
    arrivals are made by a stage before, whose items all begin at once and take until then."""
    generator = random.Random(1)
    clock, items, count = 0.0, [], 20_000
    for number in range(count):
        clock += generator.expovariate(0.6)
        items.append(item(str(number), arrive=clock, serve=Service(0.0, 1.0)))
    made = recording(tandem("arrive", "serve"), items, workers=count, queue=count, cores=1)
    found = simulate(made, {})
    assert found.busy["serve"] * found.seconds == pytest.approx(1 / 0.4, rel=0.05)
    assert found.processor == pytest.approx(0.6, rel=0.03)


def test_waiting_in_line_agrees_with_theory() -> None:
    """The same with one worker and an inbox of one, M/D/1: 0.6 ** 2 / (2 * 0.4) = 0.45 items wait
    on average (Pollaczek and Khinchine). Where any does, one of them waits in the inbox, which is
    so unless the system holds none (0.4 of the time) or one (0.4 * (exp(0.6) - 1)); the others are
    blocked where they come from."""
    generator = random.Random(2)
    clock, items, count = 0.0, [], 50_000
    for number in range(count):
        clock += generator.expovariate(0.6)
        items.append(item(str(number), arrive=clock, serve=1))
    made = recording(tandem("arrive", "serve"), items, queue=1)
    found = simulate(made, {"arrive": count}, queues={"arrive": count})
    inbox = 1 - 0.4 - 0.4 * (math.exp(0.6) - 1)
    assert found.blocked["arrive"] * count == pytest.approx(0.45 - inbox, rel=0.05)
    assert found.busy["serve"] == pytest.approx(0.6, rel=0.03)


@pytest.mark.slow
def test_thousands_of_workers_and_a_hundred_thousand_items() -> None:
    items = [item(str(n), a=1 + n % 7, b=Service(0.5, 0.1 * (n % 5)), c=0.3) for n in range(1000)]
    made = recording(tandem("a", "b", "c"), items, cores=512)
    found = simulate(made, {"a": 2000, "b": 500, "c": 200}, items=100_000)
    assert 400 < found.throughput < 2000 / 4


# Asked for the impossible


def test_a_stage_that_was_not_recorded_is_refused() -> None:
    made = recording(tandem("a"), [item("x", a=1)])
    with pytest.raises(ValueError, match="no stage 'b' was recorded"):
        simulate(made, {"b": 1})
    with pytest.raises(ValueError, match="'a' needs at least 1"):
        simulate(made, {"a": 0})
    with pytest.raises(ValueError, match="at least 1 item"):
        simulate(made, {}, items=0)


def test_items_are_drawn_by_seed() -> None:
    made = recording(tandem("a"), [item(str(n), a=n * n) for n in range(30)])
    found = [simulate(made, {}, items=n, seed=s).seconds for n in (10, 100) for s in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4] != found[5]
    assert simulate(made, {}, items=30, seed=3).seconds == sum(n * n for n in range(30))


# Laws

durations = st.floats(0, 5).map(lambda seconds: round(seconds, 2))
GRAPHS = [tandem("a", "b", "c"), {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}]
BRANCHES = ["", "bc"]
"""The stages with another branch beside them: what one of them drops, the other may not begin."""


@st.composite
def recordings(draw: st.DrawFn, *, work: bool = True) -> Recording:
    graph, branches = draw(st.sampled_from([*zip(GRAPHS, BRANCHES, strict=True)]))
    services = st.builds(
        Service,
        durations,
        durations if work else st.just(0.0),
        st.sampled_from([1.0, 1.0, 2.5]),
        durations,
    )
    items = []
    for number in range(draw(st.integers(1, 12))):
        visits: dict[str, Visit] = {}
        for stage, before in graph.items():
            if all(name in visits and visits[name].outcome == "done" for name in before):
                tries = draw(st.lists(services, min_size=1, max_size=2))
                ends = ["done"] if stage in branches else ["done", "done", "dropped"]
                visits[stage] = Visit(tries, draw(st.sampled_from(ends)))
        items.append(RecordedItem(str(number), visits))
    return recording(
        graph,
        items,
        workers=draw(st.integers(1, 4)),
        queue=draw(st.integers(1, 4)),
        cores=draw(st.integers(1, 4)),
    )


def total(items: Sequence[RecordedItem], stage: str, what: str) -> float:
    return sum(getattr(one.visits[stage], what) for one in items if stage in one.visits)


@given(recordings())
def test_all_work_is_done_and_no_faster_than_possible(made: Recording) -> None:
    found = simulate(made, {})
    for stage in made.stages:
        alone = total(made.items, stage, "seconds")
        capacity = made.workers[stage] * found.seconds
        assert found.busy[stage] * capacity >= alone - 1e-6
        assert alone <= capacity + 1e-6
        assert found.busy[stage] + found.blocked[stage] <= 1 + 1e-9
        assert (
            found.most_held[stage] <= made.queues[stage] + made.workers[stage]
            or not (made.predecessors[stage])
        )
    processor = sum(total(made.items, stage, "processor") for stage in made.stages)
    assert processor <= made.cores * found.seconds + 1e-6
    assert found.processor * made.cores * found.seconds == pytest.approx(processor, abs=1e-6)
    for one in made.items:
        assert sum(v.seconds for v in one.visits.values()) >= 0
        assert found.seconds >= max(v.seconds for v in one.visits.values()) - 1e-9


@given(recordings(work=False))
def test_without_contention_a_worker_is_busy_for_what_was_recorded(made: Recording) -> None:
    found = simulate(made, {})
    for stage in made.stages:
        busy = found.busy[stage] * made.workers[stage] * found.seconds
        assert busy == pytest.approx(total(made.items, stage, "seconds"), abs=1e-6)


@given(st.lists(durations, min_size=1, max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_more_workers_of_a_stage_are_never_slower(
    seconds: list[float], workers: int, more: int
) -> None:
    """One stage, and the same order: list scheduling without precedence has no anomalies as long as
    jobs only get another machine to go to."""
    made = recording(tandem("a"), [item(str(n), a=one) for n, one in enumerate(seconds)])
    fewer = simulate(made, {"a": workers}).seconds
    assert simulate(made, {"a": workers + more}).seconds <= fewer + 1e-9


@given(
    st.lists(durations, min_size=3, max_size=3),
    st.integers(20, 60),
    st.lists(st.integers(1, 4), min_size=3, max_size=3),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.integers(1, 5),
)
def test_more_workers_and_room_are_never_slower_in_a_line(
    seconds: list[float], count: int, workers: list[int], more: list[int], queue: int
) -> None:
    """A line whose service times depend on the stage alone is monotone in its servers and buffers
    (Shanthikumar and Yao, "Monotonicity and concavity properties in cyclic queueing networks with
    finite buffers", 1989)."""
    one = dict(zip("abc", seconds, strict=True))
    made = recording(tandem(*"abc"), [item(str(n), **one) for n in range(count)], queue=queue)
    before = simulate(made, dict(zip("abc", workers, strict=True))).seconds
    raised = {name: n + m for name, n, m in zip("abc", workers, more, strict=True)}
    assert simulate(made, raised).seconds <= before + 1e-6
    assert simulate(made, raised, queues=dict.fromkeys("abc", queue + 1)).seconds <= before + 1e-6
    slowest = max(s / w for s, w in zip(seconds, workers, strict=True))
    assert before >= count * slowest - 1e-6


def test_machines_share_a_rate_and_nothing_else() -> None:
    items = [item(str(n), a=Visit([Service(0.5)], key="h")) for n in range(400)]
    made = recording(tandem("a"), items, workers=2, capacities=Capacities(6.0), shares_gates=True)
    paces = [simulate(made, {}, items=400, machines=count).throughput for count in (1, 2, 4)]
    assert paces == pytest.approx([4, 6, 6], rel=0.05)
    apart = replace(made, shares_gates=False)
    assert simulate(apart, {}, items=400, machines=4).throughput == pytest.approx(16, rel=0.05)


def test_a_step_on_a_cluster_has_its_nodes_and_not_the_cores_of_the_coordinator() -> None:
    items = [item(str(n), a=Service(0.0, 0.5)) for n in range(200)]
    here = recording(tandem("a"), items, workers=4, cores=1)
    there = replace(here, placed={"a": {"CPU": 1.0}})
    assert simulate(here, {}).throughput == pytest.approx(2, rel=0.05)
    assert simulate(there, {}).throughput == pytest.approx(8, rel=0.05)
    paces = [simulate(there, {}, nodes=Nodes(many, {"CPU": 1})).throughput for many in (1, 2, 8)]
    assert paces == pytest.approx([2, 4, 8], rel=0.05)


def test_what_no_node_has_twice_one_worker_has_at_a_time() -> None:
    items = [item(str(n), a=Service(0.5)) for n in range(200)]
    made = recording(tandem("a"), items, workers=4, placed={"a": {"CPU": 2.0, "GPU": 1.0}})
    assert simulate(made, {}, nodes=Nodes(2, {"CPU": 3.0})).throughput == pytest.approx(4, rel=0.05)
    assert simulate(made, {}, nodes=Nodes(1, {"GPU": 2.0})).throughput == pytest.approx(4, rel=0.05)


def test_steps_that_do_not_fit_together_have_their_turns() -> None:
    """With one place a does ten, as many as b takes in, and has the place for a second in vain. So
    does b then. With three a has one more, which it needs half of the time."""
    items = [item(str(n), a=Service(0.5), b=Service(0.5)) for n in range(200)]
    placed = {"a": {"CPU": 1.0}, "b": {"CPU": 1.0}}
    made = recording(tandem("a", "b"), items, workers=2, queue=8, placed=placed)
    turn = 10 * 0.5 + LULL
    assert simulate(made, {}, nodes=Nodes(1, {"CPU": 1})).throughput == pytest.approx(
        10 / (2 * turn), rel=0.02
    )
    assert simulate(made, {}, nodes=Nodes(2, {"CPU": 1})).throughput == pytest.approx(2, rel=0.02)


def test_a_place_without_work_goes_to_the_step_that_has_too_few() -> None:
    """a takes three of the four places at first; b, which needs as many, has one of them after it
    has been idle for so long."""
    items = [item(str(n), a=Service(0.5), b=Service(0.5)) for n in range(400)]
    placed = {"a": {"CPU": 1.0}, "b": {"CPU": 1.0}}
    made = recording(tandem("a", "b"), items, workers=4, queue=8, placed=placed)
    found = simulate(made, {}, nodes=Nodes(2, {"CPU": 2}))
    assert 0.85 * 4 < found.throughput <= 4

"""The sizing policy, on figures and in closed loop with pipelines in virtual time."""

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.flow.autosize import (
    LONGEST_PAUSE,
    SHORTEST_PAUSE,
    Autosizer,
    Resize,
    Window,
    maximum_workers,
    pause_before_next,
)
from tests.engine.telemetry.test_statistics import pool
from tests.engine.virtual_pools import VirtualRun, VirtualStage, bound

NETWORK = float("inf")

DOWNLOAD_BOUND = [
    VirtualStage(wait=2.0, work=0.05, link=6.0),
    VirtualStage(work=0.1),
    VirtualStage(work=0.1, maximum=1, opening=2.0),
    VirtualStage(wait=0.4, work=0.01, off_cores=True),
]
DECODE_BOUND = [
    VirtualStage(wait=0.5, work=0.02),
    VirtualStage(work=0.8),
    VirtualStage(work=0.1, maximum=1, opening=2.0),
    VirtualStage(wait=0.4, work=0.01, off_cores=True),
]
DESCRIBE_BOUND = [
    VirtualStage(wait=0.5, work=0.02),
    VirtualStage(work=0.1),
    VirtualStage(work=0.1, maximum=1, opening=2.0),
    VirtualStage(wait=3.0, work=0.01, link=7.0, off_cores=True),
]
WORKLOADS = {"download": DOWNLOAD_BOUND, "decode": DECODE_BOUND, "describe": DESCRIBE_BOUND}


def seconds(stages: Sequence[VirtualStage], cores: int, items: int, *, auto: bool) -> float:
    return VirtualRun(stages, cores, auto=auto, items=items).run_to_end()


def best_fixed(stages: Sequence[VirtualStage], cores: int, items: int) -> float:
    """Seconds with the best of a whole grid of fixed sizes."""
    choices = [[n for n in (1, 2, 3, 4, 6, 8, 12, 16) if n <= s.maximum] for s in stages]
    return min(
        seconds(
            [replace(s, workers=n) for s, n in zip(stages, sizes, strict=True)],
            cores,
            items,
            auto=False,
        )
        for sizes in itertools.product(*choices)
    )


@pytest.mark.parametrize("bottleneck", WORKLOADS)
def test_from_one_worker_each_it_comes_within_a_twentieth_of_the_best_fixed_sizes(
    bottleneck: str,
) -> None:
    stages = WORKLOADS[bottleneck]
    items = math.ceil(60 * bound(stages, 2))
    grid = [s if s.maximum == 1 else replace(s, maximum=12) for s in stages]
    if bottleneck != "download":  # two workers are known to be enough there: a smaller grid
        grid[0] = replace(grid[0], maximum=2)
    if bottleneck != "describe":
        grid[3] = replace(grid[3], maximum=2)
    grid[1] = replace(grid[1], maximum=4)
    assert seconds(stages, 2, items, auto=True) <= 1.05 * best_fixed(grid, 2, items)


def random_stages(chance: random.Random) -> tuple[list[VirtualStage], int]:
    """Demands of a crawl on a machine, of every kind: what binds may be anything."""
    stages = [
        VirtualStage(
            wait=chance.uniform(0.3, 4),
            work=chance.uniform(0.01, 0.1),
            link=chance.choice([NETWORK, chance.uniform(2, 20)]),
        ),
        VirtualStage(wait=chance.uniform(0, 0.1), work=chance.uniform(0.02, 1.5)),
        VirtualStage(work=chance.uniform(0.02, 0.4), maximum=1, opening=chance.choice([0, 3])),
        VirtualStage(
            wait=chance.uniform(0.2, 5),
            work=chance.uniform(0.005, 0.05),
            link=chance.uniform(2, 30),
            off_cores=True,
        ),
    ]
    return stages[: chance.choice([2, 4, 4])], chance.choice([1, 2, 4, 8])


def plenty(stages: Sequence[VirtualStage], cores: int) -> list[VirtualStage]:
    """Sizes that a person who knew all demands would choose: enough of everything."""
    most = (16, min(cores + 1, 16), 1, 32)
    return [replace(s, workers=n) for s, n in zip(stages, most, strict=False)]


def test_over_random_demands_it_does_what_knowing_them_would_and_settles() -> None:
    chance = random.Random(3)
    slower, changes = [], []
    for _ in range(60):
        stages, cores = random_stages(chance)
        items = math.ceil(120 * bound(stages, cores))
        run = VirtualRun(stages, cores, items=items)
        slower.append(run.run_to_end() / seconds(plenty(stages, cores), cores, items, auto=False))
        changes.append(len(run.changes_since(60)))
    assert sorted(slower)[len(slower) // 2] <= 1.02
    assert sorted(slower)[len(slower) * 9 // 10] <= 1.06
    assert max(slower) <= 1.25
    assert sum(changes) / len(changes) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_the_number_of_changes_grows_with_the_logarithm_of_the_time(seed: int) -> None:
    """Each further round of shrinking and growing again, or of growing in vain, takes longer to
    come than the one before: so in the second half of any long time there is about one a pool."""
    stages, cores = random_stages(random.Random(seed))
    run = VirtualRun(stages, cores, seed=seed)
    run.run(1200)
    assert len(run.changes_since(600)) <= 2 * len(stages)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_it_never_answers_out_of_bounds_and_always_the_same(seed: int, cores: int) -> None:
    chance = random.Random(seed)
    one, other = Autosizer(cores), Autosizer(cores)
    maxima = {name: chance.randint(1, 40) for name in "abcd"}
    sizes = {name: chance.randint(1, most) for name, most in maxima.items()}
    automatic = {name: chance.random() < 0.8 for name in maxima}
    for _ in range(60):
        pools = {}
        for name, size in sizes.items():
            at_work = chance.choice([0.0, chance.random(), 1.0]) * size
            pools[name] = Window(
                workers=size,
                maximum=maxima[name],
                waiting=chance.randint(0, 8),
                queue=8,
                seconds=chance.uniform(0.2, 20),
                ended=chance.randint(0, 50),
                open=float(size),
                at_work=at_work,
                automatic=automatic[name],
                off_cores=name == "d",
            )
        cpu = chance.choice([0.0, chance.random(), 1.0])
        answer = one.decide(pools, cpu)
        assert answer == other.decide(pools, cpu)
        for name, resize in answer.items():
            assert automatic[name]
            assert 1 <= resize.workers <= maxima[name]
            assert resize.workers != sizes[name] and resize.why
            sizes[name] = resize.workers


def test_it_follows_a_change_of_load() -> None:
    stages = [VirtualStage(wait=0.5), VirtualStage(wait=3.0), VirtualStage(wait=0.3)]
    run = VirtualRun(stages, cores=3)
    run.run(200)
    sizes = run.sizes
    assert sizes[1] > sizes[2]
    for stage, wait in zip(run.stages.values(), [0.5, 0.3, 3.0], strict=True):
        stage.wait = wait
    run.run(300)
    swapped = [VirtualStage(wait=0.5), VirtualStage(wait=0.3), VirtualStage(wait=3.0)]
    assert run.run(300) >= 0.93 * bound(swapped, 3)


def test_it_gives_back_what_a_slow_source_does_not_need_and_takes_it_again() -> None:
    stages = [VirtualStage(wait=4.0, off_cores=True), VirtualStage(work=0.2)]
    run = VirtualRun(stages, cores=4)
    run.run(100)
    assert run.sizes[0] >= 16
    run.arrive(0.5)
    run.run(300)
    assert run.sizes[0] <= 8
    run.arrive(float("inf"))
    run.run(100)
    assert run.sizes[0] >= 16


def test_a_fixed_pool_is_left_alone_and_the_others_work_round_it() -> None:
    fixed = VirtualStage(wait=1.0, workers=2, automatic=False)
    stages = [VirtualStage(wait=1.0), fixed, VirtualStage(wait=1.0)]
    run = VirtualRun(stages, cores=4)
    run.run(60)
    assert run.run(200) == pytest.approx(2.0, rel=0.05)
    assert run.sizes[1] == 2


def test_a_pool_whose_items_wait_at_a_gate_does_not_grow_beyond_it() -> None:
    run = VirtualRun([VirtualStage(wait=1.0, gate=2), VirtualStage(work=0.1)])
    run.run(200)
    assert run.sizes[0] <= 4
    assert run.run(100) == pytest.approx(2.0, rel=0.05)


def test_a_pool_that_more_workers_do_not_help_goes_back_and_tries_again_ever_more_rarely() -> None:
    run = VirtualRun([VirtualStage(wait=1.0, link=12.0), VirtualStage(work=0.01)])
    run.run(50)
    assert run.sizes[0] == 16, "32 do no more than the 16 that share the link already"
    tried = [when for when, _, before, after in run.changes if (before, after) == (16, 32)]
    run.run(2000)
    tried = [when for when, _, before, after in run.changes if (before, after) == (16, 32)]
    between = [later - earlier for earlier, later in itertools.pairwise(tried)]
    assert run.sizes[0] == 16
    assert 3 <= len(between) <= 6
    assert all(later > 1.8 * earlier for earlier, later in itertools.pairwise(between))


PRESSED = Window(
    workers=4,
    maximum=32,
    waiting=8,
    queue=8,
    seconds=1.0,
    ended=4,
    open=4.0,
    at_work=4.0,
    automatic=True,
    off_cores=False,
)


def first_answer(window: Window, cores: int = 4, cpu: float = 0.0) -> int | None:
    answer = Autosizer(cores).decide({"a": window}, cpu).get("a")
    return answer.workers if answer else None


def test_it_doubles_what_is_at_work_only_with_a_backlog() -> None:
    assert first_answer(PRESSED) == 8
    assert first_answer(replace(PRESSED, waiting=3)) is None
    assert first_answer(replace(PRESSED, at_work=3.0)) is None
    assert first_answer(replace(PRESSED, maximum=5)) == 5
    assert first_answer(replace(PRESSED, maximum=4)) is None


def test_workers_that_are_still_opening_are_not_too_few() -> None:
    assert first_answer(replace(PRESSED, open=2.0, at_work=2.0)) is None
    assert first_answer(replace(PRESSED, open=0.0, at_work=0.0)) is None


def test_it_grows_no_further_than_the_processor_goes() -> None:
    assert first_answer(PRESSED, cpu=0.96) is None
    assert first_answer(PRESSED, cpu=0.6) == 6
    assert first_answer(PRESSED, cpu=0.9) == 5, "one more: threads also wait for the disk"
    assert first_answer(replace(PRESSED, workers=8, open=8.0, at_work=8.0), cpu=0.9) is None
    assert first_answer(replace(PRESSED, off_cores=True), cpu=1.0) == 8


def test_workers_without_a_place_on_a_cluster_are_not_too_few() -> None:
    placed = replace(PRESSED, off_cores=True, maximum=maximum_workers(None, 2, "ray"))
    assert first_answer(placed, cores=2, cpu=1.0) == 8
    assert first_answer(replace(placed, workers=8, open=8.0), cores=2, cpu=1.0) is None


def test_threads_that_compute_get_one_more_than_there_are_cores_and_those_that_wait_many() -> None:
    waits = replace(PRESSED, workers=8, open=8.0, at_work=8.0, wanted=0.4)
    assert first_answer(waits, cores=2, cpu=0.3) == 16
    assert first_answer(replace(waits, wanted=2.5), cores=2, cpu=0.3) is None
    two = replace(PRESSED, workers=2, open=2.0, at_work=2.0, wanted=1.9)
    assert first_answer(two, cores=2, cpu=0.6) == 3


def test_a_pool_that_turns_out_to_compute_gives_back_once_what_it_got_before_that_was_seen() -> (
    None
):
    """While other threads load a model its own hardly run, so that they seem to wait."""
    sizer = Autosizer(2)
    window = replace(PRESSED, workers=16, open=16.0, at_work=16.0, wanted=1.0)
    assert sizer.decide({"a": window}, 0.6) == {}
    assert sizer.decide({"a": replace(window, wanted=14.0)}, 1.0) == {}, "it may be for a moment"
    answer = sizer.decide({"a": replace(window, wanted=14.0)}, 1.0)["a"]
    assert answer == Resize(3, "16 threads that compute only share 2 cores")
    assert sizer.decide({"a": replace(window, wanted=14.0)}, 1.0) == {}, "it has been said"


def test_a_stage_that_computes_with_its_first_item_alone_grows_like_one_that_waits() -> None:
    """It imports what it needs."""
    sizer = Autosizer(2)
    window = replace(PRESSED, workers=3, open=3.0, at_work=3.0, ended=0, wanted=2.5)
    assert sizer.decide({"a": window}, 0.9) == {}
    assert sizer.decide({"a": replace(window, wanted=0.2)}, 0.2)["a"].workers == 6
    assert sizer.decide({"a": window}, 0.9) == {}, "and again with a new worker's first item"
    assert sizer.decide({"a": replace(window, wanted=0.2)}, 0.2)["a"].workers == 6


def test_beyond_a_size_it_waits_for_what_that_size_gets_done() -> None:
    sizer = Autosizer(4)
    window = replace(PRESSED, workers=16, open=16.0, at_work=16.0, ended=16)
    assert sizer.decide({"a": window}, 0.1) == {}, "those that end now began before"
    answer = sizer.decide({"a": window}, 0.1)["a"]
    assert answer == Resize(32, "all 16 were at work, and 8 of 8 waited")


def test_it_shrinks_only_after_a_while_and_to_what_was_needed_in_all_of_it() -> None:
    sizer = Autosizer(4)
    calm = replace(PRESSED, at_work=0.5, waiting=0, seconds=10.0, workers=8, open=8.0)
    assert sizer.decide({"a": calm}, 0.1) == {}
    assert sizer.decide({"a": replace(calm, at_work=1.5)}, 0.1) == {}
    answer = sizer.decide({"a": calm}, 0.1)["a"]
    assert answer == Resize(3, "0.5 of 8 were at work, and so for 30 s")


def test_one_worker_that_idles_is_left_and_does_not_count_as_a_shrink_that_proved_wrong() -> None:
    sizer = Autosizer(4)
    idle = replace(PRESSED, workers=1, open=1.0, at_work=0.1, waiting=0, seconds=40.0)
    assert sizer.decide({"a": idle}, 0.1) == {}
    busy = replace(PRESSED, workers=1, open=1.0, at_work=1.0)
    assert sizer.decide({"a": busy}, 0.1)["a"].workers == 2
    calm = replace(idle, workers=8, open=8.0)
    assert sizer.decide({"a": calm}, 0.1)["a"].workers == 1


def test_a_moment_of_need_begins_the_wait_anew() -> None:
    sizer = Autosizer(4)
    calm = replace(PRESSED, at_work=0.5, waiting=0, seconds=20.0)
    assert sizer.decide({"a": calm}, 0.1) == {}
    assert sizer.decide({"a": replace(calm, at_work=3.0)}, 0.1) == {}
    assert sizer.decide({"a": calm}, 0.1) == {}
    assert sizer.decide({"a": calm}, 0.1)["a"].workers == 1


def test_it_looks_often_at_first_and_rarely_once_calm() -> None:
    pauses = [pause_before_next(calm) for calm in (0, 1, 10, 40, 100, 10_000)]
    assert pauses[0] == SHORTEST_PAUSE and pauses[-1] == LONGEST_PAUSE
    assert pauses == sorted(pauses)


def test_a_window_is_what_passed_between_two_statistics() -> None:
    earlier = pool("fetch", 2, busy=100, starved=100)
    now = replace(
        earlier,
        busy=115.0,
        starved=105.0,
        blocked=5.0,
        worker_seconds=230.0,
        waiting=6,
        attempts=17,
    )
    window = Window.between(
        earlier, now, 10.0, workers=4, maximum=9, automatic=True, off_cores=False
    )
    assert (window.workers, window.waiting, window.queue, window.maximum) == (4, 6, 8, 9)
    assert (window.open, window.at_work, window.ended) == (3.0, 2.0, 7)


def test_the_maximum_is_the_stages_own_or_follows_from_the_cores() -> None:
    assert maximum_workers(3, 8, "thread") == 3
    assert maximum_workers(None, 8, "thread") == 32
    assert maximum_workers(None, 64, "thread") == 128
    assert maximum_workers(None, 8, "process") == 16

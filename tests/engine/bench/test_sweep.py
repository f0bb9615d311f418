"""The policy: what is tried when, and what is recommended."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bench.configuration import Configuration, grid
from engine.bench.sweep import ETA, Rung, ratings, recommend, rungs, sweep
from engine.bench.trial import Trial

Speed = Callable[[Configuration], float]


def one(number: int) -> Configuration:
    return Configuration.of(a=number)


def tried(grid: list[Configuration], items: int, repeats: int, speed: Speed) -> list[Trial]:
    plan = rungs(len(grid), items, fewest=4)
    return list(sweep(grid, plan, repeats, lambda c, n: Trial(c, n, throughput=speed(c))))


sizes = st.integers(1, 400)


@given(sizes, sizes, st.integers(1, 50))
def test_rungs_halve_successively(configurations: int, items: int, fewest: int) -> None:
    plan = rungs(configurations, items, fewest)
    assert plan[0].configurations == configurations
    assert plan[-1].items == items
    assert plan[-1].configurations >= min(configurations, ETA)
    assert plan[0].items >= min(items, fewest)
    for rung, following in pairwise(plan):
        assert rung.items < following.items
        assert following.configurations < rung.configurations
    # No rung costs more than the first, but for rounding up.
    for step, rung in enumerate(plan):
        shrunk = (configurations / ETA**step + 1) * (items / ETA ** (len(plan) - 1 - step) + 1)
        assert rung.configurations * rung.items <= shrunk


def test_a_small_grid_is_tried_whole() -> None:
    assert rungs(8, 100, 4) == [Rung(8, 100)]
    assert rungs(9, 100, 4) == [Rung(9, 34), Rung(3, 100)]
    assert rungs(27, 100, 4) == [Rung(27, 12), Rung(9, 34), Rung(3, 100)]
    assert rungs(27, 11, 4) == [Rung(27, 11)]  # too few items to begin with a third of them


@given(
    st.lists(st.floats(0.1, 100), min_size=1, max_size=60, unique=True),
    st.integers(1, 300),
    st.integers(1, 3),
)
def test_without_noise_the_best_is_found(speeds: list[float], items: int, repeats: int) -> None:
    configurations = [one(number) for number in range(1, len(speeds) + 1)]
    trials = tried(configurations, items, repeats, lambda c: speeds[c.workers["a"] - 1])
    found = recommend(ratings(trials))
    assert found is not None
    assert found.best.throughput.median == max(speeds)
    plan = rungs(len(speeds), items, fewest=4)
    assert len(trials) == sum(rung.configurations for rung in plan) * repeats
    assert len(trials) <= 1.5 * (len(speeds) + len(plan)) * repeats


@given(st.integers(9, 60), st.integers(0, 1000))
def test_with_some_noise_what_is_chosen_is_nearly_as_good(count: int, seed: int) -> None:
    draw = random.Random(seed)
    truth = [draw.uniform(1, 10) for _ in range(count)]
    configurations = [one(number) for number in range(1, count + 1)]

    def speed(configuration: Configuration) -> float:
        return truth[configuration.workers["a"] - 1] * draw.uniform(0.95, 1.05)

    found = recommend(ratings(tried(configurations, 300, 3, speed)))
    assert found is not None
    assert truth[found.chosen.configuration.workers["a"] - 1] >= 0.8 * max(truth)


def test_rounds_are_interleaved_and_begin_with_another_each_time() -> None:
    order = [trial.configuration for trial in tried([one(1), one(2), one(3)], 30, 3, lambda c: 1)]
    assert [c.workers["a"] for c in order] == [1, 2, 3, 2, 3, 1, 3, 1, 2]


def test_what_cannot_run_is_tried_once_and_never_recommended() -> None:
    turns: Counter[int] = Counter()

    def evaluate(configuration: Configuration, items: int) -> Trial:
        number = configuration.workers["a"]
        turns[number] += 1
        problem = "killed" if number == 2 else None
        return Trial(configuration, items, throughput=99.0 if problem else 1.0, problem=problem)

    configurations = grid({"a": (1, 2, 3)})
    trials = list(sweep(configurations, [Rung(3, 10)], 3, evaluate))
    assert turns == {1: 3, 2: 1, 3: 3}
    found = recommend(ratings(trials))
    assert found is not None
    assert found.best.configuration == one(1)
    assert ratings(trials)[-1].problem == "killed"


def test_nothing_is_recommended_where_nothing_ran() -> None:
    plan = [Rung(9, 4), Rung(3, 12)]
    configurations = [one(number) for number in range(1, 10)]
    trials = list(sweep(configurations, plan, 3, lambda c, n: Trial(c, n, problem="killed")))
    assert len(trials) == 9
    assert recommend(ratings(trials)) is None


def results(*pairs: tuple[int, list[float]]) -> list[Trial]:
    return [Trial(one(n), 10, throughput=rate) for n, rates in pairs for rate in rates]


def test_fewest_workers_among_those_as_fast_as_the_best() -> None:
    found = recommend(
        ratings(results((1, [1.0, 1.1, 1.2]), (2, [2.0, 2.8, 3.1]), (8, [2.9, 3.0, 3.2])))
    )
    assert found is not None
    assert (found.chosen.configuration, found.best.configuration) == (one(2), one(8))
    assert found.why == (
        "a=2 is as fast as the fastest, a=8, as far as 3 runs of each tell (its median is 7% "
        "lower), with 2 workers in place of 8."
    )


def test_a_clear_winner_is_taken_with_all_its_workers() -> None:
    found = recommend(ratings(results((1, [1.0, 1.1]), (8, [2.9, 3.0]))))
    assert found is not None
    assert found.chosen.configuration == one(8)
    assert found.why == "a=8 is the fastest."


def test_exact_figures_within_two_percent_are_the_same() -> None:
    found = recommend(ratings(results((2, [0.985]), (3, [0.97]), (8, [1.0]))))
    assert found is not None
    assert found.chosen.configuration == one(2)


def test_only_what_got_all_items_is_recommended() -> None:
    few = [Trial(one(1), 5, throughput=9.0)]
    found = recommend(ratings([*few, *results((2, [1.0]), (3, [0.5]))]))
    assert found is not None
    assert found.best.configuration == one(2)


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_sweep_that_is_left_keeps_its_trials(repeats: int) -> None:
    trials: list[Trial] = []

    def evaluate(configuration: Configuration, items: int) -> Trial:
        if len(trials) == 2:
            raise KeyboardInterrupt
        return Trial(configuration, items, throughput=float(configuration.total))

    with pytest.raises(KeyboardInterrupt):
        for trial in sweep([one(1), one(2), one(3)], [Rung(3, 10)], repeats, evaluate):
            trials.append(trial)  # noqa: PERF402 - what a list comprehension would lose
    found = recommend(ratings(trials))
    assert found is not None
    assert found.best.configuration == one(2)

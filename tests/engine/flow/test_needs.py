"""Steps that need the same: their attempts take turns, and give back what they took however they
end."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from engine import SOURCE, ConfigError, Ending, Item, Step
from engine.flow.run import Run
from tests.engine.toys import LoopToy, Obedient, executions, line, run, run_within, toy, until


class Needy(LoopToy):
    """Sees who is at work beside it. `most` is the most of each step, or of all ("")."""

    needed: ClassVar[Mapping[str, int]] = {"gpu": 1}
    inside: ClassVar[Counter[str]]
    most: ClassVar[Counter[str]]
    others: ClassVar[set[tuple[str, ...]]]

    def needs(self) -> Mapping[str, int]:
        return self.needed

    async def process(self, item: Item, out: Path) -> Any:
        with self.at_work():
            await anyio.sleep(0.001)
            return self.act(item, out)

    async def process_batch(  # type: ignore[override]
        self, items: list[Item], outs: list[Path]
    ) -> list[Ending | None]:
        with self.at_work():
            await anyio.sleep(0.001)
            return self.act_on_all(items, outs)

    def at_work(self) -> "AtWork":
        return AtWork(self)


class AtWork:
    def __init__(self, stage: Needy) -> None:
        self.stage = stage

    def __enter__(self) -> None:
        inside, stage = self.stage.inside, self.stage
        inside[stage.name] += 1
        stage.most[stage.name] = max(stage.most[stage.name], inside[stage.name])
        stage.others.add(tuple(sorted(name for name, many in inside.items() if many)))

    def __exit__(self, *_: object) -> None:
        self.stage.inside[self.stage.name] -= 1


@pytest.fixture
def seen() -> dict[str, Any]:
    """What the stages of a pipeline note down together."""
    return {"base": Needy, "inside": Counter(), "most": Counter(), "others": set()}


def test_steps_that_need_the_same_take_turns_and_workers_of_one_do_not(
    fast: Path, seen: dict[str, Any]
) -> None:
    pipeline = line(toy("a", **seen), toy("b", "a", **seen), toy("c", "b", **seen))
    settings = [f"stages.{name}.workers=3" for name in "abc"]
    settings += [f"stages.{name}.queue=1" for name in "abc"]
    report = run_within(30, pipeline, fast, [f"v{n}" for n in range(40)], *settings)
    assert report.items["done"] == 40
    assert seen["others"] == {("a",), ("b",), ("c",)}
    assert max(seen["most"].values()) == 3, "they feed what their step has taken side by side"
    pools = report.pools.values()
    assert all(pool.needing > 0 for pool in pools)
    assert all(pool.needs == "gpu" for pool in pools)


def test_more_of_it_lets_more_steps_at_it(fast: Path, seen: dict[str, Any]) -> None:
    pipeline = line(toy("a", **seen), toy("b", "a", **seen), toy("c", "b", **seen))
    report = run(pipeline, fast, [f"v{n}" for n in range(40)], "limits.resources={gpu = 2}")
    assert report.items["done"] == 40
    assert max(len(names) for names in seen["others"]) == 2


def test_a_step_that_needs_two_gets_them_at_once(fast: Path, seen: dict[str, Any]) -> None:
    """In turn with those who always want one of them."""
    pipeline = line(
        toy("a", **seen, needed={"left": 1}),
        toy("b", **seen, needed={"right": 1}),
        toy("c", "a", "b", **seen, needed={"left": 1, "right": 1}),
    )
    settings = [f"stages.{name}.workers=2" for name in "abc"]
    report = run_within(30, pipeline, fast, [f"v{n}" for n in range(40)], *settings)
    assert report.items["done"] == 40
    assert not {("a", "c"), ("b", "c"), ("a", "b", "c")} & seen["others"]


def test_a_batch_takes_it_once(fast: Path, seen: dict[str, Any]) -> None:
    pipeline = line(toy("a", **seen), toy("b", "a", **seen))
    settings = ["stages.a.batch=4", "stages.b.batch=4"]
    report = run_within(30, pipeline, fast, [f"v{n}" for n in range(40)], *settings)
    assert report.items["done"] == 40
    assert seen["others"] == {("a",), ("b",)}


def test_it_is_given_back_however_an_attempt_ends(fast: Path, seen: dict[str, Any]) -> None:
    does = {
        "v1": ["drop"], "v2": ["permanent"], "v3": ["transient", 2], "v4": ["bug", -1],
        "v5": ["throttled", 2, 0.01], "v6": ["expand", ["w0", "w1"]],
    }  # fmt: skip

    class Unsure(Needy):
        """Its gate fails for some, which fails the attempt before it begins."""

        def gate(self, item: Item) -> str | None:
            if item.source == "v7":
                raise ValueError("no such place")
            return "place"

    pipeline = line(toy("a", **seen | {"base": Unsure}, does=does), toy("b", "a", **seen))
    settings = ["stages.a.workers=2", "stages.a.attempts=3", "limits.concurrency=2"]
    report = run_within(30, pipeline, fast, [f"v{n}" for n in range(12)], *settings)
    assert report.items == {"done": 10, "dropped": 1, "failed": 3, "reused": 0}
    assert seen["others"] == {("a",), ("b",)}


class First(Obedient):
    """In processes, which some items kill and others keep too long."""

    def needs(self) -> Mapping[str, int]:
        return {"gpu": 1}


class Second(First):
    """In threads."""


def test_it_is_given_back_when_a_worker_dies_or_hangs(fast: Path) -> None:
    pipeline = line(Step(First, SOURCE), Step(Second, "first"))
    settings = ["stages.first.placement=process", "stages.first.attempts=1"]
    settings.append("stages.first.timeout=1")
    sources = ["kill SIGKILL", "done 0", "hang", "done 1"]
    report = run_within(60, pipeline, fast, sources, *settings)
    assert report.items == {"done": 2, "dropped": 0, "failed": 2, "reused": 0}


def test_a_drained_run_begins_no_attempt_that_only_waited_for_its_turn(
    fast: Path, seen: dict[str, Any]
) -> None:
    """`first` is done beside `last`, which is at it still: so it waits for its turn in `b`."""
    both, waiting = anyio.Event(), anyio.Event()

    class Slow(Needy):
        async def process(self, item: Item, out: Path) -> Any:
            if item.source == "last":
                both.set()
                await waiting.wait()
            await both.wait()
            return await super().process(item, out)

    pipeline = line(toy("a", **seen | {"base": Slow}), toy("b", "a", **seen))

    def prepare(started: Run) -> list[Any]:
        async def interrupt() -> None:
            await until(lambda: started.pools["b"].statistics().needing > 0)
            started.drain("interrupted", "enough")
            waiting.set()

        return [interrupt]

    report = run(pipeline, fast, ["first", "last"], "stages.a.workers=2", prepare=prepare)
    assert report.outcome == "interrupted"
    assert sum(many for (stage, _), many in executions(fast).items() if stage == "b") == 0
    assert seen["inside"].total() == 0
    again = run(pipeline, fast, ["first", "last"], "stages.a.workers=2")
    assert again.items["done"] == 2


def test_a_stage_that_needs_more_than_there_is_is_refused_before_the_run(
    fast: Path, seen: dict[str, Any]
) -> None:
    pipeline = line(toy("a", **seen, needed={"gpu": 2}))
    with pytest.raises(ConfigError, match=r"stage 'a' needs 2 of 'gpu', and limits.resources"):
        run(pipeline, fast, ["v"])
    assert run(pipeline, fast, ["v"], "limits.resources={gpu = 2}").items["done"] == 1

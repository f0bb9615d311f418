"""Pipelines: a graph is checked when it is built, and says which stage is at fault."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import SOURCE, Item, Pipeline, PipelineError, Stage, Step
from tests.engine.toys import LoopToy, Toy, line, run, toy


class Fetch(Stage):
    """Named after its class."""


def test_a_stage_is_named_after_its_class_unless_it_says_otherwise() -> None:
    assert Fetch.name == "fetch"
    assert toy("other").stage.name == "other"


def test_stages_come_in_the_order_in_which_items_pass_them() -> None:
    pipeline = line(toy("d", "b", "c"), toy("c", "a"), toy("b", "a"), toy("a"))
    assert pipeline.names[0] == "a"
    assert pipeline.names[-1] == "d"
    assert pipeline.roots == ("a",)
    assert pipeline.predecessors("d") == ("b", "c")
    assert sorted(pipeline.successors("a")) == ["b", "c"]
    assert pipeline["b"].predecessors == ("a",)


def test_one_name_in_after_needs_no_list() -> None:
    assert Step(Fetch, SOURCE).is_root
    assert Step(Fetch, "a").predecessors == ("a",)
    assert Step(Fetch, ["a", "b"]).predecessors == ("a", "b")


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([], "it has no stages"),
        ([toy("source")], "a stage cannot be named 'source'"),
        ([toy("a"), toy("a")], "two steps are named 'a'"),
        (
            [toy("a"), toy("b", "ab")],
            "stage 'b' comes after 'ab', which does not exist; did you me",
        ),
        ([toy("a"), toy("b", "xyz")], "which does not exist; known: a, b"),
        ([toy("a"), toy("b", "a", "c"), toy("c", "b")], "its stages form a cycle"),
        ([toy("a", "a")], "its stages form a cycle"),
        ([toy("a"), toy("b", "source", "a")], "stage 'b' comes after the source and after 'a'"),
        ([toy("a"), Step(Fetch, [])], "nothing reaches stage 'fetch'"),
    ],
)
def test_an_impossible_graph_is_refused(steps: Sequence[Step], problem: str) -> None:
    with pytest.raises(PipelineError, match=r"^pipeline 'toy': ") as refusal:
        Pipeline("toy", "A toy.", steps)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


class Async:
    """Methods that are async, or yield."""

    async def nothing(self) -> None:
        pass

    async def one(self, given: Any) -> None:
        pass

    async def two(self, given: Any, more: Any) -> None:
        pass

    async def yields(self, item: Item, out: Path) -> AsyncIterator[Item]:
        yield item

    def plainly_yields(self, *given: Any) -> Iterator[Any]:
        yield given


@pytest.mark.parametrize(
    ("base", "attributes", "problem"),
    [
        (Toy, {"process": Async.yields}, "its process() is an `async def` that yields; return an"),
        (LoopToy, {"process": Async.yields}, "its process() is an `async def` that yields"),
        (Toy, {"open": Async.nothing}, "its open() is async and its process() is not"),
        (Toy, {"close": Async.nothing}, "its close() is async and its process() is not"),
        (Toy, {"process_batch": Async.two}, "its process_batch() is async and its process() is"),
        (Toy, {"gate": Async.one}, "its gate() is async"),
        (LoopToy, {"gate": Async.one}, "its gate() is async, and is called where nothing may wait"),
        (LoopToy, {"bound": Async.nothing}, "its bound() is async"),
        (Toy, {"process_batch": Async.plainly_yields}, "its process_batch() yields; only process"),
        (LoopToy, {"process_batch": Async.yields}, "its process_batch() yields"),
        (Toy, {"open": Async.plainly_yields}, "its open() yields"),
        (Toy, {"gate": Async.plainly_yields}, "its gate() yields"),
        (Toy, {"Settings": dict}, "its Settings are no class derived from engine.Settings"),
    ],
)
def test_a_stage_that_the_engine_cannot_use_is_refused(
    base: type[Toy], attributes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(PipelineError, match=r"^pipeline 'toy': stage 'a': ") as refusal:
        line(toy("a", base=base, **attributes))
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_is_no_stage_is_refused() -> None:
    with pytest.raises(PipelineError, match="'fetch', which is no class of an engine"):
        line(Step("fetch", SOURCE))  # type: ignore[arg-type]


def test_a_plain_process_may_yield_and_an_async_one_return_what_yields(tmp_path: Path) -> None:
    def process(self: Toy, item: Item, out: Path) -> Iterator[Item]:
        if item.source == "list":
            yield item.child("v1")

    async def on_the_loop(self: Toy, item: Item, out: Path) -> Iterator[Item] | None:
        return iter([item.child("v1")]) if item.source == "list" else None

    assert run(line(toy("a", process=process)), tmp_path / "t", ["list"]).items["done"] == 2
    on_loop = toy("a", base=LoopToy, process=on_the_loop)
    assert run(line(on_loop), tmp_path / "l", ["list"]).items["done"] == 2

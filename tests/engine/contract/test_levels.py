"""Steps at the parts of others: which level each stands at, and what it may read from there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import SOURCE, Item, Parts, Pipeline, PipelineError, Stage, Step
from tests.engine.toys import line


class Plain(Stage):
    """Has roles for every step there may be, all of them optional."""

    optional_inputs: ClassVar[str | Sequence[str]] = ("main", "other")

    def process(self, item: Item, out: Path) -> Any: ...


class Cutter(Stage):
    """Splits its items."""

    def split(self, item: Item, out: Path, parts: Parts) -> Any: ...


class LoopCutter(Stage):
    """Splits its items on the loop."""

    async def split(self, item: Item, out: Path, parts: Parts) -> Any: ...


def step(
    name: str, *after: str, each: str = "", other: str | None = None, base: type[Stage] = Plain
) -> Step:
    inputs = {"main": None, "other": other} if base is Plain else {}
    return Step(base, after or SOURCE, name, inputs, each)


def cut(name: str, *after: str, each: str = "") -> Step:
    return step(name, *after, each=each, base=Cutter)


NESTED = (
    step("fetch"),
    cut("scenes", "fetch"),
    step("objects", "scenes", each="scenes", other="fetch"),
    cut("chunks", "scenes", each="scenes"),
    step("speech", "chunks", each="chunks", other="fetch"),
    step("scene", "objects", "speech", each="scenes", other="speech"),
    step("index", "scene", other="scenes"),
)


def test_every_step_has_a_level() -> None:
    pipeline = line(*NESTED)
    assert {name: pipeline.level(name) for name in pipeline.names} == {
        "fetch": (),
        "scenes": (),
        "objects": ("scenes",),
        "chunks": ("scenes",),
        "speech": ("scenes", "chunks"),
        "scene": ("scenes",),
        "index": (),
    }


def test_a_stage_splits_if_it_says_how() -> None:
    assert not Plain.splits()
    assert Cutter.splits() and not Cutter.is_async()
    assert LoopCutter.splits() and LoopCutter.is_async()


TWO = (step("a"), cut("cut", "a"), cut("slice", "a"), step("piece", "cut", each="cut"))


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (
            [step("a"), step("b", "a", each="cutt")],
            "step 'b' stands at the parts of 'cutt' (each=), which is no step before it; before it:"
            " a",
        ),
        (
            [step("a", each="a")],
            "step 'a' stands at the parts of 'a' (each=), which is no step before it; before it: "
            "only the source",
        ),
        (
            [*TWO, step("b", "piece", each="slice")],
            "step 'b' stands at the parts of 'slice' (each=), which is no step before it",
        ),
        (
            [step("a"), step("b", "a", each="a")],
            "step 'b' stands at the parts of 'a' (each=), whose stage makes none: it has no ",
        ),
        (
            [*TWO, step("join", "piece", "cut"), step("b", "join", each="cut")],
            "step 'b' stands at the parts of 'cut' (each=), but comes after none of them; name "
            "'cut', or a step that stands there, in its `after`",
        ),
        (
            [*NESTED, step("end", "index", other="speech")],
            "step 'end' reads 'speech', which stands 2 levels below it; have a step at the parts "
            "of 'scenes' gather it first",
        ),
        (
            [*TWO, step("b", "slice", "piece", each="slice")],
            "step 'b' reads 'piece', which stands at the parts of 'cut': those of another branch; "
            "have a step of whole items gather it first",
        ),
        (
            [
                *TWO,
                step("join", "piece", "slice"),
                step("b", "join", "slice", each="slice", other="piece"),
            ],
            "step 'b' reads 'piece', which stands at the parts of 'cut': those of another branch",
        ),
        (
            [step("a"), step("b.parts", "a")],
            "no step's name may end in '.parts', as that of 'b.parts' does; give it another: "
            "Step(..., name=...)",
        ),
    ],
)
def test_what_cannot_stand_there_is_refused(steps: Sequence[Step], problem: str) -> None:
    with pytest.raises(PipelineError, match=r"^pipeline 'toy': ") as refusal:
        Pipeline("toy", "A toy.", steps)
    assert problem in str(refusal.value)
    assert "\n" not in str(refusal.value)


class More:
    """Methods that do not go with `split`."""

    def two(self, one: Any, other: Any) -> Any: ...

    def one(self, item: Item) -> str | None: ...

    async def nothing(self) -> None: ...

    def yields(self, item: Item, out: Path, parts: Parts) -> Iterator[Item]:
        yield item

    async def splits(self, item: Item, out: Path, parts: Parts) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"process": More.two}, "it has split() and process(); a stage has one of them"),
        ({"process_batch": More.two}, "it has split() and process_batch(); a stage has one of"),
        ({"gate": More.one}, "do what goes through the gate in a step before it"),
        ({"open": More.nothing}, "make it a `def`, or split() an `async def`"),
        (
            {"split": More.yields},
            "its split() yields; have it hand over its parts with parts.make()",
        ),
        ({"split": More.splits, "open": More.nothing}, None),
    ],
)
def test_a_stage_that_splits_has_a_split_and_nothing_against_it(
    attributes: dict[str, Any], problem: str | None
) -> None:
    steps = [Step(type("Cut", (Cutter,), attributes), SOURCE, "cut")]
    if problem is None:
        line(*steps)
        return
    with pytest.raises(PipelineError, match=r"^pipeline 'toy': stage 'cut': ") as refusal:
        line(*steps)
    assert problem in str(refusal.value)

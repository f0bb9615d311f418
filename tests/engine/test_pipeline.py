"""Pipelines: a graph is checked when it is built, and says which stage is at fault."""

from collections.abc import Sequence

import pytest

from engine import SOURCE, Pipeline, PipelineError, Stage, Step
from tests.engine.toys import line, toy


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

"""Retries of random failures in nested parts: what was mended is as if it had never failed."""

from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import Pipeline
from engine.flow.journey import Graph
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Does, executions, fast_folder, line, query, run_within, toy, tree

SECONDS = 20.0
PLACES = ["", "/0", "/1", "/0/0", "/0/1", "/1/0", "/1/1"]
STEPS = "wcedfhkg"
DONE = "SELECT stage, item FROM stages WHERE outcome = 'done' AND gaps IS NULL"

Failing = Mapping[tuple[str, str], str]
"""How a step ends with an item, or a part by its positions."""

failing = st.dictionaries(
    st.tuples(st.sampled_from(STEPS), st.sampled_from(PLACES)),
    st.sampled_from(["permanent", "permanent", "drop", "bug"]),
    max_size=7,
)


def nested(failing: Failing) -> Pipeline:
    """Two levels of parts, with a step above that they read, and gatherers at each."""

    def does(step: str) -> Does:
        return {f"a{place}": [how] for (name, place), how in failing.items() if name == step}

    cuts = {"a": 2, "b": 2} | {f"{item}/{n}": 2 for item in "ab" for n in range(2)}
    return line(
        toy("w", does=does("w")),
        cut("c", cuts=cuts),
        at("c", "e", "c", "w", does=does("e")),
        cut("d", "c", each="c", cuts=cuts, does=does("d")),
        at("d", "f", "d", "w", does=does("f")),
        gather("h", "f", each="c", does=does("h")),
        at("c", "k", "e", "h", does=does("k")),
        gather("g", "k", does=does("g")),
    )


def tried_again(workdir: Path, pipeline: Pipeline, kinds: set[str]) -> None:
    graph, ledger = Graph(pipeline, {}), Ledger(workdir / FILE)
    after = {name: graph.descendants(name) for name in graph.names}
    ledger.begin()
    ledger.retrying.reset(after)
    ledger.retrying.reset(after, gaps=True)
    for kind in kinds:
        ledger.retrying.reset(after, kind)
    ledger.commit()
    ledger.close()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(failing, st.integers(0, 2), st.integers(0, 2), st.sets(st.sampled_from(STEPS[:-1])))
def test_what_was_mended_is_as_if_it_had_never_failed(
    failing: Failing, most_c: int, most_d: int, gone: set[str]
) -> None:
    kept = [f"stages.{name}.keep=false" for name in gone]
    tolerant = [f"stages.c.most_failed={most_c}", f"stages.d.most_failed={most_d}"]
    options = [*kept, *tolerant, *(f"stages.{name}.attempts=1" for name in STEPS)]
    with fast_folder() as folder:
        run_within(SECONDS, nested({}), folder / "whole", ["a", "b"], *kept)
        workdir = folder / "mended"
        run_within(SECONDS, nested(failing), workdir, ["a", "b"], *options)
        finished = set(query(workdir, DONE))
        before = executions(workdir)
        drops = query(workdir, "SELECT DISTINCT kind FROM stages WHERE outcome = 'dropped'")
        tried_again(workdir, nested({}), {kind for (kind,) in drops})
        report = run_within(SECONDS, nested({}), workdir, ["a", "b"], *options)
        assert report.items["done"] == 2
        assert report.gaps == 0
        assert tree(workdir) == tree(folder / "whole")
        again = set(executions(workdir) - before)
        if not gone:
            assert {stage for stage, _ in finished & again} <= set("hkg"), "and what gathered"

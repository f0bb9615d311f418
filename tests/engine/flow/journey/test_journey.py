"""An item's way through the graph: joins, what is reused and what is redone, what is deleted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine import Item
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.ledger.records import Change, End, Known, Settled
from tests.engine.toys import line, toy

ITEM = Item.at(Path("work"), "v")
LINE = line(toy("a"), toy("b", "a"), toy("c", "b"))
DIAMOND = line(toy("a"), toy("b", "a"), toy("c", "a"), toy("d", "b", "c"))


@dataclass
class Traveller:
    """Takes one item through a graph again and again, as runs do; remembers what a ledger would."""

    graph: Graph
    known: dict[str, Known] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    outcome: Settled | None = None

    def go(
        self, graph: Graph | None = None, busy: Sequence[str] = (), **ends: Settled
    ) -> "Traveller":
        """Another run; `ends` says which stages end other than done (in a way a retry may mend).
        The `busy` ones begin with the item only when its turn has come, the others at once."""
        self.graph = graph or self.graph
        self.ran, self.discarded, self.stale = [], [], []
        journey = Journey(self.graph, ITEM, dict(self.known))
        self._note(journey, change := journey.advance())
        queue = list(change.entering)
        while queue:
            for stage in queue:
                if stage not in busy:
                    journey.begin(stage)
            stage = queue.pop(0)
            self.ran.append(stage)
            outcome = ends.get(stage, "done")
            fingerprint, retryable = journey.begin(stage), outcome == "failed"
            end = End(stage, outcome, fingerprint, retryable=retryable)
            on_disk = end.fingerprint if outcome == "done" else None
            self.known[stage] = Known(outcome, end.fingerprint, on_disk, retryable=end.retryable)
            self._note(journey, change := journey.advance(end))
            queue += change.entering
            queue = [name for name in queue if name not in change.withdrawn]
            for name in change.withdrawn:
                self.known.pop(name, None)
        return self

    def _note(self, journey: Journey, change: Change) -> None:
        for stage in change.discardable:
            before = self.known[stage]
            self.known[stage] = Known("done", before.fingerprint, None, discarded=True)
            self.discarded.append(stage)
        self.stale += change.stale
        for stage in change.obsolete:
            del self.known[stage]
        self.outcome = change.outcome


def graph(
    pipeline: object = LINE,
    settings: Mapping[str, int] | None = None,
    optional: Sequence[str] = (),
    discarding: Sequence[str] = (),
) -> Graph:
    return Graph(
        pipeline,  # type: ignore[arg-type]
        {name: {"value": value} for name, value in (settings or {}).items()},
        frozenset(optional),
        frozenset(discarding),
    )


# Ways through


def test_an_item_goes_from_stage_to_stage_and_ends() -> None:
    traveller = Traveller(graph()).go()
    assert traveller.ran == ["a", "b", "c"]
    assert traveller.outcome == "done"


def test_a_join_waits_for_all_that_is_before_it() -> None:
    journey = Journey(graph(DIAMOND), ITEM)
    assert journey.advance().entering == ("a",)
    assert sorted(journey.advance(End("a", "done", "fa")).entering) == ["b", "c"]
    assert journey.advance(End("b", "done", "fb")).entering == ()
    assert journey.advance(End("c", "done", "fc")).entering == ("d",)


@pytest.mark.parametrize("outcome", ["failed", "dropped"])
def test_what_ends_ill_goes_no_further_but_other_branches_do(outcome: Settled) -> None:
    traveller = Traveller(graph(DIAMOND)).go(b=outcome)
    assert sorted(traveller.ran) == ["a", "b", "c"]
    assert traveller.outcome == outcome


def test_a_failure_weighs_more_than_a_drop() -> None:
    assert Traveller(graph(DIAMOND)).go(b="dropped", c="failed").outcome == "failed"


@pytest.mark.parametrize("outcome", ["failed", "dropped"])
def test_an_optional_stage_only_degrades_the_item(outcome: Settled) -> None:
    traveller = Traveller(graph(DIAMOND, optional=["b"])).go(b=outcome)
    assert sorted(traveller.ran) == ["a", "b", "c", "d"]
    assert traveller.outcome == "done"


def test_what_comes_after_an_expansion_is_not_entered_and_other_branches_are() -> None:
    pipeline = line(toy("a"), toy("b"), toy("c", "a"), toy("d", "b"))
    for first, second in (("a", "b"), ("b", "a")):
        journey = Journey(graph(pipeline), ITEM)
        entered = list(journey.advance().entering)
        for stage in (first, second):
            expanded = 2 if stage == "a" else None
            entered += journey.advance(End(stage, "done", "f", expanded)).entering
        assert sorted(entered) == ["a", "b", "d"], "whichever ended first"


# Doing again


def test_with_the_same_settings_nothing_is_done_again() -> None:
    traveller = Traveller(graph()).go()
    assert traveller.go().ran == []
    assert traveller.outcome == "done"


@pytest.mark.parametrize(
    ("changed", "again"), [("a", ["a", "b", "c"]), ("b", ["b", "c"]), ("c", ["c"])]
)
def test_a_changed_setting_redoes_that_stage_and_what_follows(
    changed: str, again: list[str]
) -> None:
    traveller = Traveller(graph()).go()
    assert traveller.go(graph(settings={changed: 1})).ran == again


def test_a_new_version_of_a_stage_redoes_it() -> None:
    traveller = Traveller(graph()).go()
    newer = line(toy("a"), toy("b", "a", version=2), toy("c", "b"))
    assert traveller.go(graph(newer)).ran == ["b", "c"]


def test_a_change_in_one_branch_leaves_the_other_alone() -> None:
    traveller = Traveller(graph(DIAMOND)).go()
    assert traveller.go(graph(DIAMOND, settings={"b": 1})).ran == ["b", "d"]


@pytest.mark.parametrize("outcome", ["failed", "dropped"])
def test_what_failed_stays_failed_until_something_before_it_changes(outcome: Settled) -> None:
    traveller = Traveller(graph()).go(b=outcome)
    assert traveller.go().ran == []
    assert traveller.outcome == outcome
    assert traveller.go(graph(settings={"a": 1})).ran == ["a", "b", "c"]


def test_an_optional_output_that_comes_later_redoes_its_readers() -> None:
    optional = graph(optional=["b"])
    traveller = Traveller(optional).go(b="failed")
    assert traveller.go().ran == []
    del traveller.known["b"]  # what a retry does
    assert traveller.go().ran == ["b", "c"]


def test_an_output_that_vanished_is_made_again_only_if_it_is_read_or_the_last() -> None:
    traveller = Traveller(graph()).go()
    lose(traveller, "b")
    assert traveller.go().ran == []
    lose(traveller, "c")
    assert traveller.go().ran == ["b", "c"], "c has to be made again, and reads b"


def test_an_output_that_stands_there_counts_though_the_ledger_missed_it() -> None:
    traveller = Traveller(graph()).go()
    fingerprint = traveller.known["b"].fingerprint
    traveller.known["b"] = Known(None, None, on_disk=fingerprint)
    assert traveller.go().ran == []


def test_an_output_of_other_settings_does_not_count() -> None:
    traveller = Traveller(graph()).go()
    traveller.known["b"] = Known(None, None, on_disk="other")
    assert traveller.go().ran == ["b"]


def lose(traveller: Traveller, stage: str) -> None:
    traveller.known[stage] = Known("done", traveller.known[stage].fingerprint, None)


# Deleting


def test_an_output_is_deleted_once_every_reader_has_ended() -> None:
    journey = Journey(graph(DIAMOND, discarding=["a"]), ITEM)
    journey.advance()
    for stage, discardable in (("a", ()), ("b", ()), ("c", ("a",)), ("d", ())):
        assert journey.advance(End(stage, "done", f"f{stage}")).discardable == discardable


def test_a_rerun_still_knows_what_was_deleted() -> None:
    traveller = Traveller(graph(discarding=["a", "b", "c"])).go()
    assert traveller.discarded == ["a", "b", "c"]
    assert traveller.go().ran == []


def test_a_change_after_a_deleted_output_makes_that_one_again_and_nothing_else() -> None:
    keep = {"discarding": ["b"]}
    traveller = Traveller(graph(**keep)).go()  # type: ignore[arg-type]
    assert traveller.go(graph(settings={"c": 1}, **keep)).ran == ["b", "c"]  # type: ignore[arg-type]
    assert traveller.discarded == ["b"]
    both = {"discarding": ["a", "b"]}
    traveller = Traveller(graph(**both)).go()  # type: ignore[arg-type]
    assert traveller.go(graph(settings={"c": 1}, **both)).ran == ["a", "b", "c"]  # type: ignore[arg-type]


def test_a_deleted_output_is_not_made_for_a_join_that_never_comes() -> None:
    for discarding in (["b"], ["a", "b"]):
        traveller = Traveller(graph(DIAMOND, discarding=discarding))
        traveller.go(c="dropped")
        assert "b" in traveller.discarded
        assert traveller.go().ran == []


def test_what_a_retry_would_read_is_kept_for_it_also_in_later_runs() -> None:
    traveller = Traveller(graph(discarding=["a"])).go(b="failed")
    assert traveller.discarded == []
    assert traveller.go().ran == []
    assert traveller.discarded == [], "a rerun must not forget that a retry may come"
    del traveller.known["b"]
    assert traveller.go().ran == ["b", "c"]
    assert traveller.discarded == ["a"]


def test_what_a_join_would_read_after_a_retry_is_kept_too() -> None:
    traveller = Traveller(graph(DIAMOND, discarding=["b"])).go(c="failed")
    assert traveller.discarded == []
    del traveller.known["c"]
    assert traveller.go().ran == ["c", "d"]
    assert traveller.discarded == ["b"]


def test_outputs_of_an_earlier_way_are_stale() -> None:
    traveller = Traveller(graph()).go()
    traveller.go(graph(settings={"b": 1}), b="dropped")
    assert sorted(set(traveller.stale)) == ["b", "c"]
    assert sorted(traveller.known) == ["a", "b"], "it does not reach c any more"


# What is written down


def test_one_change_says_all_that_follows_from_an_end() -> None:
    traveller = Traveller(graph(DIAMOND, discarding=["a"])).go(d="failed")
    journey = Journey(graph(DIAMOND, {"b": 1}, discarding=["a"]), ITEM, dict(traveller.known))
    first = journey.advance()
    assert (first.item, first.ended, first.outcome) == (ITEM, None, None)
    assert first.entering == ("a",), "it was deleted, and b will read it"
    assert first.void == ("b", "c", "d")
    end = End("a", "done", journey.begin("a"))
    then = journey.advance(end)
    assert (then.ended, then.entering) == (end, ("b",))
    assert [reused.stage for reused in then.reused] == ["c"], "it holds, and is written anew"
    assert then.restored == then.reused
    last = journey.advance(End("b", "dropped", journey.begin("b")))
    assert (last.outcome, last.discardable) == ("dropped", ("a",))
    assert (last.obsolete, last.stale) == (("d",), ("b",))
    assert journey.look_again().stale == (), "it is being deleted"


def test_what_the_ledger_has_is_not_written_again() -> None:
    traveller = Traveller(graph()).go()
    traveller.known["b"] = Known(None, None, on_disk=traveller.known["b"].fingerprint)
    change = Journey(graph(), ITEM, dict(traveller.known)).advance()
    assert [end.stage for end in change.reused] == ["a", "b", "c"]
    assert [end.stage for end in change.restored] == ["b"]


# What is not begun


FORK = line(toy("x"), toy("a", "x"), toy("b", "x"), toy("c", "b"))


@pytest.mark.parametrize("outcome", ["failed", "dropped"])
def test_what_other_branches_have_not_begun_is_not_begun(outcome: Settled) -> None:
    traveller = Traveller(graph(FORK)).go(busy=["b"], a=outcome)
    assert traveller.ran == ["x", "a"]
    assert traveller.outcome == outcome
    assert sorted(traveller.known) == ["a", "x"], "of b nothing is said"


def test_what_other_branches_have_begun_is_brought_to_its_end_and_no_further() -> None:
    traveller = Traveller(graph(FORK)).go(a="failed")
    assert traveller.ran == ["x", "a", "b"]
    assert traveller.outcome == "failed"


def test_a_failure_that_does_not_decide_withdraws_nothing() -> None:
    traveller = Traveller(graph(FORK, optional=["a"])).go(busy=["b"], a="failed")
    assert traveller.ran == ["x", "a", "b", "c"]
    assert traveller.outcome == "done"


@pytest.mark.parametrize("discarding", [[], ["x"]])
def test_a_rerun_begins_nothing_with_an_item_that_is_decided(discarding: list[str]) -> None:
    settings = graph(FORK, discarding=discarding)
    for outcome in ("failed", "dropped"):
        traveller = Traveller(settings).go(busy=["b"], a=outcome)  # type: ignore[arg-type]
        assert traveller.go().ran == []
        assert traveller.outcome == outcome
        assert traveller.go(graph(FORK, {"b": 1}, discarding=discarding)).ran == []
        del traveller.known["a"]  # what a retry does
        again = ["a", "b", "c"] if "x" not in traveller.discarded else ["x", "a", "b", "c"]
        assert sorted(traveller.go(settings).ran) == sorted(again)
        assert traveller.outcome == "done"


def test_an_item_whose_decision_does_not_hold_any_more_goes_everywhere() -> None:
    traveller = Traveller(graph(FORK)).go(busy=["b"], a="failed")
    assert traveller.go(graph(FORK, {"a": 1})).ran == ["a", "b", "c"]


def test_a_decision_is_found_again_once_what_it_was_made_of_is_there() -> None:
    traveller = Traveller(graph(FORK)).go(busy=["b"], a="failed")
    del traveller.known["x"]
    assert traveller.go().ran == ["x"]
    assert traveller.outcome == "failed"


def test_a_stage_that_would_try_again_gives_up_an_item_that_is_decided() -> None:
    journey = Journey(graph(FORK), ITEM)
    journey.advance()
    journey.advance(End("x", "done", journey.begin("x")))
    fingerprints = {name: journey.begin(name) for name in "ab"}
    change = journey.advance(End("a", "dropped", fingerprints["a"]))
    assert (change.withdrawn, change.outcome, journey.is_decided) == ((), None, True)
    change = journey.give_up("b")
    assert (change.withdrawn, change.outcome) == (("b",), "dropped")
    assert not journey.goes_to("b")

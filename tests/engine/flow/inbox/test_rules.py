"""The order in an inbox: whole items take turns, parts of each are in order, and nobody starves."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Item
from engine.contract.stage import StageOptions
from engine.flow.attempt import Entry
from engine.flow.inbox import InboxState
from engine.flow.journey import Journey
from engine.flow.journey.graph import Graph
from engine.flow.pool import inbox_for
from tests.engine.toys import line, toy


def whole_of(entry: str) -> str | None:
    """The entries of these tests are named so: "a0", "a1" are parts of "a"; "x" is whole."""
    return entry[0] if len(entry) > 1 else None


def inbox_of(entries: str) -> InboxState[str, None]:
    inbox = InboxState[str, None](bound=9, workers=9, whole_of=whole_of)
    for entry in entries.split():
        inbox.put(entry)
    return inbox


def taken_from(inbox: InboxState[str, None]) -> str:
    """All that is ready, in order."""
    return " ".join(inbox.take() for _ in range(inbox.ready))


def test_a_long_item_delays_a_short_one_by_one_part() -> None:
    assert taken_from(inbox_of("a0 a1 a2 a3 x b0 b1")) == "a0 x b0 a1 b1 a2 a3"


def test_short_ones_that_keep_coming_hold_back_no_long_one() -> None:
    inbox, order = inbox_of("a0 a1 a2 u v"), ""
    for entry in "wxyz":
        order += f"{inbox.take()} "
        inbox.put(entry)
    assert order + taken_from(inbox) == "a0 u v a1 w x y a2 z"


def test_what_was_held_comes_first_and_uses_nobodys_turn() -> None:
    inbox = inbox_of("a0 a1 a2 x")
    assert inbox.take() == "a0"
    inbox.hold()
    inbox.unhold("a0")
    assert taken_from(inbox) == "a0 x a1 a2"


def test_who_is_withdrawn_leaves_its_turn_to_the_next_part() -> None:
    inbox = inbox_of("a0 a1 a2 x b0 y")
    inbox.withdraw(lambda entry: entry in ("a0", "b0", "y"))
    assert inbox.ready == 3
    assert taken_from(inbox) == "a1 x a2"
    inbox.put("b1")
    assert taken_from(inbox) == "b1"


def by_case(entry: str) -> int:
    """Capitals are more urgent, and ! is most."""
    return 2 * (entry == "!") + entry[0].isupper()


def test_the_urgent_go_first_and_those_of_one_priority_by_turns() -> None:
    inbox = InboxState[str, None](bound=9, workers=9, whole_of=whole_of, priority_of=by_case)
    for entry in ["a0", "a1", "x", "A0", "A1", "Y", "a2", "!"]:
        inbox.put(entry)
    assert inbox.take() == "!"
    assert [inbox.take() for _ in range(2)] == ["A0", "Y"]
    inbox.hold()
    inbox.put("z")
    inbox.put("Z")
    assert [inbox.take() for _ in range(3)] == ["A1", "Z", "a0"]
    inbox.unhold("Y")
    inbox.withdraw(lambda entry: entry == "x")
    assert inbox.ready == 4
    assert taken_from(inbox) == "Y z a1 a2"


@given(st.lists(st.sampled_from([*"abABxyXY!", "take", "hold", "unhold", "withdraw"])))
def test_whatever_comes_the_most_urgent_that_is_ready_is_taken(steps: list[str]) -> None:
    inbox = InboxState[str, None](bound=99, workers=9, whole_of=whole_of, priority_of=by_case)
    ready: list[str] = []
    hand: list[str] = []
    held: list[str] = []
    for number, step in enumerate(steps):
        if step == "take":
            if ready:
                taken = inbox.take()
                assert by_case(taken) == max(map(by_case, ready))
                ready.remove(taken)
                hand.append(taken)
        elif step == "hold":
            if hand:
                inbox.hold()
                held.append(hand.pop())
        elif step == "unhold":
            if held:
                inbox.unhold(held[-1])
                ready.append(held.pop())
        elif step == "withdraw":
            inbox.withdraw(lambda entry: entry[0] in "aX")
            ready = [entry for entry in ready if entry[0] not in "aX"]
        else:
            entry = f"{step}{number}" if step in "abAB" else step
            inbox.put(entry)
            ready.append(entry)
        assert (inbox.ready, inbox.in_hand, inbox.held) == (len(ready), len(hand), len(held))
        if ready:
            assert inbox.next() in ready
    assert sorted(inbox.take() for _ in range(inbox.ready)) == sorted(ready)


def test_the_parts_of_a_pools_items_take_turns_by_whole_item_however_deep_they_are(
    tmp_path: Path,
) -> None:
    inbox = inbox_for(StageOptions(queue=9), is_root=False, of_parts=True)
    graph = Graph(line(toy("a")), {"a": {}})
    long, short = Item.at(tmp_path, "long", "long"), Item.at(tmp_path, "short", "short")
    scenes = [long.part("cut", number) for number in range(2)]
    for item in (scenes[0].part("say", 0), scenes[0].part("say", 1), scenes[1], short):
        assert inbox.inlet.put_nowait(Entry(Journey(graph, item)))
    taken = [inbox.outlet.take_nowait() for _ in range(4)]
    assert [entry.item.id for entry in taken if entry is not None] == [
        "long/cut.parts/00000000/say.parts/00000000",
        "short",
        "long/cut.parts/00000000/say.parts/00000001",
        "long/cut.parts/00000001",
    ]


@dataclass(eq=False)
class Ready:
    """Something in the inbox, and `patience`: how many may go before it, beside those that were
    held."""

    number: int
    whole: str | None
    patience: int = 0


@dataclass
class Watched:
    """An inbox, all that happens to it, and what must hold with each step."""

    inbox: InboxState[Ready, None]
    ready: list[Ready] = field(default_factory=list)
    returned: list[Ready] = field(default_factory=list)
    in_hand: list[Ready] = field(default_factory=list)
    held: list[Ready] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    put_in: int = 0

    def put(self, whole: str | None) -> None:
        if not self.inbox.admits():
            return
        entry = Ready(self.put_in, whole)
        self.put_in += 1
        before = Counter(one.whole or one.number for one in self.ready)
        siblings = before[whole] if whole is not None else 0
        entry.patience = (siblings + 1) * self.inbox.bound if siblings else len(before)
        self.ready.append(entry)
        self.inbox.put(entry)

    def take(self) -> None:
        if not self.inbox.ready or len(self.in_hand) >= self.inbox.workers:
            return
        following = self.inbox.next()
        entry = self.inbox.take()
        assert entry is following
        self.in_hand.append(entry)
        if self.returned:
            assert entry is self.returned.pop(), "the last to return is the next to go"
            return
        of_its_own = [one for one in self.ready if one.whole == entry.whole]
        assert entry is of_its_own[0], "parts of one are in order, and so are whole items"
        self.ready.remove(entry)
        for one in self.ready:
            one.patience -= 1
            assert one.patience >= 0, "it waits longer than its turn allows"

    def hold(self) -> None:
        if self.in_hand:
            self.held.append(self.in_hand.pop())
            self.inbox.hold()

    def unhold(self) -> None:
        if self.held and self.inbox.readmits():
            self.returned.append(self.held.pop())
            self.inbox.unhold(self.returned[-1])

    def leave(self) -> None:
        if self.in_hand:
            self.gone.append(self.in_hand.pop().number)
            self.inbox.leave()

    def withdraw(self, those: int) -> None:
        self.inbox.withdraw(lambda entry: entry.number % 4 == those)
        for waiting in (self.ready, self.returned):
            self.gone += [one.number for one in waiting if one.number % 4 == those]
            waiting[:] = [one for one in waiting if one.number % 4 != those]

    def check(self) -> None:
        assert self.inbox.ready == len(self.ready) + len(self.returned) <= self.inbox.bound

    def let_all_go(self) -> None:
        while self.inbox.ready or self.in_hand or self.held:
            self.leave()
            self.unhold()
            self.take()
        assert sorted(self.gone) == list(range(self.put_in)), "each goes once"


PUTS = st.tuples(st.just("put"), st.sampled_from([None, None, "a", "a", "b", "c"]))
OTHERS = st.tuples(st.sampled_from(["take", "take", "leave", "leave", "hold", "unhold"]))
WITHDRAWALS = st.tuples(st.just("withdraw"), st.integers(0, 3))
ACTIONS = st.lists(st.one_of(PUTS, PUTS, OTHERS, OTHERS, OTHERS, WITHDRAWALS), max_size=120)


@settings(max_examples=400, deadline=None)
@given(ACTIONS, st.integers(1, 6), st.integers(1, 3))
def test_all_take_turns_and_none_is_lost(
    actions: list[tuple[str, str]], bound: int, workers: int
) -> None:
    """Whatever comes, is taken, held, and withdrawn: one that comes in first of its own waits for
    one of each other at most, and any later one for as many turns as it has before it."""
    watched = Watched(InboxState(bound, workers, whole_of=lambda entry: entry.whole))
    for name, *arguments in actions:
        getattr(watched, name)(*arguments)
        watched.check()
    watched.let_all_go()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60))
def test_whole_items_alone_are_first_in_first_out(takes: list[int]) -> None:
    inbox = InboxState[int, None](4, 100, whole_of=lambda entry: None)
    taken, put_in = list[int](), 0
    for many in takes:
        while inbox.admits():
            inbox.put(put_in)
            put_in += 1
        for _ in range(min(many, inbox.ready)):
            taken.append(inbox.take())
            inbox.leave()
    taken += [inbox.take() for _ in range(inbox.ready)]
    assert taken == list(range(put_in))

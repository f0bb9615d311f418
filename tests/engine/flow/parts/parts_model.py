"""A plain model of how items and their parts have to end, and what their steps leave.

Where an item or a part is decided in one branch, another may or may not have begun with it: `found`
says which stages had which. Everything else follows from the case.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import Item
from engine.contract.item import item_id
from tests.engine.flow.parts.parts_cases import Case, Plan
from tests.engine.toys import end_of

Found = Mapping[tuple[str, str], str]
WELL = ("done", "done skipped")


@dataclass(eq=False)
class Node:
    """An item, or a part, and what it came to."""

    item: Item
    called: str
    above: "Node | None" = None
    piece: Any = None
    ends: dict[str, str] = field(default_factory=dict)
    """How each step ended; those at its parts too, as a whole."""
    values: dict[str, Any] = field(default_factory=dict)
    parts: dict[str, list["Node"]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Steps that it was to enter, and did not."""
    over: set[str] = field(default_factory=set)
    """Splitting steps of which more parts have failed than may."""
    is_extra: bool = False
    """A part that its splitting step would not make: it may be there where what it is of is
    decided, as nothing is done again then, and stands from other settings."""

    @property
    def id(self) -> str:
        return self.item.id

    def part(self, plan: Plan, position: int, value: int) -> "Node":
        called = f"{self.called}/{position}"
        part = self.item.part(plan.name, position, {"piece": position})
        return Node(part, called, self, {"piece": called, "value": value})

    def here_and_below(self) -> Iterator["Node"]:
        yield self
        for parts in self.parts.values():
            for part in parts:
                yield from part.here_and_below()

    def end(self, name: str, case: Case) -> str | None:
        """The end of a step at its level, below, or above."""
        if name in self.ends or self.above is None:
            return self.ends.get(name)
        if name == self.item.split:
            return "done"
        mine = (*case.plan(self.item.split).level, self.item.split)
        level = case.plan(name).level
        return self.ends.get(name) if level[: len(mine)] == mine else self.above.end(name, case)

    def value(self, name: str) -> Any:
        """What a step reads of the output of `name`."""
        if name == self.item.split:
            return self.piece
        if name in self.values or self.above is None:
            return self.values.get(name)
        return self.above.value(name)


class Model:
    """All items of a case. `found` and `parts` are the ledger's: the outcomes by (stage, id), and
    the positions by (parent, split); `numbers` are the steps' settings."""

    def __init__(
        self,
        case: Case,
        found: Found,
        parts: Mapping[tuple[str, str], Sequence[int]],
        numbers: Mapping[str, int],
    ) -> None:
        self.case, self.found, self.found_parts, self.numbers = case, found, parts, numbers
        self.optional = {plan.name for plan in case.plans if plan.options["optional"]}
        self.roots: dict[str, Node] = {}
        self._broken_off: set[str] = set()
        """Items of a list that did not end as one: only some of them may have entered."""
        queue = list(case.sources)
        while queue:
            source = queue.pop()
            id_ = item_id(source)
            if id_ not in self.roots:
                self.roots[id_] = Node(Item(id_, source, Path("items") / id_), source)
                queue += self._travel(self.roots[id_])

    # How items end

    def _travel(self, root: Node) -> list[str]:
        children: list[str] = []
        for plan in self.case.plans:
            for node in list(self._at(root, plan.level)):
                if not self._is_due(plan, node):
                    self._note_found_parts(plan, node, extra=True)
                    continue
                word, *arguments = plan.does.get(node.called, ["done"])
                if (plan.name, node.id) not in self.found:
                    node.missing.append(plan.name)
                    self._note_found_parts(plan, node)
                    if word == "expand":  # it may have broken off
                        found = list(filter(self._is_found, arguments[0]))
                        self._broken_off.update(map(item_id, found))
                        children += found
                    continue
                node.ends[plan.name] = end = self._end(plan, node)
                if end == "done":
                    node.values[plan.name] = self._made(plan, node)
                if end == "expanded":
                    children += arguments[0]
                if plan.splits:
                    self._split(plan, node, end)
            if plan.level:
                for node in list(self._at(root, plan.level[:-1])):
                    self._join(plan, node)
        return children

    def leave(self, entered: Collection[str]) -> set[str]:
        """Leave out the items, known from an earlier run alone, of a list that is decided now and
        was expanded with other settings then. Returns their ids."""
        left = {id_ for id_ in self.roots if id_ not in entered} if self._broken_off else set()
        for id_ in left:
            del self.roots[id_]
        return left

    def _is_found(self, source: str) -> bool:
        return any(id_ == item_id(source) for _, id_ in self.found)

    def _at(self, node: Node, level: Sequence[str]) -> Iterator[Node]:
        if not level:
            yield node
            return
        for part in node.parts.get(level[0], []):
            yield from self._at(part, level[1:])

    def _is_due(self, plan: Plan, node: Node) -> bool:
        for before in plan.reads:
            end = node.end(before, self.case)
            if end is None or end == "expanded":
                return False
            if not (end in WELL or before in self.optional):
                return False
        return True

    def _end(self, plan: Plan, node: Node) -> str:
        end = end_of(plan.does.get(node.called, ["done"]))
        for position in range(plan.many(node.called)) if plan.splits else ():
            if end == "done":
                end = end_of(plan.does.get(f"{node.called}/{position}", ["done"]))
        return end

    def _split(self, plan: Plan, node: Node, end: str) -> None:
        if end == "done":
            many, value = plan.many(node.called), self.numbers[plan.name]
            found = self.found_parts.get((node.id, plan.name), ())
            extra = [position for position in found if position >= many]
            parts = [node.part(plan, position, value) for position in (*range(many), *extra)]
            for part in parts[many:]:
                part.is_extra = True
            node.parts[plan.name] = parts
        elif end == "done skipped":
            node.parts[plan.name] = []
        else:
            self._note_found_parts(plan, node)

    def _note_found_parts(self, plan: Plan, node: Node, *, extra: bool = False) -> None:
        if not plan.splits:
            return
        value, found = self.numbers[plan.name], self.found_parts.get((node.id, plan.name), ())
        node.parts[plan.name] = [node.part(plan, position, value) for position in found]
        for part in node.parts[plan.name]:
            part.is_extra = extra

    def _join(self, plan: Plan, node: Node) -> None:
        """What all the node's parts came to at a step."""
        split = plan.level[-1]
        parts = [part for part in node.parts.get(split, []) if not part.is_extra]
        if split in node.ends and node.ends[split] in WELL:
            if (plan.name, node.id) in self.found:
                node.ends[plan.name] = self._joined(plan, node, parts)
            else:
                node.missing.append(plan.name)
        failed = sum(self.outcome(part) == "failed" for part in parts)
        most = self.case.plan(split).options["most_failed"]
        if 0 < most < 1:
            most = most * len(parts) if node.ends.get(split) == "done" else len(parts)
        if failed > most:
            node.over.add(split)
        if node.over and self.found.get((plan.name, node.id)) == "failed":
            node.ends[plan.name] = "failed"

    def _joined(self, plan: Plan, node: Node, parts: Sequence[Node]) -> str:
        """Where no part ended well there, it depends on what had ended its parts by then: another
        step may have been earlier or later."""
        if any(part.ends.get(plan.name) in (*WELL, "expanded") for part in parts):
            return "done"
        before = {ill for part in parts for ill in self._ills(part)}
        possible = [self._come_to(ills, parts) for ills in (before, before | self._found(parts))]
        found = self.found[plan.name, node.id]
        return next((end for end in possible if end.split()[0] == found), possible[0])

    def _found(self, parts: Sequence[Node]) -> set[str]:
        """How steps that are not optional have ended these parts ill, whichever came first."""
        ids = {part.id for part in parts}
        ends = {
            end
            for (name, id_), end in self.found.items()
            if id_ in ids and name not in self.optional
        }
        return ends & {"failed", "dropped"}

    @staticmethod
    def _come_to(ills: set[str], parts: Sequence[Node]) -> str:
        if "failed" in ills:
            retryable = any("failed retryable" in part.ends.values() for part in parts)
            return "failed retryable" if retryable else "failed"
        return "dropped" if ills else "done"

    def _ills(self, node: Node) -> set[str]:
        ends = {end.split()[0] for name, end in node.ends.items() if name not in self.optional}
        return ends & {"failed", "dropped"}

    def outcome(self, node: Node) -> str:
        ills = self._ills(node)
        return next((one for one in ("failed", "dropped") if one in ills), "done")

    def is_decided(self, node: Node) -> bool:
        """Whether it, or what it is a part of, is decided, so that not all need have happened."""
        above = node.above is not None and self.is_decided(node.above)
        return above or bool(node.over or self._ills(node))

    # What they leave

    def _made(self, plan: Plan, node: Node) -> Any:
        if plan.splits:
            return {"stage": plan.name, "parts": plan.many(node.called)}
        before = {
            name: node.value(name) if self._reaches_down(plan, name) else None
            for name in plan.reads
        }
        value = {"stage": plan.name, "value": self.numbers[plan.name], "before": before}
        if plan.gathers:
            value["parts"] = {role: self._seen(node, role) for role in plan.gathers}
        return value

    def _reaches_down(self, plan: Plan, name: str) -> bool:
        return self.case.plan(name).level == plan.level[: len(self.case.plan(name).level)]

    def _seen(self, node: Node, role: str) -> list[Any]:
        plan = self.case.plan(role)
        split = role if plan.splits and len(plan.level) == self._depth(node) else plan.level[-1]
        seen = []
        for position, part in enumerate(node.parts.get(split, [])):
            value = part.piece if role == split else part.values.get(role)
            if value is not None:
                seen.append([position, {"piece": position}, value])
        return seen

    @staticmethod
    def _depth(node: Node) -> int:
        return 0 if node.above is None else 1 + Model._depth(node.above)

"""Toy stages that split items into parts, and that gather them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio

from engine import SOURCE, Item, Parts, Settings, Stage, Step, setting
from tests.engine.toys import Does, Toy, called, note, value_in

PARTS = 3


class Cutter(Stage):
    """Splits an item into as many parts as `cuts` says, PARTS by default.

    `does` may say for an item, or for the part that is about to be made, how the attempt ends.
    """

    does: ClassVar[Does] = {}
    cuts: ClassVar[Mapping[str, int]] = {}
    resumes: ClassVar[bool] = True
    optional_inputs: ClassVar[str | Sequence[str]] = ()

    class Settings(Settings):
        value: int = setting(0, "A number that stands in the output.")
        more: int = setting(0, "Parts beyond those that `cuts` says.")

    settings: "Cutter.Settings"

    def split(self, item: Item, out: Path, parts: Parts) -> Any:
        note(self.workdir / "executions", f"{self.name} {item.id}")
        self._obey(item)
        for position in range(self.many(item)):
            if self.resumes and parts.reuse():
                continue
            self._obey(item.part(self.name, position))
            with parts.make({"piece": position}) as folder:
                self.write(item, position, folder)
            note(self.workdir / "cut", f"{item.id} {position}")
        self.write_whole(item, out)

    def many(self, item: Item) -> int:
        return self.cuts.get(called(item), PARTS) + self.settings.more

    def write(self, item: Item, position: int, folder: Path) -> None:
        piece = {"piece": f"{called(item)}/{position}", "value": self.settings.value}
        (folder / "value.json").write_text(json.dumps(piece, sort_keys=True))

    def write_whole(self, item: Item, out: Path) -> None:
        whole = {"stage": self.name, "parts": self.many(item)}
        (out / "value.json").write_text(json.dumps(whole, sort_keys=True))

    def _obey(self, item: Item) -> None:
        word, *arguments = self.does.get(called(item), ["done"])
        if item.split == self.name:
            note(self.workdir / "executions", f"{self.name} {item.id}")
        answer = Toy._ending(self, item, word, *arguments)  # type: ignore[arg-type]
        if answer is not None:
            raise answer


class LoopCutter(Cutter):
    """The same on the event loop."""

    async def split(self, item: Item, out: Path, parts: Parts) -> Any:
        note(self.workdir / "executions", f"{self.name} {item.id}")
        self._obey(item)
        for position in range(self.many(item)):
            await anyio.lowlevel.checkpoint()
            if self.resumes and parts.reuse():
                continue
            self._obey(item.part(self.name, position))
            async with parts.make({"piece": position}) as folder:
                self.write(item, position, folder)
            note(self.workdir / "cut", f"{item.id} {position}")
        self.write_whole(item, out)


class Gatherer(Toy):
    """Writes what it sees of the parts, by role: their positions, parameters and values."""

    roles: ClassVar[Sequence[str]] = ()
    """The inputs of which it gathers the parts."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        seen = {
            role: [
                [part.position, dict(part.parameters), value_in(part.input(role))]
                for part in item.parts(role)
            ]
            for role in self.roles
        }
        value = json.loads((out / "value.json").read_text()) | {"parts": seen}
        (out / "value.json").write_text(json.dumps(value, sort_keys=True))


def cut(
    name: str,
    *after: str,
    base: type[Cutter] = Cutter,
    cuts: Mapping[str, int] | None = None,
    does: Does | None = None,
    each: str = "",
    **attributes: Any,
) -> Step:
    body = {"name": name, "optional_inputs": after, "does": does or {}, "cuts": cuts or {}}
    made = type(name.capitalize(), (base,), body | attributes)
    return Step(made, after or SOURCE, each=each)


def at(
    each: str, name: str, *after: str, base: type[Toy] = Toy, does: Does | None = None, **more: Any
) -> Step:
    """A toy at the parts of the step `each`; it comes after the parts, unless `after` says."""
    body = {"name": name, "optional_inputs": after or (each,), "does": does or {}}
    return Step(type(name.capitalize(), (base,), body | more), after or each, each=each)


def gather(
    name: str, *after: str, roles: Sequence[str] = (), each: str = "", does: Does | None = None
) -> Step:
    """A step that gathers the parts of the steps `roles`, by default of all that it comes after;
    of the others it reads what they made of the item."""
    seen = roles or after
    body = {"name": name, "optional_inputs": after, "roles": seen, "does": does or {}}
    return Step(type(name.capitalize(), (Gatherer,), body), after, each=each)

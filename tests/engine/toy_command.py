"""A run in a process of its own, to be killed and interrupted: python -m … PIPELINE WORKDIR.

It prints the name of every event, and the item where there is one; its exit code is the run's.
"""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine import Drop, FinishContext, Item, Permanent, Pipeline, Transient
from engine.flow.opening import run_pipeline
from engine.sources.standard_input import standard_input
from engine.telemetry.events import Event, Events
from tests.engine.toy_parts import Cutter, at, cut, gather
from tests.engine.toys import Does, LoopToy, Toy, configured, line, note, toy, tries

ITEMS = 60
LISTS = 3
BOOKS = 12
WORKERS = {
    "fetch": 1,
    "chapters": 2,
    "read": 2,
    "weigh": 3,
    "pages": 2,
    "look": 2,
    "bind": 2,
    "shelve": 2,
}
"""Those of the steps of the pipeline `parts`."""


class Fetch(Toy):
    """A big file in pieces, which go on where a killed run had stopped; lists hold items."""

    def act(self, item: Item, out: Path) -> Any:
        if item.source.startswith("list"):
            note(self.workdir / "executions", f"{self.name} {item.id}")
            number = int(item.source.removeprefix("list "))
            return (item.child(f"v{n}") for n in range(number, ITEMS, LISTS))
        super().act(item, out)
        partial = item.partial(self.name) / "raw"
        for piece in range(4):
            if not partial.exists() or partial.stat().st_size < 5000 * (piece + 1):
                with partial.open("ab") as file:
                    file.truncate(5000 * piece)
                    file.write(item.id[:10].encode() * 500)
                time.sleep(0.001)
        (out / "raw").write_bytes(partial.read_bytes())
        return None


class Cut(Toy):
    """Several files; some items have nothing to cut, and some only give in at the second try."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        number = int(item.source[1:])
        if number % 10 == 3:
            raise Drop("nothing in it")
        if number % 10 == 7:
            raise Permanent("it is broken")
        if number % 10 == 5 and tries(self, item) < 2:
            raise Transient("not yet")
        (out / "pieces").mkdir()
        raw = (item.output("fetch") / "raw").read_bytes()
        for piece in range(5):
            (out / "pieces" / str(piece)).write_bytes(raw[piece * 4000 : (piece + 1) * 4000])
            time.sleep(0.001)


class Stuck(Toy):
    """Hangs until the test lets it go, and says when it does."""

    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        note(self.workdir / "stuck", item.source)
        while not (self.workdir / "release").exists():
            time.sleep(0.005)


def crash() -> Pipeline:
    return line(
        toy("fetch", base=Fetch),
        toy("cut", "fetch", base=Cut),
        toy("look", "cut", base=LoopToy),
        toy("weigh", "cut"),
        toy("sum", "look", "weigh"),
    )


class SlowCutter(Cutter):
    """Takes its time for each part, and writes several files."""

    def write(self, item: Item, position: int, folder: Path) -> None:
        for number in range(3):
            (folder / str(number)).write_bytes(item.id[:10].encode() * 500)
            time.sleep(0.0005)
        super().write(item, position, folder)


class SlowToy(Toy):
    def act(self, item: Item, out: Path) -> Any:
        super().act(item, out)
        time.sleep(0.001)


def parts() -> Pipeline:
    """Books with chapters, of which some have pages; at each level some parts go wrong."""
    chapters = {f"v{book}": book * 5 % 9 for book in range(BOOKS)}
    numbers = [(book, one) for book in range(BOOKS) for one in range(9)]
    pages = {f"v{book}/{one}": (book + one) % 4 for book, one in numbers}
    does: Does = {"v3/1": ["transient", 1], "v4/0": ["drop"], "v5/3": ["permanent"], "v7": ["skip"]}
    chapter: Does = {"v3/4": ["transient", 1], "v10/2": ["bug", 1], "v11/0": ["permanent"]}
    page: Does = {f"v{book}/3/1": ["permanent"] for book in range(2, 6)} | {"v6/1/0": ["drop"]}
    return line(
        toy("fetch"),
        cut("chapters", "fetch", base=SlowCutter, cuts=chapters, does=chapter),
        at("chapters", "read", base=SlowToy, does=does),
        at("chapters", "weigh", "read", base=LoopToy),
        cut("pages", "read", each="chapters", base=SlowCutter, cuts=pages),
        at("pages", "look", base=SlowToy, does=page),
        gather("bind", "look", each="chapters"),
        gather("shelve", "bind", "weigh", "fetch", roles=["bind", "weigh"]),
    )


def finish(context: FinishContext) -> list[str]:
    note(context.workdir / "stuck", "finish")
    while not (context.workdir / "release").exists():
        time.sleep(0.005)
    return ["finished"]


def chosen(name: str) -> tuple[Pipeline, Iterable[str], list[str]]:
    """The pipeline of this name, its source, and settings."""
    if name == "crash":
        each = [f"stages.{stage}.workers=2" for stage in ("fetch", "cut", "weigh")]
        lists = [f"list {number}" for number in range(LISTS)]
        return crash(), lists, [*each, "stages.fetch.keep=false", "stages.look.batch=3"]
    if name == "parts":
        each = [f"stages.{stage}.workers={workers}" for stage, workers in WORKERS.items()]
        less = [f"stages.{stage}.keep=false" for stage in ("fetch", "chapters", "read", "look")]
        some = ["stages.pages.most_failed=1", "stages.chapters.most_failed=1"]
        return parts(), [f"v{number}" for number in range(BOOKS)], [*each, *less, *some]
    if name == "stuck":
        return line(toy("a", base=Stuck), toy("b", "a")), [f"v{n}" for n in range(9)], []
    if name == "pipe":
        return line(toy("a"), toy("b", "a")), (li.decode() for li in standard_input()), []
    return line(toy("a"), finish=finish), ["v1", "v2"], []


def main(name: str, workdir: str) -> None:
    pipeline, source, overrides = chosen(name)
    events = Events()

    def show(event: Event) -> None:
        sys.stdout.write(f"{type(event).__name__} {getattr(event, 'item', '')}\n")
        sys.stdout.flush()

    events.subscribe(show)
    config = configured(pipeline, *overrides)
    report = run_pipeline(pipeline, config, Path(workdir), source, events=events)
    assert report.discrepancies == [], report.discrepancies
    sys.exit(report.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])

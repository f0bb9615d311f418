"""Toy stages and pipelines: what an item does in a stage is a word looked up by its source.

A stage's `does` maps sources to what happens there, [word, argument…]; any other source is done at
once. Every execution is noted in a file that survives the death of the process, and what a stage
writes follows from what is before it, so that outputs can be compared and executions counted.
"""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel

from engine import (
    SOURCE,
    Drop,
    Ending,
    Item,
    Permanent,
    Pipeline,
    Settings,
    Skip,
    Stage,
    Step,
    Throttled,
    Transient,
    UsageError,
    checkpoint,
    setting,
)
from engine.config.load import Config, load_config
from engine.contract.item import MARK
from engine.flow.opening import run_pipeline
from engine.flow.report import RunReport
from engine.flow.run import Run
from engine.sources.source import Sources
from engine.telemetry.events import Event, Events, ListenerFailed

Does = Mapping[str, Sequence[Any]]
"""For some sources, a word and its arguments:

drop, skip, permanent     how the stage ends with the item; a part is called "source/position"
transient N, bug N        the first N tries go wrong so; -1: all of them
throttled N AFTER         the first N tries are turned away for AFTER seconds
expand SOURCES [N]        it turns out to hold these; the first N tries break off half-way
"""


def end_of(words: Sequence[Any]) -> str:
    """How a stage that does this ends with the item."""
    word, *arguments = words
    if word == "drop":
        return "dropped"
    if word == "skip":
        return "done skipped"
    if word == "permanent":
        return "failed"
    if word == "expand":
        return "expanded"
    return "failed retryable" if arguments and arguments[0] == -1 else "done"


class Toy(Stage):
    """Does to an item what its `does` says, and writes one file that tells what was before it."""

    does: ClassVar[Does] = {}
    optional_inputs: ClassVar[str | Sequence[str]] = ()

    class Settings(Settings):
        value: int = setting(0, "A number that stands in the output.")
        note: str = setting("", "Words that change nothing.", affects_output=False)

    settings: "Toy.Settings"

    def process(self, item: Item, out: Path) -> Any:
        return self.act(item, out)

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        return self.act_on_all(items, outs)

    def gate(self, item: Item) -> str | None:
        return None

    def act(self, item: Item, out: Path) -> Iterator[Item] | None:
        note(self.workdir / "executions", f"{self.name} {item.id}")
        before = {
            role: value_in(item.input(role)) if item.has_input(role) else None
            for role in self.optional_inputs
        }
        value = {"stage": self.name, "value": self.settings.value, "before": before}
        (out / "value.json").write_text(json.dumps(value, sort_keys=True))
        word, *arguments = self.does.get(called(item), ["done"])
        if word == "expand":
            return self._expand(item, *arguments)
        answer = self._ending(item, word, *arguments)
        if answer is not None:
            raise answer
        return None

    def act_on_all(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        answers: list[Ending | None] = []
        for item, out in zip(items, outs, strict=True):
            try:
                if self.act(item, out) is not None:
                    raise RuntimeError("a batch has no way to give items")
                answers.append(None)
            except Ending as ending:
                answers.append(ending)
        return answers

    def _ending(
        self, item: Item, word: str, times: int = -1, after: float = 0.0
    ) -> Exception | None:
        if word == "drop":
            return Drop("told to")
        if word == "skip":
            return Skip("told to")
        if word == "permanent":
            return Permanent("told to")
        if word == "done" or 0 <= times < tries(self, item):
            return None
        if word == "throttled":
            return Throttled("slow down", after=after)
        return Transient("told to") if word == "transient" else ValueError("told to")

    def _expand(self, item: Item, sources: Sequence[str], broken: int = 0) -> Iterator[Item]:
        for number, source in enumerate(sources):
            if number == len(sources) // 2 and tries(self, item) <= broken:
                raise Transient("broke off")
            yield item.child(source)


def called(item: Item) -> str:
    """The word for an item in `does`: its source, and for a part "source/position"."""
    return item.source if item.parent is None else f"{called(item.parent)}/{item.position}"


class LoopToy(Toy):
    """The same on the event loop."""

    async def process(self, item: Item, out: Path) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.act(item, out)

    async def process_batch(  # type: ignore[override]
        self, items: list[Item], outs: list[Path]
    ) -> list[Ending | None]:
        await anyio.lowlevel.checkpoint()
        return self.act_on_all(items, outs)


class GatedToy(Toy):
    """Items go through the gate that their source names after an `@`."""

    def gate(self, item: Item) -> str | None:
        return item.source.partition("@")[2] or None


class GatedLoopToy(LoopToy):
    gate = GatedToy.gate


def toy(
    name: str, *after: str, base: type[Toy] = Toy, does: Does | None = None, **attributes: Any
) -> Step:
    """A step with a toy stage; with no `after` it takes items from the source."""
    body = {"name": name, "optional_inputs": after, "does": does or {}, "__doc__": base.__doc__}
    return Step(type(name.capitalize(), (base,), body | attributes), after or SOURCE)


def line(*steps: Step, **more: Any) -> Pipeline:
    return Pipeline("toy", "A toy.", steps, **more)


def configured(pipeline: Pipeline, *overrides: str) -> Config:
    """Waits are tiny, and neither the disk nor failures stop a run, unless overridden."""
    calm = ["limits.backoff=0.002", "limits.free_disk=0", "limits.failure_budget=1"]
    return load_config(pipeline, None, {}, [*calm, *overrides], {})


class Failures:
    """Listens for what other listeners have raised."""

    def __init__(self) -> None:
        self.told: list[ListenerFailed] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, ListenerFailed):
            self.told.append(event)


def run(
    pipeline: Pipeline,
    workdir: Path,
    sources: Sources,
    *overrides: str,
    listen: Callable[[Event], None] = lambda event: None,
    prepare: Callable[[Run], Sequence[Any]] = lambda run: (),
) -> RunReport:
    """Run to the end, and check that the books add up and that `listen` has raised nothing."""
    events, failures = Events(), Failures()
    events.subscribe(listen)
    events.subscribe(failures)
    config = configured(pipeline, *overrides)
    report = run_pipeline(pipeline, config, workdir, sources, events=events, prepare=prepare)
    assert report.discrepancies == [], report.discrepancies
    assert failures.told == []
    for count in report.counts:
        assert count.entered == count.done + count.dropped + count.failed + count.pending
    return report


def run_within(
    seconds: float, *arguments: Any, also: Callable[[Run], object] = lambda run: None, **more: Any
) -> RunReport:
    """`run`, which fails where it would hang. `also` is given the run before it starts."""

    async def watchdog() -> None:
        await anyio.sleep(seconds)
        raise TimeoutError(f"the run hangs: {seconds} seconds are over")

    def prepare(run: Run) -> Sequence[Any]:
        also(run)
        return [watchdog]

    return run(*arguments, prepare=prepare, **more)


# What happened


def note(file: Path, line: str) -> None:
    """Append a line, which several processes may do at once and a killed one does or does not."""
    descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def tries(stage: Stage, item: Item) -> int:
    """How often this stage has been executed with the item, over all runs."""
    return executions(stage.workdir)[stage.name, item.id]


def executions(workdir: Path) -> Counter[tuple[str, str]]:
    """How often each stage was executed with each item, by (stage, id)."""
    try:
        text = (workdir / "executions").read_text()
    except FileNotFoundError:
        return Counter()
    return Counter(
        (stage, id_) for stage, _, id_ in (li.partition(" ") for li in text.split("\n")[:-1])
    )


def read_value(item: Item, stage: str) -> Any:
    if not item.has_output(stage):
        return None
    return value_in(item.output(stage))


def value_in(folder: Path) -> Any:
    return json.loads((folder / "value.json").read_text())


def outcomes(workdir: Path) -> dict[tuple[str, str], tuple[str, str | None]]:
    """What the ledger says: (stage, id) to (outcome, kind)."""
    rows = query(workdir, "SELECT stage, item, outcome, kind FROM stages")
    return {(stage, id_): (outcome, kind) for stage, id_, outcome, kind in rows}


def query(workdir: Path, sql: str, *values: Any) -> list[Any]:
    db = sqlite3.connect(f"{(workdir / 'penstock.db').as_uri()}?mode=ro", uri=True)
    try:
        return db.execute(sql, values).fetchall()
    finally:
        db.close()


def tree(workdir: Path, *, marks: bool = True) -> dict[str, bytes]:
    """Every file under items/, hidden ones too, by its path; empty folders as b"/"."""
    root = workdir / "items"
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b"/"
        for path in sorted(root.rglob("*"))
        if (path.is_file() and (marks or path.name != MARK))
        or (path.is_dir() and not any(path.iterdir()))
    }


def leftovers(workdir: Path) -> list[str]:
    """What attempts and deletions left lying about."""
    return [path for path in tree(workdir) if ".scratch-" in path or ".partial" in path]


def engine_threads() -> list[str]:
    """The engine's threads that do not end although nothing holds them."""
    mine = [one for one in threading.enumerate() if one.name.startswith("penstock-")]
    for thread in mine:
        thread.join(5)
    return [thread.name for thread in mine if thread.is_alive()]


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A temporary folder, in memory where there is such a place: syncing takes its time on disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


async def until(condition: Callable[[], object]) -> None:
    """Return when it holds: in another thread or process there is no event to wait for."""
    while not condition():  # noqa: ASYNC110
        await anyio.sleep(0.001)


class Obedient(Stage):
    """Does what its item's source says, wherever it runs: in a thread, a process or on the loop."""

    class Settings(Settings):
        greeting: str = setting("hello", "What `done` writes.")
        broken: str = setting("", "How `open` goes wrong.")

    settings: "Obedient.Settings"

    def open(self) -> None:
        if self.settings.broken == "told":
            raise UsageError("there is no such model; give another")
        if self.settings.broken == "bug":
            raise ValueError("a bug\nof two lines")
        if self.settings.broken == "exit":
            sys.exit("a library gave up")
        note(self.workdir / "opened", str(os.getpid()))

    def process(self, item: Item, out: Path) -> Any:
        return self.obey(item, out)

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        return self.obey_all(items, outs)

    def close(self) -> None:
        note(self.workdir / "closed", str(os.getpid()))

    def obey(self, item: Item, out: Path) -> Any:
        word, _, argument = item.source.partition(" ")
        return getattr(self, f"_{word}")(item, out, argument)

    def obey_all(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        answers: list[Ending | None] = []
        for item, out in zip(items, outs, strict=True):
            try:
                self.obey(item, out)
                answers.append(None)
            except Ending as ending:
                answers.append(ending)
        return answers

    def _done(self, item: Item, out: Path, argument: str) -> None:
        (out / "hello").write_text(self.settings.greeting + argument)

    def _burn(self, item: Item, out: Path, argument: str) -> None:
        burnt = time.thread_time() + float(argument)
        while time.thread_time() < burnt:
            pass

    def _sleep(self, item: Item, out: Path, argument: str) -> None:
        time.sleep(float(argument))

    def _drop(self, item: Item, out: Path, argument: str) -> None:
        raise Drop("nothing to do", kind="empty")

    def _permanent(self, item: Item, out: Path, argument: str) -> None:
        raise Permanent("it is gone", kind="http-404")

    def _throttled(self, item: Item, out: Path, argument: str) -> None:
        raise Throttled("slow down", after=12.5, key="example.org")

    def _own(self, item: Item, out: Path, argument: str) -> None:
        raise OwnEnding(item)

    def _bug(self, item: Item, out: Path, argument: str) -> None:
        raise ValueError("a bug\nof two lines")

    def _exit(self, item: Item, out: Path, argument: str) -> None:
        sys.exit("a library gave up")

    def _full(self, item: Item, out: Path, argument: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(out / "big"))

    def _group(self, item: Item, out: Path, argument: str) -> None:
        raise ExceptionGroup("several", [ValueError("one"), Permanent("it is gone")])

    def _nonsense(self, item: Item, out: Path, argument: str) -> int:
        return 7

    def _items(self, item: Item, out: Path, argument: str) -> Iterator[Item]:
        return (item.child(source) for source in argument.split())

    def _pid(self, item: Item, out: Path, argument: str) -> None:
        (out / "pid").write_text(str(os.getpid()))

    def _print(self, item: Item, out: Path, argument: str) -> None:
        print("x" * 100_000)  # noqa: T201
        subprocess.run(["echo", "from a program it runs"], check=True)

    def _read(self, item: Item, out: Path, argument: str) -> None:
        done = subprocess.run(["cat"], check=True, capture_output=True, text=True)
        (out / "read").write_text(done.stdout)

    def _kill(self, item: Item, out: Path, argument: str) -> None:
        os.kill(os.getpid(), signal.Signals[argument])

    def _hang(self, item: Item, out: Path, argument: str) -> None:
        """For ever, until the file that the argument names is there."""
        (self.workdir / "hanging").write_text(str(os.getpid()))
        while not argument or not (self.workdir / argument).exists():
            time.sleep(0.005)

    def _patient(self, item: Item, out: Path, argument: str) -> None:
        (self.workdir / "hanging").write_text(str(os.getpid()))
        while True:
            checkpoint()
            time.sleep(0.005)

    def _family(self, item: Item, out: Path, argument: str) -> None:
        child = subprocess.Popen(["sleep", "1000"])
        (self.workdir / "hanging").write_text(str(child.pid))
        child.wait()


class LoopObedient(Obedient):
    """The same on the event loop."""

    async def process(self, item: Item, out: Path) -> Any:
        await anyio.lowlevel.checkpoint()
        return self.obey(item, out)

    async def process_batch(  # type: ignore[override]
        self, items: list[Item], outs: list[Path]
    ) -> list[Ending | None]:
        await anyio.lowlevel.checkpoint()
        return self.obey_all(items, outs)


class OwnEnding(Permanent):
    """A stage's own kind of ending, which holds what no other process can be told."""

    def __init__(self, item: Item) -> None:
        super().__init__("too long", kind="too-long")
        self.item = item
        self.unpicklable = lambda: item

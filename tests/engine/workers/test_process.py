"""What a process of a pool has to itself: where it imports from, what it tells, how it ends."""

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import anyio.lowlevel
import psutil
import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr, computed_field

from engine import SOURCE, Item, Settings, Stage, Step, Transient, checkpoint, deadline, setting
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from engine.ledger.outputs.drafts import Draft, FolderOutputs
from engine.ledger.outputs.folders import abandoned_stages
from engine.telemetry.children import children
from engine.workers import child as child_module
from engine.workers.base import StageFactory
from engine.workers.child import Child
from engine.workers.process import AT_ONCE, Nursery, ProcessWorker
from engine.workers.result import Result
from tests.engine.toys import line, note, until

pytestmark = pytest.mark.anyio

log = logging.getLogger("penstock.probe")


class Probe(Stage):
    """Does what its item's source says."""

    class Settings(Settings):
        key: SecretStr = setting(SecretStr("none"), "Not for the eyes of others.")

    settings: "Probe.Settings"

    def process(self, item: Item, out: Path) -> Any:
        word, _, argument = item.source.partition(" ")
        return getattr(self, f"_{word}")(item, out, argument)

    def _key(self, item: Item, out: Path, argument: str) -> None:
        (out / "said").write_text(self.settings.key.get_secret_value())

    def _log(self, item: Item, out: Path, argument: str) -> None:
        log.debug("not asked for")
        try:
            raise ValueError("a reason")
        except ValueError as error:
            log.warning("%s of %d", argument, 7, exc_info=error)

    def _freeze(self, item: Item, out: Path, argument: str) -> None:
        """Hold Python's lock for hours, in one pattern, under a deadline of `argument` seconds."""
        note(self.workdir / "frozen", str(os.getpid()))
        with deadline(float(argument), Transient("it was slow", kind="slow")):
            freeze()

    def _slow(self, item: Item, out: Path, argument: str) -> None:
        with deadline(0.05, Transient("it was slow", kind="slow")) as limit:
            if argument:
                limit.lift()
            for _ in range(20):
                checkpoint()
                sleep(0.01)

    def _list(self, item: Item, out: Path, argument: str) -> Iterator[Item]:
        for number in range(int(argument)):
            note(self.workdir / "read", str(number))
            yield item.child(f"v{number}")
        (out / "list").write_text(str(os.getpid()))

    def _torn(self, item: Item, out: Path, argument: str) -> Iterator[Item]:
        yield from (item.child(f"v{number}") for number in range(AT_ONCE + 2))
        if argument == "dies":
            os._exit(3)
        raise Transient("the next page is missing")

    def _pid(self, item: Item, out: Path, argument: str) -> None:
        (out / "said").write_text(str(os.getpid()))

    def _wait(self, item: Item, out: Path, argument: str) -> None:
        self._temporary(item, out, argument)
        note(self.workdir / "frozen", str(os.getpid()))
        signal.pause()

    def _temporary(self, item: Item, out: Path, argument: str) -> None:
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        note(self.workdir / "temporary", name)

    def _nonsense(self, item: Item, out: Path, argument: str) -> Any:
        return [lambda: 7]


def freeze() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")


def sleep(seconds: float) -> None:
    signal.sigtimedwait([], seconds)


class Bench:
    """A work folder with workers of one pool."""

    def __init__(self, workdir: Path, **settings: Any) -> None:
        self.workdir = workdir
        self.nursery = Nursery(StageFactory(Probe, Probe.Settings(**settings), workdir))

    @asynccontextmanager
    async def worker(self, within: float = 60) -> AsyncIterator[ProcessWorker]:
        made = ProcessWorker(self.nursery.factory, within, self.nursery)
        try:
            await made.open()
            yield made
        finally:
            await made.close()

    def draft(self, source: str) -> Draft:
        item = Item.at(self.workdir, source)
        return Draft(FolderOutputs(), item, "probe", "fingerprint")

    def said(self, source: str, name: str = "said") -> str:
        return (Item.at(self.workdir, source).output("probe") / name).read_text()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, key=SecretStr("swordfish"))
    yield made
    await made.nursery.close()
    assert children() == {}


async def gone(pid: int) -> None:
    def has_gone() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    with anyio.fail_after(10):
        await until(has_gone)


async def frozen(workdir: Path) -> int:
    """Wait until the stage is at it; returns its process."""
    file = workdir / "frozen"
    await until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text().split()[-1])


# Where it imports from


def run_script(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": ""} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


MAIN = """
import sys
from pathlib import Path
from engine import SOURCE, Pipeline, Step
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
{load}

if __name__ == "__main__":
    pipeline = Pipeline(name="p", summary="s", steps=[Step(Own, after=SOURCE)])
    config = load_config(pipeline, None, {{}}, ["stages.own.placement=process"], {{}})
    report = run_pipeline(pipeline, config, Path(sys.argv[1]), ["v1"])
    print(dict(report.items))
"""

OWN = """
from engine import Stage

class Own(Stage):
    def process(self, item, out):
        (out / "done").write_text("done")
"""


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder with modules that leave a trace where they are imported in place of Python's and
    the engine's own."""
    folder = tmp_path / "here"
    folder.mkdir()
    trap = f"open({str(tmp_path / 'trace')!r}, 'w')\nraise SystemExit('the wrong module')\n"
    for name in ("queue", "ctypes", "signal", "brotli"):
        (folder / f"{name}.py").write_text(trap)
    return folder


ROOT = str(Path(__file__).parents[3])


async def test_the_current_folder_is_no_place_to_import_from(trapped: Path, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "own.py").write_text(OWN)
    (tmp_path / "lib" / "script.py").write_text(MAIN.format(load="from own import Own"))
    (trapped / "engine").mkdir()
    (trapped / "engine" / "__init__.py").write_text((trapped / "queue.py").read_text())
    for command, path in (
        ([str(tmp_path / "lib" / "script.py")], ROOT),
        (["-P", "-m", "script"], f"{tmp_path / 'lib'}:{ROOT}"),
    ):
        ran = run_script(trapped, *command, str(tmp_path / f"w{len(command)}"), PYTHONPATH=path)
        assert "'done': 1" in ran.stdout, ran.stderr
        assert not (tmp_path / "trace").exists()


async def test_what_the_run_imported_from_there_its_processes_do_too_but_last(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "own.py").write_text(OWN)
    (here / "main.py").write_text(MAIN.format(load="from own import Own"))
    (here / "alone.py").write_text(MAIN.format(load=textwrap.dedent(OWN)))
    (here / "colorsys.py").write_text("raise SystemExit('the wrong module')")
    typed = MAIN.format(load="from own import Own")
    for number, command in enumerate(
        (["main.py"], ["-m", "main"], ["-c", typed], ["alone.py"], ["-m", "alone"])
    ):
        ran = run_script(here, *command, str(tmp_path / f"w{number}"), PYTHONPATH=ROOT)
        assert "'done': 1" in ran.stdout, (command, ran.stderr)


async def test_a_class_that_was_typed_in_is_refused_with_what_to_do(tmp_path: Path) -> None:
    typed = MAIN.format(load=OWN)
    ran = run_script(tmp_path, "-c", typed, str(tmp_path / "w"), PYTHONPATH=ROOT)
    assert 'write it into a file, or set placement = "thread"' in ran.stderr


# When it starts


async def test_while_it_starts_nothing_says_that_its_item_is_in_hand(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a run that is killed meanwhile would suspect the item, which nobody was at work on."""
    draft, in_hand, start = bench.draft("pid"), [], Child.start

    async def watched(*arguments: Any) -> Child:
        in_hand.append(abandoned_stages(draft.item, ["probe"]))
        return await start(*arguments)

    async with bench.worker(), bench.worker() as second:
        monkeypatch.setattr(Child, "start", watched)
        assert await second.process(draft) == Result()
    assert in_hand == [[]]


# What it tells, and is told


async def test_settings_arrive_as_they_are_and_stand_on_no_command_line(bench: Bench) -> None:
    async with bench.worker() as worker:
        lines = [" ".join(psutil.Process(pid).cmdline()) for pid in children()]
        assert len(lines) == 1
        assert "swordfish" not in lines[0]
        assert await worker.process(bench.draft("key")) == Result()
    assert bench.said("key") == "swordfish"


def test_secrets_of_every_shape_reach_a_process_and_no_file(tmp_path: Path) -> None:
    given = {
        "plain": "sesame-1",
        "raw": "sesame-2",
        "several": ["sesame-3", "sesame-4"],
        "named": {"a": "sesame-5"},
        "door": {"key": "sesame-6", "next": {"key": "sesame-7"}, "kept": "sesame-8"},
        "doors": [{"key": "sesame-9"}],
        "kept": "sesame-0",
    }
    pipeline = line(Step(Keeper, SOURCE))
    settings = {f"stages.keeper.{key}": value for key, value in given.items()}
    config = load_config(pipeline, None, {}, ["stages.keeper.placement=process"], settings)

    report = run_pipeline(pipeline, config, tmp_path / "w", ["v1"])

    assert report.items["done"] == 1
    item = Item.at(tmp_path / "w", "v1")
    said = item.output("keeper") / "said"
    assert sorted(said.read_text().split()) == [f"sesame-{number}" for number in range(10)]
    said.unlink()
    files = [path for path in (tmp_path / "w").rglob("*") if path.is_file()]
    assert len(files) > 1
    for file in files:
        assert b"sesame-" not in file.read_bytes(), file


class Door(BaseModel):
    """Holds others of its kind."""

    key: SecretStr
    kept: str = Field("", exclude=True)
    next: "Door | None" = None


class Keeper(Stage):
    """Says every secret that it was given."""

    class Settings(Settings):
        plain: SecretStr = setting(SecretStr("none"), "One.")
        raw: SecretBytes | None = setting(None, "One of bytes.")
        several: list[SecretStr] = setting([], "Some.")
        named: dict[str, SecretStr] = setting({}, "Some with names.")
        door: Door | None = setting(None, "One inside.")
        doors: tuple[Door, ...] = setting((), "Some inside.")
        kept: str = Field("", exclude=True, description="Kept out of dumps.")

        @computed_field
        @property
        def number(self) -> int:
            return len(self.several)

    settings: "Keeper.Settings"

    def process(self, item: Item, out: Path) -> None:
        own = self.settings
        assert own.raw is not None
        assert own.door is not None
        assert own.door.next is not None
        secrets = [own.plain, *own.several, *own.named.values(), own.door.key, own.door.next.key]
        secrets += [door.key for door in own.doors]
        said = [secret.get_secret_value() for secret in secrets]
        said += [own.raw.get_secret_value().decode(), own.door.kept, own.kept]
        (out / "said").write_text("\n".join(said))


async def test_a_setting_of_a_scripts_own_type_arrives(tmp_path: Path) -> None:
    own = """
from enum import Enum
from engine import Settings, Stage, setting

class Color(Enum):
    RED = "red"

class Own(Stage):
    class Settings(Settings):
        color: Color = setting("red", "Which.")

    def process(self, item, out):
        assert self.settings.color is Color.RED
"""
    (tmp_path / "alone.py").write_text(MAIN.format(load=own))
    ran = run_script(tmp_path, "alone.py", str(tmp_path / "w"), PYTHONPATH=ROOT)
    assert "'done': 1" in ran.stdout, ran.stderr


async def test_what_a_stage_logs_is_logged_by_the_run(
    bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    async with bench.worker() as worker:
        await worker.process(bench.draft("log word"))
    assert [(one.name, one.getMessage().partition("\n")[0]) for one in caplog.records] == [
        ("penstock.probe", "word of 7")
    ]
    assert "ValueError: a reason" in caplog.text
    assert "word of 7" not in capfd.readouterr().err


# Deadlines


async def test_a_block_that_looks_ends_by_itself_when_its_time_is_up(bench: Bench) -> None:
    async with bench.worker() as worker:
        ending = (await worker.process(bench.draft("slow"))).ending
        assert isinstance(ending, Transient)
        assert (ending.kind, ending.reason) == ("slow", "it was slow")
        assert not worker.broken
        assert await worker.process(bench.draft("slow lifted")) == Result()


async def test_a_block_that_never_looks_is_ended_with_its_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "SLACK", 0.1)
    async with bench.worker() as worker:
        ending = (await worker.process(bench.draft("freeze 0.2"))).ending
        assert isinstance(ending, Transient)
        assert ending.kind == "slow"
        assert worker.broken
    await gone(await frozen(bench.workdir))


async def test_an_attempts_time_holds_where_the_deadline_is_later(bench: Bench) -> None:
    async with bench.worker(within=0.5) as worker:
        ending = (await worker.process(bench.draft("freeze 1000"))).ending
        assert ending is not None
        assert ending.kind == "timeout"


@pytest.mark.alone
async def test_cancelling_does_not_wait_for_who_holds_pythons_lock(bench: Bench) -> None:
    async with anyio.create_task_group() as tasks:

        async def serve() -> None:
            async with bench.worker() as worker:
                await worker.process(bench.draft("freeze 1000"))

        tasks.start_soon(serve)
        pid = await frozen(bench.workdir)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert anyio.current_time() - began < 2
    await gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells a process")
@pytest.mark.parametrize("word", ["freeze 1000", "wait"])
async def test_nothing_outlives_a_run_that_is_killed_and_the_next_is_told(
    word: str, tmp_path: Path
) -> None:
    script = f"""
        import anyio
        from pathlib import Path
        from tests.engine.workers.test_process import Bench

        async def main():
            bench = Bench(Path({str(tmp_path)!r}))
            async with bench.worker() as worker:
                await worker.process(bench.draft({word!r}))

        anyio.run(main)
    """
    run = subprocess.Popen(  # noqa: ASYNC220 - it is killed, not awaited
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT
    )
    child = await frozen(tmp_path)
    assert psutil.Process(child).is_running()
    run.send_signal(signal.SIGKILL)
    run.wait()
    await gone(child)
    item = Item.at(tmp_path, word)
    assert list(item.folder.glob(".probe.scratch-1"))
    assert abandoned_stages(item, ["probe"]) == [], "it was not what killed the run"
    if word == "wait":
        assert not Path((tmp_path / "temporary").read_text().strip()).parent.exists()


async def test_temporary_files_go_with_the_process_however_it_ends(bench: Bench) -> None:
    async with bench.worker(within=30) as worker:
        await worker.process(bench.draft("temporary"))
    async with bench.worker(within=1) as worker:
        await worker.process(bench.draft("wait"))
    files = (bench.workdir / "temporary").read_text().split()
    assert len(files) == 2
    assert [Path(file).parent.exists() for file in files] == [False, False]


# Lists


async def read(produced: Any) -> list[str]:
    assert isinstance(produced, AsyncGenerator)
    return [item.source async for item in produced]


async def test_a_short_list_is_read_at_once(bench: Bench) -> None:
    async with bench.worker() as worker:
        produced = (await worker.process(bench.draft("list 3"))).produced
        assert [item.source for item in produced or ()] == ["v0", "v1", "v2"]  # type: ignore[union-attr]


async def test_a_long_list_is_read_as_its_items_are_wanted_while_the_worker_goes_on(
    bench: Bench,
) -> None:
    count = AT_ONCE + 5
    async with bench.worker() as worker:
        draft = bench.draft(f"list {count}")
        produced = (await worker.process(draft)).produced
        assert isinstance(produced, AsyncGenerator)
        assert (bench.workdir / "read").read_text().count("\n") == AT_ONCE
        assert await worker.process(bench.draft("pid 1")) == Result()
        assert len(children()) == 2
        assert await read(produced) == [f"v{number}" for number in range(count)]
        assert draft.folder is not None
        reader = (draft.folder / "list").read_text()
        assert reader != bench.said("pid 1")
        async with bench.worker() as second:
            await second.process(bench.draft("pid 2"))
        assert bench.said("pid 2") == reader, "who has read a list is used again"


@pytest.mark.parametrize(("word", "kind"), [("torn", "transient"), ("torn dies", "crashed")])
async def test_a_list_that_breaks_off_says_why(bench: Bench, word: str, kind: str) -> None:
    async with bench.worker() as worker:
        produced = (await worker.process(bench.draft(word))).produced
        with pytest.raises(child_module.PenstockError) as ending:
            await read(produced)
        assert getattr(ending.value, "kind", None) == kind
        assert await worker.process(bench.draft("pid 1")) == Result()


async def test_a_list_that_nobody_reads_on_leaves_no_process(bench: Bench) -> None:
    async with bench.worker() as worker:
        produced = (await worker.process(bench.draft(f"list {10 * AT_ONCE}"))).produced
        assert isinstance(produced, AsyncGenerator)
        await anext(produced)
        await produced.aclose()


async def test_what_cannot_travel_is_a_bug_of_the_stage(bench: Bench) -> None:
    async with bench.worker() as worker:
        ending = (await worker.process(bench.draft("nonsense"))).ending
        assert ending is not None
        assert ending.kind == "unexpected"
        assert await worker.process(bench.draft("pid")) == Result()


async def test_only_the_first_worker_starts_before_it_has_work(bench: Bench) -> None:
    async with bench.worker(), bench.worker() as second:
        assert len(children()) == 1
        await second.process(bench.draft("pid"))
        assert len(children()) == 2


async def test_what_another_import_has_in_the_path_for_a_moment_reaches_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenCV's own folder, which has a `typing` in it."""
    bench = Bench(tmp_path)
    (tmp_path / "loading").mkdir()
    (tmp_path / "loading" / "typing.py").write_text("raise ImportError('the wrong module')")
    monkeypatch.syspath_prepend(str(tmp_path / "loading"))
    async with bench.worker() as worker:
        assert await worker.process(bench.draft("pid")) == Result()
    await bench.nursery.close()


async def test_a_process_starts_with_variables_that_no_library_can_change_meanwhile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of C are changed by threads of libraries, and what these free is no address."""
    given: list[Any] = []
    original = anyio.open_process

    async def open_process(*arguments: Any, **options: Any) -> Any:
        given.append(options.get("env"))
        return await original(*arguments, **options)

    monkeypatch.setattr(anyio, "open_process", open_process)
    monkeypatch.setenv("PENSTOCK_PROBE", "here")
    async with bench.worker() as worker:
        assert await worker.process(bench.draft("pid")) == Result()
    [environment] = given
    assert environment is not os.environ
    assert environment["PENSTOCK_PROBE"] == "here"


async def test_no_more_processes_start_at_once_than_half_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    starting, most = 0, 0

    async def start(*_: object) -> Child:
        nonlocal starting, most
        starting += 1
        most = max(most, starting)
        await anyio.lowlevel.checkpoint()
        starting -= 1
        return Mock(Child, killed=False)

    monkeypatch.setattr("engine.workers.process.available_cores", lambda: 4)
    monkeypatch.setattr(Child, "start", start)
    nursery = Nursery(StageFactory(Probe, Probe.Settings(), tmp_path))
    children: list[Child] = []

    async def ask() -> None:
        children.append(await nursery.child())

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(ask)

    assert len(set(children)) == 8
    assert most == 2

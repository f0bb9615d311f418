"""The ledger: what it holds after anything, and many requests in few transactions."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from engine import Item, Job, StopRun, WorkFolderError
from engine.ledger.group_commit import BACKLOG, GroupCommit
from engine.ledger.reader import LedgerReader
from engine.ledger.records import AttemptRow, Change, End, Failure, Known, Settled
from engine.ledger.schema import FILE, SCHEMA, SCHEMA_VERSION, connect
from engine.ledger.writer import Ledger
from engine.telemetry.processor_time import ProcessorTime
from tests.engine.toys import engine_threads, line, query, toy

pytestmark = pytest.mark.anyio

PIPELINE = line(toy("a"), toy("b", "a"), toy("c", "b"))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / FILE)
    yield ledger
    ledger.close()


def enter(ledger: Ledger, source: str, *stages: str, run: int = 1) -> Item:
    item = Item.at(ledger.path.parent, source)
    ledger.admit(item, None, run)
    ledger.apply(Change(item, entering=stages), run)
    return item


def end(
    ledger: Ledger,
    item: Item,
    stage: str,
    outcome: Settled,
    failure: Failure | None = None,
    expanded: int | None = None,
    ends: Settled | None = None,
    run: int = 1,
) -> None:
    """`stage` ends with the item, and with `ends` the item itself."""
    retryable = outcome == "failed"
    ended = End(stage, outcome, f"f{stage}", expanded, retryable, failure=failure)
    ledger.apply(Change(item, ended, outcome=ends), run)


def known(ledger: Ledger, item: Item, run: int = 99) -> dict[str, Known]:
    found = ledger.admit(item, None, run)
    assert found is not None
    return found


# What it holds


def test_what_was_settled_is_known_to_the_next_run(ledger: Ledger) -> None:
    item = enter(ledger, "v", "a", "b", "c")
    end(ledger, item, "a", "done", expanded=2)
    end(ledger, item, "b", "failed", Failure("http-503", "not now"))
    assert known(ledger, item) == {
        "a": Known("done", "fa", expanded=2),
        "b": Known("failed", "fb", kind="http-503", reason="not now", retryable=True),
        "c": Known(),
    }


def test_entering_a_stage_again_voids_how_it_and_its_descendants_ended(ledger: Ledger) -> None:
    item = enter(ledger, "v", "a", "b")
    end(ledger, item, "a", "failed", Failure("k", "r"))
    done = End("b", "done", "fb")
    ledger.apply(Change(item, done, discardable=("b",), outcome="failed"), 1)
    ledger.apply(Change(item, entering=("a",), void=("b", "c")), 2)
    assert known(ledger, item) == {"a": Known()}


def test_a_change_is_written_whole(ledger: Ledger) -> None:
    item = enter(ledger, "v", "a")
    ledger.apply(Change(item, End("a", "done", "fa"), entering=("b",), discardable=("a",)), 1)
    end(ledger, item, "b", "failed", Failure("http-503", "not now"), ends="failed")
    rows = "SELECT stage, outcome, kind, discarded FROM stages"
    workdir = ledger.path.parent
    assert query(workdir, rows) == [("a", "done", None, 1), ("b", "failed", "http-503", 0)]
    assert query(workdir, "SELECT outcome FROM items") == [("failed",)]
    again = Change(item, restored=(End("a", "done", "fa"),), entering=("b",), void=("c",))
    ledger.apply(again, 2)
    assert query(workdir, rows) == [("a", "done", None, 0), ("b", "pending", None, 0)]
    assert query(workdir, "SELECT outcome FROM items") == [("pending",)]
    end(ledger, item, "b", "done", ends="done", run=2)
    assert query(workdir, "SELECT outcome, run FROM stages") == [("done", 2), ("done", 2)]


def test_an_item_enters_a_run_once_and_every_list_that_held_it_is_known(ledger: Ledger) -> None:
    shared = Item.at(ledger.path.parent, "shared")
    assert ledger.admit(shared, "first", 1) == {}
    assert ledger.admit(shared, "second", 1) is None
    assert ledger.admit(shared, None, 1) is None
    for parent in ("first", "second"):
        assert ledger.children(parent) == [Job("shared", shared.id)]
    assert ledger.admit(shared, None, 2) == {}


def test_a_file_name_that_is_not_utf8_comes_back_as_it_was(ledger: Ledger) -> None:
    source = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    item = enter(ledger, source, "a")
    with LedgerReader(ledger.path.parent) as reader:
        assert list(reader.pending_items()) == [Job(source, item.id)]
        assert [record.source for record in reader.item_records()] == [source]


def test_nobody_but_its_owner_reads_the_ledger(tmp_path: Path) -> None:
    path = tmp_path / FILE
    for _ in range(2):
        ledger = Ledger(path)
        ledger.start_run("toy", {}, {})
        names = {file.name for file in tmp_path.iterdir()}
        assert names == {FILE, f"{FILE}-wal", f"{FILE}-shm"}
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
        ledger.close()
        path.chmod(0o644)  # as earlier versions made it


def test_attempts_that_a_dead_run_left_open_are_closed(ledger: Ledger) -> None:
    first = ledger.start_run("toy", {}, {})
    item = enter(ledger, "v", "a")
    row = AttemptRow(ledger.last_attempt() + 1, first, item.id, "a", 1, 1, started=1.0)
    ledger.start_attempt(row)
    second = ledger.start_run("toy", {}, {})
    assert ledger.killed.close_before(second) == [(item.id, "a")]
    assert ledger.killed.close_before(second) == []
    workdir = ledger.path.parent
    assert query(workdir, "SELECT id, outcome FROM attempts") == [(row.id, "interrupted")]
    assert query(workdir, "SELECT outcome FROM runs") == [("killed",), (None,)]


def test_resetting_failures_chooses_by_class_and_stage(ledger: Ledger) -> None:
    descendants = {"a": ["b", "c"], "b": ["c"], "c": []}
    for source, stage, kind in (("v1", "a", "x"), ("v2", "b", "x"), ("v3", "b", "y")):
        item = enter(ledger, source, "a", "b", "c")
        end(ledger, item, "c", "done")
        end(ledger, item, stage, "failed", Failure(kind, "r"), ends="failed")
    assert len(ledger.retrying.reset(descendants, "x", "b")) == 1
    assert known(ledger, Item.at(ledger.path.parent, "v2")) == {"a": Known(), "b": Known()}
    with LedgerReader(ledger.path.parent) as reader:
        assert [job.source for job in reader.pending_items()] == ["v2"]
    assert len(ledger.retrying.reset(descendants)) == 2
    assert ledger.retrying.reset(descendants) == []


def test_a_folder_belongs_to_one_pipeline(ledger: Ledger) -> None:
    ledger.start_run("toy", {}, {})
    with pytest.raises(WorkFolderError, match="holds the work of pipeline 'toy'"):
        ledger.start_run("other", {}, {})


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 50])
def test_what_is_no_ledger_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(WorkFolderError, match="cannot be used as a ledger") as refusal:
        Ledger(tmp_path / FILE)
    assert "\n" not in str(refusal.value)


def test_another_versions_ledger_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(WorkFolderError, match="written by another version"):
        Ledger(tmp_path / FILE)


def test_an_older_ledger_gains_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript(f"{SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
    db.execute("INSERT INTO runs (pipeline, started, settings, versions) VALUES ('toy', 1, '', '')")
    insert = "INSERT INTO attempts (run, item, stage, worker, attempt, started)"
    db.execute(f"{insert} VALUES (1, 'old', 'a', 1, 1, 5)")
    db.commit()
    ledger = Ledger(tmp_path / FILE)
    run = ledger.start_run("toy", {}, {}, cores=4)
    row = AttemptRow(2, run, "v", "a", 1, 1, 6.0)
    ledger.start_attempt(row)
    row.cost = ProcessorTime(1.5, 0.25)
    row.end("done", None)
    ledger.end_attempt(row)
    assert query(tmp_path, "SELECT cores FROM runs") == [(None,), (4,)]
    assert query(tmp_path, "SELECT item, started, processor, delayed FROM attempts")[0] == (
        "old", 5.0, None, None,
    )  # fmt: skip
    [cost] = query(
        tmp_path, "SELECT processor, delayed, run_processor FROM attempts WHERE item != 'old'"
    )
    assert cost[:2] == (1.5, 0.25)
    assert cost[2] > 0
    db.execute(f"{insert} VALUES (2, 'by an older Penstock', 'a', 1, 1, 6)")
    db.commit()
    db.close()
    ledger.close()
    Ledger(tmp_path / FILE).close()  # and again, when there is nothing to add


def test_a_folder_without_a_ledger_is_no_work_folder(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match="is not a work folder"):
        LedgerReader(tmp_path)


# Adding up


def test_an_audit_finds_what_is_missing_and_what_is_too_much(ledger: Ledger) -> None:
    workdir = ledger.path.parent
    run = ledger.start_run("toy", {}, {})
    lost, extra, open_ = (enter(ledger, source, "a", run=run) for source in ("v1", "v2", "v3"))
    end(ledger, lost, "a", "done", run=run)
    ledger.apply(Change(extra, entering=("b",)), run)
    ledger.apply(Change(open_, outcome="done"), run)
    with LedgerReader(workdir) as reader:
        assert sorted(reader.audit(PIPELINE, frozenset())) == [
            "1 items are recorded as ended with a stage pending",
            "1 items entered stage 'b' and should not have",
            "1 items should have entered stage 'b' and did not",
        ]


def test_an_audit_looks_at_the_items_of_the_last_run(ledger: Ledger) -> None:
    """Those of earlier ones may have gone by other settings: `optional` may have been another."""
    run = ledger.start_run("toy", {}, {})
    item = enter(ledger, "v", "a", run=run)
    end(ledger, item, "a", "failed", Failure("k", "r"), ends="failed", run=run)
    with LedgerReader(ledger.path.parent) as reader:
        assert len(reader.audit(PIPELINE, frozenset({"a"}))) == 1
        ledger.start_run("toy", {}, {})
        assert reader.audit(PIPELINE, frozenset({"a"})) == []


def test_reading_many_items_is_lazy_and_complete(ledger: Ledger) -> None:
    ledger.begin()
    for number in range(1203):
        enter(ledger, f"v{number}", "a")
    ledger.commit()
    with LedgerReader(ledger.path.parent) as reader:
        assert len({job.id for job in reader.pending_items()}) == 1203
        assert [record.id for record in reader.item_records()] == [
            job.id for job in reader.pending_items()
        ]


# Group commit


async def test_many_requests_at_once_are_few_transactions(ledger: Ledger) -> None:
    class Counting(Ledger):
        commits = 0

        def commit(self) -> None:
            self.commits += 1
            super().commit()

    counting = Counting(ledger.path)
    commit = GroupCommit(counting)
    items = [Item.at(ledger.path.parent, f"v{number}") for number in range(200)]
    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(commit.do, lambda ledger, item=item: ledger.admit(item, None, 1))
    commit.close()
    assert query(ledger.path.parent, "SELECT count(*) FROM items") == [(200,)]
    assert counting.commits <= 3
    counting.close()
    assert engine_threads() == []


async def test_requests_are_applied_in_order_and_answered(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    applied: list[int] = []
    answers: dict[int, int] = {}

    async def ask(number: int) -> None:
        def work(ledger: Ledger) -> int:
            applied.append(number)
            return number * 10

        answers[number] = await commit.do(work)

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, number)
    commit.close()
    assert applied == sorted(applied)
    assert answers == {number: number * 10 for number in range(50)}


async def test_an_error_is_undone_and_heard_by_whom_it_concerns(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    heard = []

    async def ask(number: int) -> None:
        def work(ledger: Ledger) -> None:
            enter(ledger, f"v{number}", "a")
            if number == 3:
                raise ValueError("a bug")

        try:
            await commit.do(work)
        except ValueError:
            heard.append(number)

    await commit.do(lambda ledger: enter(ledger, "first", "a"))
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(ask, number)
    rows = query(ledger.path.parent, "SELECT source FROM items WHERE source != 'first'")
    assert {s for (s,) in rows} == {"v0", "v1", "v2", "v4", "v5"}
    assert heard == [3]
    await commit.do(lambda ledger: enter(ledger, "later", "a"))
    commit.close()


async def test_a_ledger_that_cannot_be_written_stops_the_run_in_one_line(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    ledger._db.execute("PRAGMA busy_timeout = 1")
    other = connect(ledger.path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StopRun, match=r"the ledger .* cannot be written \(database is locked\)"):
        await commit.do(lambda ledger: enter(ledger, "v", "a"))
    other.execute("ROLLBACK")
    other.close()
    await commit.do(lambda ledger: enter(ledger, "v", "a"))
    commit.close()


async def test_what_nobody_waits_for_is_written_in_its_turn(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    order: list[int] = []
    for number in range(3):
        commit.note(lambda ledger, number=number: order.append(number))
    await commit.do(lambda ledger: order.append(3))
    assert order == [0, 1, 2, 3]
    commit.note(lambda ledger: enter(ledger, "v", "a"))
    commit.close()
    assert query(ledger.path.parent, "SELECT source FROM items") == [("v",)]
    assert engine_threads() == []


async def test_the_backlog_is_bounded(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    gate = threading.Event()
    commit.note(lambda ledger: gate.wait(10))
    for _ in range(BACKLOG + 1):
        commit.note(lambda ledger: None)
    with anyio.move_on_after(0.05) as scope:
        await commit.room()
    assert scope.cancelled_caught
    gate.set()
    await commit.room()
    commit.close()


async def test_what_goes_wrong_where_nobody_waits_is_told_to_who_watches(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    commit.note(lambda ledger: enter(ledger, "before", "a"))
    commit.note(lambda ledger: 1 / 0)
    with anyio.fail_after(5), pytest.raises(ZeroDivisionError):
        await commit.watch()
    assert query(ledger.path.parent, "SELECT source FROM items") == [("before",)]
    commit.close()


async def test_who_is_cancelled_takes_nobody_with_them(ledger: Ledger) -> None:
    commit = GroupCommit(ledger)
    answers = []

    async def ask(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            answers.append(await commit.do(lambda ledger: enter(ledger, f"v{number}", "a").source))

    scopes = [anyio.CancelScope() for _ in range(9)]
    async with anyio.create_task_group() as tasks:
        for number, scope in enumerate(scopes):
            tasks.start_soon(ask, number, scope)
        await anyio.wait_all_tasks_blocked()
        for scope in scopes[::2]:
            scope.cancel()
    assert {f"v{number}" for number in range(1, 9, 2)} <= set(answers)
    commit.close()

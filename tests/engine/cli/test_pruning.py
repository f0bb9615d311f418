"""`penstock prune`, and `limits.ttl` of a resident run: what ended long ago leaves the folder."""

import json
import os
import queue
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine import FinishContext, ItemRecord, Job, Pipeline, Source, locked
from engine.cli import prune_command
from engine.cli.main import main
from engine.contract import registry
from engine.contract.item import item_id
from engine.flow.opening import run_pipeline
from engine.flow.run import Run
from engine.ledger.schema import FILE
from engine.telemetry.events import Event, Events, Pruned
from tests.engine import toys
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Does, configured, executions, line, query, run, toy

LISTS: Does = {"list": ["expand", ["x", "y"]], "bad": ["permanent"], "stuck": ["transient", -1]}


def finish(context: FinishContext) -> list[str]:
    done = [record.id for record in context.items() if record.outcome == "done"]
    (context.workdir / "results.json").write_text(json.dumps(done))
    return [f"{len(done)} in the results"]


def forget(context: FinishContext, record: ItemRecord) -> list[str]:
    toys.note(context.workdir / "forgotten", record.id)
    return []


def pipeline(**more: Any) -> Pipeline:
    return line(
        toy("a", does=LISTS), cut("c", "a"), at("c", "f"), gather("g", "f"),
        unit="page", kept=["replies"], **({"finish": finish, "forget": forget} | more),
    )  # fmt: skip


@pytest.fixture
def penstock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(registry, "pipeline", lambda name: pipeline())

    def call(*words: object) -> Result:
        return CliRunner().invoke(main, ["prune", *map(str, words)])

    return call


def age(workdir: Path, *sources: str, days: int = 8) -> None:
    """Have these items be of so many days ago."""
    then = time.time() - days * 86400
    with closing(sqlite3.connect(workdir / FILE)) as db, db:
        for source in sources:
            db.execute("UPDATE items SET used = ? WHERE id = ?", (then, item_id(source)))


def known(workdir: Path) -> set[str]:
    return {id_ for (id_,) in query(workdir, "SELECT id FROM items WHERE split IS NULL")}


def ids(*sources: str) -> set[str]:
    return {item_id(source) for source in sources}


def results(workdir: Path) -> set[str]:
    return set(json.loads((workdir / "results.json").read_text()))


def test_what_ended_long_ago_goes_and_all_else_stays(
    fast: Path, penstock: Callable[..., Result]
) -> None:
    run(pipeline(), fast, ["old", "bad", "new"])
    age(fast, "old", "bad")
    sample = fast / "cache" / "replies" / "00"
    sample.mkdir(parents=True)
    for name, days in (("old.json", 8), ("new.json", 1), (".reply-x", 1), (".reply-now", 0)):
        (sample / name).write_text("{}")
        os.utime(sample / name, (time.time() - days * 86400,) * 2)

    told = penstock(fast, "--older", "7d", "--dry-run")
    assert "2 pages would go: " in told.output
    assert known(fast) == ids("old", "bad", "new")

    told = penstock(fast, "--older", "7d")
    assert told.exit_code == 0, told.output
    assert "1 in the results" in told.output
    assert "2 pages taken out: " in told.output
    assert known(fast) == ids("new") == results(fast)
    assert {path.name for path in (fast / "items").iterdir()} == ids("new")
    assert {path.name for path in sample.iterdir()} == {"new.json", ".reply-now"}
    assert not (fast / "forgotten").exists()
    for table, column in (("stages", "item"), ("attempts", "item")):
        rows = query(fast, f"SELECT DISTINCT {column} FROM {table}")
        assert {id_.partition("/")[0] for (id_,) in rows} == ids("new")

    before = executions(fast)
    report = run(pipeline(), fast, ["old", "new"])  # it checks that the books add up
    assert report.total.done == 2
    assert {item for _, item in executions(fast) - before if "/" not in item} == ids("old")


def test_the_sinks_keep_it_unless_told_otherwise(
    fast: Path, penstock: Callable[..., Result]
) -> None:
    run(pipeline(), fast, ["old"])
    age(fast, "old")
    assert "sinks: 1 page taken out" in penstock(fast, "--older", "7d", "--sinks").output
    assert (fast / "forgotten").read_text() == f"{item_id('old')}\n"


def test_a_list_goes_with_the_last_of_its_items(
    fast: Path, penstock: Callable[..., Result]
) -> None:
    run(pipeline(), fast, ["list"])
    age(fast, "list", "x")
    assert "1 page taken out" in penstock(fast, "--older", "1w").output
    assert known(fast) == ids("list", "y")
    age(fast, "y")
    assert "2 pages taken out" in penstock(fast, "--older", "1w").output
    assert known(fast) == set()


def test_what_is_pending_stays_and_so_does_what_was_asked_for_again(
    fast: Path, penstock: Callable[..., Result]
) -> None:
    run(pipeline(), fast, ["v", "w"])
    age(fast, "v", "w")
    run(pipeline(), fast, ["v"])
    with closing(sqlite3.connect(fast / FILE)) as db, db:
        db.execute("UPDATE items SET outcome = 'pending' WHERE id = ?", (item_id("w"),))
    assert "0 pages taken out" in penstock(fast, "--older", "7d").output
    assert known(fast) == ids("v", "w")


@pytest.mark.parametrize("cut_off_at", ["run_finish", "set_aside", "clear_aside", "Ledger"])
def test_cut_off_anywhere_the_same_command_goes_on(
    fast: Path,
    penstock: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    cut_off_at: str,
) -> None:
    run(pipeline(), fast, ["u", "v", "new"])
    age(fast, "u", "v")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prune_command, cut_off_at, die)
        assert penstock(fast, "--older", "7d").exit_code == 130
    assert ids("u", "v") & known(fast)
    assert penstock(fast, "--older", "7d").exit_code == 0
    assert known(fast) == ids("new") == results(fast)
    assert not (fast / ".forgotten").exists()


def test_wrong_use_is_said_in_one_line(fast: Path, penstock: Callable[..., Result]) -> None:
    run(pipeline(), fast, ["v"])
    with locked(fast):
        told = penstock(fast, "--older", "7d")
    assert (told.exit_code, len(told.output.splitlines())) == (2, 1)
    assert "is in use by process" in told.output
    told = penstock(fast, "--older", "soon")
    assert told.exit_code == 2
    assert "'soon' is no time such as" in told.output


class Resident(Source):
    def __init__(self) -> None:
        self.coming: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def items(self) -> Iterator[Job]:
        return iter(self.coming.get, None)

    def ended(self, job: Job, outcome: str) -> None:
        self.told.put(job.source)


def test_a_resident_run_takes_out_what_is_old_and_does_it_anew_when_it_is_asked_for(
    fast: Path,
) -> None:
    """The results of each item go with it; where that fails it stays, and the run goes on."""
    made: list[tuple[str, str]] = []
    broken = [RuntimeError("odd")]

    def finish_item(context: FinishContext, record: ItemRecord) -> None:
        if record.outcome == "dropped" and broken:
            raise broken.pop()
        made.append((record.source, record.outcome))

    source, events, pruned = Resident(), Events(), []
    runs: list[Run] = []

    def prepare(run: Run) -> list[Any]:
        runs.append(run)
        return []

    def listen(event: Event) -> None:
        if isinstance(event, Pruned):
            pruned.append((event.items, known(fast), list((fast / "items").iterdir())))
            if len(pruned) == 1:
                source.coming.put(Job("v"))
            else:
                runs[0].drain("interrupted", "enough")
                source.coming.put(None)

    events.subscribe(listen)
    source.coming.put(Job("v"))
    wanted = pipeline(finish_item=finish_item, finish=None)
    config = configured(wanted, "limits.ttl=0.2")
    run_pipeline(
        wanted, config, fast, source, events=events, resident=True,
        prepare=prepare,
    )  # fmt: skip
    assert not broken
    assert pruned == [(1, set(), [])] * 2
    assert made == [("v", "done"), ("v", "dropped")] * 2
    assert executions(fast)["a", item_id("v")] == 2

"""Which item an address is: signed anew or twice, or entered by an earlier version; and who is told
its password."""

import queue
from collections.abc import Iterator
from pathlib import Path

from engine import Item, Job, Source
from engine.contract.item import earlier_id, item_id
from engine.flow.opening import run_pipeline
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.events import Event
from engine.views.json_log import JsonLog
from tests.engine.toys import Toy, configured, executions, line, query, run, toy

SIGNED = "https://me:hunter2@h.example/{}.mp4?X-Amz-Signature={}"


def items(workdir: Path) -> list[tuple[str, str]]:
    return [tuple(row) for row in query(workdir, "SELECT id, source FROM items ORDER BY id")]


def test_an_address_that_is_signed_anew_is_found_again(fast: Path) -> None:
    does = {SIGNED.format("b", "old"): ["permanent"], SIGNED.format("c", "old"): ["drop"]}
    pipeline = line(toy("a", does=does), toy("b", "a"))
    run(pipeline, fast, [SIGNED.format(name, "old") for name in "abc"])
    ids = [id_ for id_, _ in items(fast)]
    assert all(
        id_.startswith(f"h-example-{name}-mp4-") for id_, name in zip(ids, "abc", strict=True)
    )

    again = [SIGNED.format(name, "new") for name in "cba"]
    before = executions(fast)
    report = run(pipeline, fast, again)
    assert report.items == {"done": 2, "dropped": 1, "failed": 0, "reused": 2}
    # It had failed with its old signature, which may have been why.
    assert set(executions(fast) - before) == {("a", ids[1]), ("b", ids[1])}
    assert items(fast) == [
        (id_, SIGNED.format(name, "new")) for id_, name in zip(ids, "abc", strict=True)
    ]


def test_what_one_list_names_twice_with_two_signatures_is_two_items(fast: Path) -> None:
    pipeline, sources = line(toy("a")), [SIGNED.format("a", word) for word in "xyz"]
    run(pipeline, fast, [*sources, sources[0]])
    first = item_id(sources[0])
    known = [(first, sources[0]), (f"{first}-2", sources[1]), (f"{first}-3", sources[2])]
    assert items(fast) == known
    run(pipeline, fast, reversed(sources))
    assert items(fast) == known
    anew = [SIGNED.format("a", word) for word in "uvw"]
    run(pipeline, fast, anew)
    assert items(fast) == [(id_, new) for (id_, _), new in zip(known, anew, strict=True)]
    plain = "https://h.example/a.mp4"
    run(pipeline, fast, [plain])
    assert items(fast)[0] == (item_id(plain), plain)
    assert set(executions(fast).values()) == {1}


def test_a_queue_that_gives_an_address_signed_anew_means_the_same_video(fast: Path) -> None:
    """In a resident run it is answered from what stands; one that failed is tried once more."""
    old, new = SIGNED.format("a", "old"), SIGNED.format("a", "new")
    failing = SIGNED.format("b", "old")
    mended = SIGNED.format("b", "new")
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    told: list[tuple[str, str]] = []

    class Queue(Source):
        def items(self) -> Iterator[Job]:
            for source in (old, new, failing, mended):
                yield Job(source)
                told.append((source, heard.get(timeout=60)))

        def ended(self, job: Job, outcome: str) -> None:
            heard.put(outcome)

    pipeline = line(toy("a", does={failing: ["permanent"]}))
    run_pipeline(pipeline, configured(pipeline), fast, Queue(), resident=True)
    assert told == [
        (old, "done"), (new, "done"), (failing, "failed"), (mended, "done"),
    ]  # fmt: skip
    assert items(fast) == [(item_id(old), old), (item_id(failing), mended)]
    assert executions(fast) == {("a", item_id(old)): 1, ("a", item_id(failing)): 2}


def test_what_an_earlier_version_entered_keeps_its_id(fast: Path) -> None:
    source = SIGNED.format("a", "x")
    ledger = Ledger(fast / FILE)
    number = ledger.start_run("toy", {}, {})
    old = Item.at(fast, source, earlier_id(source))
    assert "hunter2" in earlier_id("http://me:hunter2@h/a.mp4")
    ledger.admit(old, None, number)
    ledger.end_run(number, "done")
    ledger.close()
    run(line(toy("a")), fast, [source, SIGNED.format("b", "x")])
    assert sorted(id_ for id_, _ in items(fast)) == sorted(
        [old.id, item_id(SIGNED.format("b", "x"))]
    )
    assert (fast / "items" / old.id / "a").is_dir()


def test_only_the_ledger_holds_a_password(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    does = {SIGNED.format(name, "f00d"): [word, 1] for name, word in (("a", "bug"), ("b", "done"))}

    class Tells(Toy):
        def act(self, item: Item, out: Path) -> Iterator[Item] | None:
            if "/a.mp4" in item.source:
                raise ValueError(f"cannot fetch <{item.source}>")
            return super().act(item, out)

    pipeline = line(toy("a", base=Tells, does=does))
    events: list[Event] = []

    def listen(event: Event) -> None:
        log(event)
        events.append(event)

    report = run(pipeline, tmp_path / "w", list(does), listen=listen)
    log.close()
    with LedgerReader(tmp_path / "w") as reader:
        told = [*reader.item_records(), *reader.examples("failed", reader.failure_kinds()[0], 9)]
        told += [*reader.failure_kinds(), *reader.attempts(0), *report.failures, *events]
        assert {job.source for job in reader.pending_items()} == set()
    assert "cannot fetch <https://h.example/a.mp4>" in str(told)
    names = [str(path) for path in tmp_path.rglob("*")]
    for text in (str(told), str(names), (tmp_path / "log.jsonl").read_text()):
        assert "hunter2" not in text
        assert "f00d" not in text

"""A run that takes nothing new asks for no further vectors, and keeps those that it has paid."""

import asyncio
import json
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from engine import SOURCE, AttemptStarted, Event, Item, Stage, Step
from engine.flow.run import Run
from stages.persistence.persist import Persist
from stages.search.api_embedder import MOST_TEXTS
from tests.engine.toys import line, query, run_within
from tests.stages.search.test_meaning import embedding
from tests.stages.sinks.records import scene

SECONDS = 60


class LongFilm(Stage):
    """Write scenes whose texts take three requests; the first one is "slow"."""

    inputs = ()

    def process(self, item: Item, out: Path) -> None:
        texts = ["slow", *(f"{item.source} {place}" for place in range(2 * MOST_TEXTS))]
        records = [scene(place, description=text) for place, text in enumerate(texts)]
        (out / "scenes.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


films = line(Step(LongFilm, SOURCE), Step(Persist, "longfilm", inputs={"scenes": "longfilm"}))


@pytest.mark.parametrize("rate", [[], ["requests_per_minute=6000", "concurrency=1"]])
def test_what_was_not_asked_yet_is_asked_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: list[str]
) -> None:
    monkeypatch.setenv("EMBED_KEY", "secret")
    runs: list[Run] = []
    with embedding() as server:
        persist = ["meaning=api", "model=m", f"base_url={server.url}", "api_key_env=EMBED_KEY"]
        sets = [f"stages.persist.{one}" for one in (*persist, *rate)]

        def listen(event: Event) -> None:
            if isinstance(event, AttemptStarted) and event.stage == "persist":
                loop = asyncio.get_running_loop()
                threading.Thread(target=drain_at_the_first, args=(loop,)).start()

        def drain_at_the_first(loop: asyncio.AbstractEventLoop) -> None:
            assert server.arrived.acquire(timeout=SECONDS)
            loop.call_soon_threadsafe(drain)

        def drain() -> None:
            runs[0].drain("interrupted", "the test says so")
            server.go_on.set()

        run_within(SECONDS, films, tmp_path, ["a"], *sets, listen=listen, also=runs.append)
        assert [len(texts) for texts in server.asked] == [MOST_TEXTS]
        assert query(tmp_path, "SELECT outcome FROM stages WHERE stage = 'persist'") == [
            ("pending",)
        ]
        with closing(sqlite3.connect(tmp_path / "search.db")) as db:
            (kept,) = db.execute("SELECT count(*) FROM vectors").fetchone()
        assert kept == MOST_TEXTS, "what was paid is kept"

        report = run_within(SECONDS, films, tmp_path, ["a"], *sets)
        assert report.items["done"] == 1
        asked = Counter(text for texts in server.asked for text in texts)
        assert (len(asked), asked.total()) == (2 * MOST_TEXTS + 1,) * 2, "each once"

"""Requests for vectors pass the gate of their host, key and model, from all workers of a run."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import (
    SOURCE,
    AttemptStarted,
    Events,
    Item,
    Pipeline,
    RunReport,
    Stage,
    Step,
    load_config,
    run_pipeline,
)
from stages.persistence.persist import Persist
from tests.stages.search.test_meaning import EmbeddingsServer, embedding
from tests.stages.service.redis_server import redis_server
from tests.stages.sinks.records import scene


class Film(Stage):
    """Write a scene that is described by its source, and one that all films have."""

    inputs = ()

    def process(self, item: Item, out: Path) -> None:
        texts = (item.source, "of every film")
        records = [scene(place, description=text) for place, text in enumerate(texts)]
        lines = [json.dumps(record) + "\n" for record in records]
        (out / "scenes.jsonl").write_text("".join(lines))


films = Pipeline(
    "films",
    "Put films into the sinks.",
    [Step(Film, SOURCE), Step(Persist, "film", inputs={"scenes": "film"})],
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingsServer]:
    monkeypatch.setenv("EMBED_API_KEY", "secret")
    with embedding() as made:
        yield made


def run(
    work: Path,
    server: EmbeddingsServer,
    *sources: str,
    limits: dict[str, Any] | None = None,
    **sets: Any,
) -> tuple[RunReport, int]:
    """The report, and how often persist was tried."""
    persist = {"meaning": "api", "model": "m", "base_url": server.url, "workers": 3, **sets}
    given = {f"stages.persist.{name}": value for name, value in persist.items()}
    given |= {f"limits.{name}": value for name, value in (limits or {}).items()}
    given["stages.persist.api_key_env"] = "EMBED_API_KEY"
    tried: list[AttemptStarted] = []
    events = Events()
    events.subscribe(
        lambda e: (
            tried.append(e) if isinstance(e, AttemptStarted) and e.stage == "persist" else None
        )
    )
    config = load_config(films, None, {}, [f"{key}={value}" for key, value in given.items()], {})
    return run_pipeline(films, config, work, sources, events=events), len(tried)


def test_videos_at_once_keep_one_rate_and_a_pause_costs_no_attempt(tmp_path, server):
    server.answers.append((429, {"Retry-After": "1"}, {}))
    rate = {"requests_per_minute": 120, "concurrency": 1}
    report, tried = run(tmp_path, server, "a", "b", "c", **rate)
    assert report.items["done"] == tried == 3
    # A second's pause, then three requests with half a second between two.
    assert server.times[-1] - server.times[0] >= 1.95
    refused, *answered = server.asked
    assert Counter(text for texts in answered for text in texts).most_common(1)[0][1] == 1
    assert {"of every film", "a", "b", "c"} == {text for texts in answered for text in texts}
    assert refused in answered

    again, tried = run(tmp_path, server, "a", "b", "c", requests_per_minute=60, rate_patience=5)
    assert (again.items["reused"], tried) == (3, 0), "a rate is no reason to do anything again"
    assert len(server.asked) == 4


def test_requests_of_a_run_are_bounded_over_all_workers(tmp_path, server):
    report, _ = run(tmp_path, server, "a", "b", "c", max_requests=1)
    assert len(server.asked) == 1
    assert "stages.persist.max_requests" in str(report.why)


def test_machines_share_the_gate(tmp_path, server):
    redis = pytest.importorskip("redis")
    with redis_server(tmp_path) as address:
        report, _ = run(tmp_path / "work", server, "a", limits={"shared_gates": address})
        with redis.Redis.from_url(address, decode_responses=True) as client:
            names = [str(name) for name in client.keys("*")]
    assert report.items["done"] == 1
    host = server.url.removeprefix("http://").removesuffix("/v1")
    assert [name for name in names if f"call {host} m " in name]
    assert "secret" not in str(names)


def test_a_rate_is_not_promised_where_it_is_not_kept(tmp_path, server):
    apart = {"placement": "process", "workers": 1}
    report, _ = run(tmp_path, server, "a", requests_per_minute=60, **apart)
    assert 'set placement = "thread"' in str(report.why)
    assert not server.asked
    report, _ = run(tmp_path, server, "a", **apart)
    assert report.items["done"] == len(server.asked) == 1

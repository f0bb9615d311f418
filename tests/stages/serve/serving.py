"""A service of toy pipelines, in this process, with a client of it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from engine import JobProfile, Pipeline, Port
from engine.flow.run import Run
from engine.telemetry.events import Event, Events
from stages.serve.service import ServiceOptions, served
from stages.service.profiles import ServedProfiles
from tests.engine.toys import configured, until

SECONDS = 60

SITE = {"Authorization": "Bearer the-token-of-the-site"}
OTHER = {"Authorization": "Bearer the-token-of-another"}
"""How the two callers of `token_file` ask."""


def token_file(folder: Path, *, site: str = "", other: str = "") -> Path:
    """A file of tokens of two callers, each with these lines about it."""
    path = folder / "tokens.toml"
    path.write_text(
        f'[site]\ntoken = "the-token-of-the-site"\n{site}\n'
        f'[other]\ntoken = "the-token-of-another"\n{other}\n'
    )
    return path


@dataclass
class Serving:
    """A service that goes on, and a client of it."""

    client: httpx.Client
    run: Run
    told: list[Event]

    def post(self, name: str = "v", **more: Any) -> httpx.Response:
        return self.client.post("/jobs", json={"url": address(name)}, **more)

    def posted(self, name: str = "v", **more: Any) -> str:
        """The id of a new job."""
        answer = self.post(name, **more)
        assert answer.status_code == 202, answer.text
        id_: str = answer.json()["id"]
        return id_

    def events(self, id_: str, last: str | None = None) -> Iterator[tuple[str, str, Any]]:
        """The kind, id and data of each event of a job, until the last one."""
        headers = {"Last-Event-ID": last} if last is not None else {}
        with self.client.stream("GET", f"/jobs/{id_}/events", headers=headers) as stream:
            yield from parsed(stream)

    def seen(self, id_: str, condition: Callable[[Any], Any]) -> Any:
        """The job, once this holds of it."""
        while not condition(job := self.client.get(f"/jobs/{id_}").json()):
            threading.Event().wait(0.01)
        return job

    def seen_by(self, id_: str, headers: Any) -> Any:
        """A caller's job, once it has ended."""
        while (job := self.client.get(f"/jobs/{id_}", headers=headers).json())["ended"] is None:
            threading.Event().wait(0.01)
        return job

    def ended(self, id_: str) -> Any:
        """The job, once it has ended."""
        *_, (kind, _, job) = self.events(id_)
        assert kind == "end"
        return job


def parsed(stream: httpx.Response) -> Iterator[tuple[str, str, Any]]:
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])
            fields = {}


def address(name: str) -> str:
    return f"https://example.org/{name}.mp4"


def profiles_of(pipeline: Pipeline, *overrides: str) -> ServedProfiles:
    """The one profile of a service of toys."""
    config = configured(pipeline, *overrides)
    profile = JobProfile(pipeline.name, pipeline, config)
    return ServedProfiles({pipeline.name: (profile, {})})


@contextmanager
def serving(
    pipeline: Pipeline, workdir: Path, *overrides: str, ready: bool = True, **options: Any
) -> Iterator[Serving]:
    """A service of the pipeline for the length of the block; then it drains, as by SIGTERM."""
    port, profiles = Port(0), profiles_of(pipeline, *overrides)
    config = profiles.config
    over, made, failed = threading.Event(), threading.Event(), []
    told: list[Event] = []
    runs: list[Run] = []

    async def drain() -> None:
        await until(over.is_set)
        runs[0].drain("interrupted", "the test is over")

    def prepare(run: Run) -> list[Any]:
        runs.append(run)
        made.set()
        return [drain]

    def work(source: Any) -> None:
        from engine import run_pipeline

        events = Events()
        events.subscribe(source)
        events.subscribe(told.append)
        try:
            run_pipeline(
                pipeline, config, workdir, source, events=events, prepare=prepare, resident=True
            )
        except BaseException as error:
            failed.append(error)
            made.set()

    try:
        with served(profiles, workdir, port, ServiceOptions(**options)) as source:
            thread = threading.Thread(target=work, args=(source,))
            thread.start()
            assert made.wait(SECONDS)
            try:
                with httpx.Client(base_url=port.url, timeout=SECONDS, trust_env=False) as client:
                    if ready and not failed:
                        wait_until_ready(client)
                    if not failed:
                        yield Serving(client, runs[0], told)
            finally:
                over.set()
                thread.join(SECONDS)
                assert not thread.is_alive(), "the run hangs"
    finally:
        port.close()
    if failed:
        raise failed[0]


def wait_until_ready(client: httpx.Client) -> None:
    """Ask until the service is ready: there is no event to wait for from outside."""
    while client.get("/readyz").status_code != 200:
        threading.Event().wait(0.01)

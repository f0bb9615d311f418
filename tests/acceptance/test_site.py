"""The site of docs/site.md, as it stands there: with real Node.js, Redis and worker."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.acceptance.command import PENSTOCK, SHAPES, settings, started
from tests.stages.scenes.test_pipeline import WITHOUT_MODELS
from tests.stages.service.node import NODE_MODULES, node
from tests.stages.service.redis_server import redis_server
from tests.stages.store.servers import S3_KEYS, make_bucket, serving_s3

pytest.importorskip("bullmq")
pytest.importorskip("obstore")
pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"

WATCHING = """
import WebSocket from 'ws';
import { watch } from './watch.mjs';
const [site, id] = process.argv.slice(2);
watch(site, id, (job) => console.log(JSON.stringify(job)), WebSocket);
"""

ENDS_MEANWHILE = """
import { Worker } from 'bullmq';
import { jobs, events, state } from './jobs.mjs';
const worker = new Worker(jobs.name, null, { connection: jobs.opts.connection });
await jobs.add('video', {}, { jobId: 'one' });
const job = await worker.getNextJob('token');
const find = jobs.getJob.bind(jobs);
let ended = false;
jobs.getJob = async (id) => {
  const found = await find(id);
  if (!ended) await job.moveToCompleted({ outcome: 'done' }, 'token', false);
  ended = true;
  return found;
};
console.log(JSON.stringify([await state('one'), await state('one')]));
await Promise.all([worker.close(), jobs.close(), events.close()]);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, beside the packages."""
    node()
    page = (DOCS / "site.md").read_text()
    for name, text in re.findall(r"```js\n// (\w+\.mjs)\n(.*?)```", page, re.DOTALL):
        (tmp_path / name).write_text(text)
    (tmp_path / "watching.mjs").write_text(WATCHING)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    return tmp_path


@contextmanager
def running(folder: Path, redis: str) -> Iterator[str]:
    """The site's address."""
    environment = {"REDIS_URL": redis, "PORT": "0"}
    with started([node(), str(folder / "server.mjs")], environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


OF: Mapping[str, Mapping[str, Any]] = {
    "crawl": SHAPES,
    "scenes": dict(one.split("=", 1) for one in WITHOUT_MODELS),
}
"""Settings of a worker of each pipeline."""


@contextmanager
def working(redis: str, work: Path, s3: str, of: str) -> Iterator["subprocess.Popen[str]"]:
    place = {"stages.publish.url": "s3://videos/results", "stages.publish.endpoint": s3}
    command = [
        *(str(PENSTOCK), "worker", "--queue", redis, "--name", "videos", "--profile", of),
        *("--out", str(work), "--quiet"),
        *settings(OF[of], {"stages.download.allow_private": True}, place),
    ]
    with started(command, S3_KEYS) as process:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130


RECORDS = {"crawl": ("dedup", "frames.jsonl"), "scenes": ("collect", "scenes.jsonl")}


def pictures_of(record: Mapping[str, Any]) -> list[str]:
    """The files that a record names, as the page on results says."""
    if "thumbnail" in record:
        return [record["thumbnail"], *(frame["file"] for frame in record["frames"])]
    return [f"frames/{record['file']}"]


def seen(folder: Path, site: str, id_: str) -> list[dict[str, Any]]:
    """What a browser hears of a job, until it has ended."""
    command = [node(), str(folder / "watching.mjs"), site, id_]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("of", ["crawl", "scenes"])
def test_a_user_hears_that_a_video_is_done_and_has_all_of_it(
    folder: Path, clips: list[Path], serve: Callable[..., list[str]], of: str
) -> None:
    schema = json.loads((DOCS / "job.schema.json").read_text())
    with (
        serving_s3() as s3,
        redis_server(folder, "--maxmemory-policy", "noeviction") as redis,
        working(redis, folder / "work", s3, of),
        running(folder, redis) as site,
    ):
        make_bucket(s3, "videos")
        [url] = serve(clips[:1])
        posted = httpx.post(f"{site}/videos", json={"url": url})
        assert posted.status_code == 202
        *before, last = seen(folder, site, posted.json()["id"])
        assert {one["state"] for one in before} <= {"waiting", "active"}
        assert last["state"] == "completed"
        job = {"data": {"url": url}, "progress": last["progress"], "result": last["result"]}
        jsonschema.validate(job, schema)
        output = folder / "work" / "items" / last["result"]["item"] / RECORDS[of][0]
        whole = httpx.get(f"{site}/videos/{last['id']}/result").json()
        jsonschema.validate({"published": whole}, schema)
        lines = (output / RECORDS[of][1]).read_text().splitlines()
        assert whole["records"] == [json.loads(line) for line in lines] != []
        for name, link in whole["files"].items():
            assert httpx.get(link["url"]).content == (output / name).read_bytes()
        pictures = {name for one in whole["records"] for name in pictures_of(one)}
        assert pictures <= set(whole["files"])
        assert len(whole["files"]) == last["result"]["result"]["files"]

        wrong = httpx.post(f"{site}/videos", json={"url": "file:///etc/passwd"}).json()["id"]
        assert seen(folder, site, wrong)[-1]["why"] == "'url' begins with http:// or https://"
        assert httpx.get(f"{site}/videos/999").status_code == 404
        assert httpx.post(f"{site}/videos", content="{").status_code == 400
        assert httpx.delete(f"{site}/videos/{wrong}").status_code == 202


def test_a_job_that_completes_while_it_is_read_is_not_told_without_its_result(
    folder: Path,
) -> None:
    (folder / "meanwhile.mjs").write_text(ENDS_MEANWHILE)
    with redis_server(folder, "--maxmemory-policy", "noeviction") as redis:
        command = [node(), str(folder / "meanwhile.mjs")]
        environment = {**os.environ, "REDIS_URL": redis}
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=60, env=environment, check=True
        )
    first, second = json.loads(ran.stdout)
    assert (first["state"], first["result"]) == ("active", None)
    assert (second["state"], second["result"]) == ("completed", {"outcome": "done"})


def test_types_are_made_of_the_schema(folder: Path) -> None:
    command = [NODE_MODULES / ".bin" / "json2ts", DOCS / "job.schema.json"]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    for name in ("JobData", "JobProgress", "JobResult", "ResultLink", "PublishedResult"):
        assert f"export interface {name} {{" in made
    assert 'outcome: "done" | "dropped";' in made

"""A service that is killed right after it has accepted jobs loses none of them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from engine.contract.item import item_id
from tests.acceptance.command import penstock, started
from tests.engine.toys import executions, fast_folder
from tests.stages.serve.serving import address, wait_until_ready

pytestmark = pytest.mark.slow

JOBS = 12


@contextmanager
def service(workdir: Path) -> Iterator[tuple["subprocess.Popen[str]", httpx.Client]]:
    command = [sys.executable, "-m", "tests.stages.serve.service_command", str(workdir)]
    with started(command) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            wait_until_ready(client)
            yield process, client


def post(client: httpx.Client, name: str) -> httpx.Response:
    key = {"Idempotency-Key": name}
    return client.post("/jobs", json={"url": address(name)}, headers=key)


def test_a_kill_right_after_the_answer_loses_no_job() -> None:
    """The second service is ended by SIGTERM; what it has not done stays for the third."""
    names = [f"v{number}" for number in range(JOBS)]
    with fast_folder() as workdir:
        with service(workdir) as (process, client), ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda name: post(client, name), names))
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
        ids = [answer.json()["id"] for answer in answers]
        assert {answer.status_code for answer in answers} == {202}
        with service(workdir) as (process, client):
            states = {client.get(f"/jobs/{id_}").json()["state"] for id_ in ids}
            assert states <= {"queued", "running"}
            assert post(client, "v0").json()["id"] == ids[0]
            process.send_signal(signal.SIGTERM)
            (workdir / "go").touch()
            assert process.wait(60) == 130
        with service(workdir) as (process, client):
            for id_ in ids:
                while (job := client.get(f"/jobs/{id_}").json())["state"] != "done":
                    assert job["state"] in ("queued", "running")
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(60) == 130
        done = executions(workdir)
        assert {done["b", item_id(address(name))] for name in names} == {1}


def test_a_kill_forgets_no_cost() -> None:
    """The attempt is still in hand, and nothing of it has been written down but what it cost."""
    with fast_folder() as workdir:
        with service(workdir) as (process, client):
            post(client, "v")
            while not client.get("/quota").json()["used"]:
                pass
            process.kill()
            process.wait(60)
        with service(workdir) as (process, client):
            assert client.get("/quota").json()["used"] == 1
        with service(workdir) as (process, client):
            assert client.get("/quota").json()["used"] == 1, "it is counted once"


def test_a_second_service_on_a_folder_is_refused() -> None:
    with fast_folder() as workdir, service(workdir) as (process, _):
        command = [sys.executable, "-m", "tests.stages.serve.service_command", str(workdir)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert f"is in use by process {process.pid}" in ran.stderr


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for words, said in (
        (["--profile", "crawl", "--host", "0.0.0.0"], "give a --token-file"),
        (["--profile", "crowl"], "crowl"),
        (["--profile", "crawl", "--root", str(tmp_path / "no")], "there is no such folder"),
        (["--profile", "crawl", "--host", "192.0.2.1"], "--host"),
    ):
        ran = penstock("serve", "--port", "0", "--out", str(tmp_path / "work"), *words)
        assert ran.code == 2, ran.said
        assert said in ran.said
        assert ran.said.count("\n") == 1, ran.said

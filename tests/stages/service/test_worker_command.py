"""`penstock worker` reads the settings file that all pipelines share."""

from pathlib import Path

import pytest

from stages.service.queue_server import queue_address
from tests.acceptance.command import PENSTOCK, penstock, started
from tests.stages.service.redis_server import redis_server

pytest.importorskip("bullmq")

QUEUE = ("worker", "--queue", "redis://127.0.0.1:9", "--name", "q", "--profile", "scenes")


def test_a_file_with_other_pipelines_settings_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert penstock("init").code == 0
    ran = penstock(*QUEUE)
    assert ran.code == 2
    assert ran.said.startswith("penstock: the queue's Redis does not answer: ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--drain", "soon"), "'soon' is no length of time; write it like 20s, 5m or 1h"),
        (("--lock", "500ms"), "'500ms' is no length of time"),
        (("--lock", "0.5"), "'0.5' is too short: 1s is the least"),
        (("--profile", "recipe"), "profiles 'scenes' and 'recipe' differ in their pipelines"),
        (("--name", "a:b"), "--name 'a:b': the name of a BullMQ queue"),
        (("--root", "/nowhere"), "--root /nowhere: there is no such folder"),
        (("--queue", "localhost:6379"), "--queue 'localhost:6379': give an address such as redis:"),
        (("--queue", "redis://:hush@127.0.0.1:9"), "without, and put it into REDIS_PASSWORD"),
    ],
)
def test_a_wrong_option_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = penstock(*QUEUE, *options)
    assert ran.code == 2
    assert told in " ".join(ran.said.split())


def test_the_address_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    without = ("worker", "--name", "q", "--profile", "scenes")
    monkeypatch.delenv("REDIS_URL", raising=False)
    ran = penstock(*without)
    assert (ran.code, "set REDIS_URL" in ran.said) == (2, True)
    monkeypatch.setenv("REDIS_URL", "redis://:hush@127.0.0.1:9")
    ran = penstock(*without)
    assert ran.said.startswith("penstock: the queue's Redis does not answer: ")
    assert "hush" not in ran.said


@pytest.mark.parametrize(
    ("given", "environment", "address"),
    [
        ("redis://h:6379", {}, "redis://h:6379"),
        ("redis://h", {"REDIS_PASSWORD": "a/b@c"}, "redis://:a%2Fb%40c@h"),
        ("redis://u@h:1/2", {"REDIS_PASSWORD": "p"}, "redis://u:p@h:1/2"),
        (
            "rediss://[::1]:1?ssl_cert_reqs=none",
            {"REDIS_USERNAME": "u", "REDIS_PASSWORD": "p"},
            "rediss://u:p@[::1]:1?ssl_cert_reqs=none",
        ),
        (None, {"REDIS_URL": "redis://:x@h", "REDIS_PASSWORD": "p"}, "redis://:x@h"),
    ],
)
def test_a_password_comes_from_the_environment(
    given: str | None, environment: dict[str, str], address: str
) -> None:
    assert queue_address(given, environment) == address


def test_a_server_that_wants_a_password_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with redis_server(tmp_path, "--requirepass", "secret") as url:
        ran = penstock("worker", "--queue", url, "--name", "q", "--profile", "crawl")
    assert ran.code == 2
    assert ran.said == (
        "penstock: the queue's Redis refuses: it wants a password, or another one; user and "
        "password come from REDIS_USERNAME and REDIS_PASSWORD\n"
    )


def test_it_says_of_which_queue_it_takes_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with redis_server(tmp_path, "--maxmemory-policy", "noeviction") as url:
        command = [PENSTOCK, "worker", "--queue", url, "--name", "q", "--profile", "lesson"]
        with started([*map(str, command), "--quiet"]) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == f"taking jobs of the queue q at {url}: lesson\n"

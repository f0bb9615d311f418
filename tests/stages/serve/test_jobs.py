"""Jobs that are posted go through one run, come to one end each, and are told of."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine import Item
from engine.contract.item import item_id
from stages.serve.queue.feeds import RUN
from tests.engine.toy_parts import at, cut, gather
from tests.engine.toys import Toy, executions, line, toy
from tests.stages.serve.serving import Serving, address, serving


class Waiting(Toy):
    """Waits for the test where its item's source says so."""

    go = threading.Event()

    def act(self, item: Item, out: Path) -> Any:
        if "slow" in item.source:
            assert self.go.wait(60)
        return super().act(item, out)


@pytest.fixture
def go() -> Iterator[threading.Event]:
    Waiting.go.clear()
    yield Waiting.go
    Waiting.go.set()


def test_a_posted_job_is_done_and_told(fast: Path) -> None:
    with serving(line(toy("a"), toy("b", "a")), fast) as service:
        answer = service.post()
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["Location"] == f"/jobs/{job['id']}"
        assert job["state"] in ("queued", "running")
        ended = service.ended(job["id"])
        assert (ended["state"], ended["item"]) == ("done", item_id(address("v")))
        assert service.client.get(f"/jobs/{job['id']}").json() == ended
        assert [one["id"] for one in service.client.get("/jobs").json()["jobs"]] == [job["id"]]


def test_drops_and_failures_say_why(fast: Path) -> None:
    does = {address("dull"): ["drop"], address("bad"): ["permanent"]}
    with serving(line(toy("a", does=does)), fast) as service:
        dull, bad = (service.ended(service.posted(name)) for name in ("dull", "bad"))
    assert (dull["state"], dull["step"], dull["reason"]) == ("dropped", "a", "told to")
    assert (bad["state"], bad["step"], bad["reason"]) == ("failed", "a", "told to")


def test_a_list_says_what_came_of_its_items(fast: Path) -> None:
    does: dict[str, list[Any]] = {
        address("list"): ["expand", [address("v1"), address("v2"), address("bad")]],
        address("bad"): ["permanent"],
    }
    with serving(line(toy("a", does=does)), fast) as service:
        ended = service.ended(service.posted("list"))
        assert service.ended(service.posted("v1"))["list"] is None
        held = ended["list"]
        bad = next(one for one in held.pop("ends") if one["outcome"] == "failed")
        assert held == {"items": 3, "done": 2, "dropped": 0, "failed": 1, "pending": 0}
        assert (bad["source"], bad["reason"]) == (address("bad"), "told to")
        assert service.client.get(f"/jobs/{ended['id']}").json()["state"] == "done"


def test_one_key_is_one_job(fast: Path) -> None:
    key = {"Idempotency-Key": "order 17"}
    with serving(line(toy("a")), fast) as service:
        first = service.posted(headers=key)
        service.ended(first)
        assert service.posted(headers=key) == first
        other = service.post("w", headers=key)
        assert other.status_code == 422
        assert "take a new one" in other.json()["detail"]
        assert service.posted() != first
    assert executions(fast) == {("a", item_id(address("v"))): 1}


def test_fifty_posts_at_once_are_fifty_jobs(fast: Path) -> None:
    """Each is done once, those with one key are one job, and the same video is worked on once."""
    with serving(line(toy("a")), fast) as service, ThreadPoolExecutor(10) as pool:
        names = [f"v{number % 25}" for number in range(50)]
        ids = list(pool.map(service.posted, names))
        keyed = {
            pool.submit(service.posted, "k", headers={"Idempotency-Key": "k"}) for _ in range(10)
        }
        assert len({one.result() for one in keyed}) == 1
        assert len(set(ids)) == 50
        assert {service.ended(id_)["state"] for id_ in ids} == {"done"}
        [*_, last] = pages(service, "/jobs?limit=20&state=done")
        assert last["next"] is None
    assert set(executions(fast).values()) == {1}


def pages(service: Serving, at: str | None) -> Iterator[Any]:
    while at is not None:
        page = service.client.get(at).json()
        yield page
        at = page["next"]


def test_a_cancelled_job_is_given_up(fast: Path, go: threading.Event) -> None:
    with serving(line(toy("a", base=Waiting), toy("b", "a")), fast, at_once=1) as service:
        running, waiting = service.posted("slow"), service.posted("next")
        for id_ in (waiting, running):
            answer = service.client.delete(f"/jobs/{id_}")
            assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        go.set()
        assert service.client.delete(f"/jobs/{running}").status_code == 409
        assert service.ended(running)["state"] == "cancelled"
        again = service.posted("slow")
        assert service.ended(again)["state"] == "done"
    assert ("b", item_id(address("next"))) not in executions(fast)


def test_a_full_service_turns_jobs_away(fast: Path, go: threading.Event) -> None:
    with serving(line(toy("a", base=Waiting)), fast, at_once=1, most_jobs=3) as service:
        ids = [service.posted(f"slow{number}") for number in range(3)]
        refused = service.post("more")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        go.set()
        assert service.ended(ids[0])["state"] == "done"
        assert service.post("more").status_code == 202


def test_urgent_jobs_go_first_and_late_ones_are_not_waited_for(
    fast: Path, go: threading.Event
) -> None:
    with serving(line(toy("a", base=Waiting)), fast, at_once=1) as service:
        late = {"url": address("slow"), "within": 0.05}
        first = service.client.post("/jobs", json=late).json()["id"]
        urgent = {"url": address("urgent"), "priority": 5}
        second = service.posted("v")
        third = service.client.post("/jobs", json=urgent).json()["id"]
        assert service.ended(first)["state"] == "expired"
        go.set()
        ended = {id_: service.ended(id_) for id_ in (second, third)}
    assert {job["state"] for job in ended.values()} == {"done"}
    assert ended[third]["ended"] <= ended[second]["ended"]


def test_what_a_server_had_accepted_the_next_one_does(fast: Path, go: threading.Event) -> None:
    pipeline = line(toy("a"), toy("b", "a", does={address("v"): ["throttled", 1, 3600]}))
    with serving(pipeline, fast, at_once=1) as service:
        held, waiting = service.posted("v"), service.posted("w")
        service.seen(held, lambda job: job["progress"] and job["progress"]["step"] == "a")
    with serving(pipeline, fast) as service:
        assert [service.ended(id_)["state"] for id_ in (held, waiting)] == ["done", "done"]
    assert executions(fast)["a", item_id(address("v"))] == 1


def test_news_are_told_and_told_again(fast: Path, go: threading.Event) -> None:
    """To a client that comes back too, from where it was; to one that knows another server, all
    that there is to know."""
    parts = (cut("a", cuts={address("slow"): 3}), at("a", "b"), gather("c", "b"))
    with serving(line(*parts, toy("z", base=Waiting)), fast) as service:
        id_ = service.posted("slow")
        service.seen(id_, lambda job: job["progress"] and job["progress"]["parts"] == 3)
        reading, again = service.events(id_), service.events(id_, f"{RUN}-0")
        kind, _, job = next(reading)
        assert (kind, job["progress"]["parts"]) == ("job", 3)
        told = [next(again)]
        go.set()
        assert {kind for kind, _, _ in list(reading)[:-1]} <= {"step", "part", "progress"}
        told += again
        positions = [part["position"] for kind, _, part in told if kind == "part"]
        assert sorted(positions) == [0, 1, 2]
        assert [kind for kind, _, _ in service.events(id_, "other-3")] == ["end"]


def test_a_state_that_has_not_changed_is_not_sent_again(fast: Path) -> None:
    with serving(line(toy("a")), fast) as service:
        id_ = service.posted()
        service.ended(id_)
        first = service.client.get(f"/jobs/{id_}")
        known = {"If-None-Match": first.headers["ETag"]}
        again = service.client.get(f"/jobs/{id_}", headers=known)
        assert (again.status_code, again.content) == (304, b"")


def test_progress_says_what_bounds_the_job(fast: Path, go: threading.Event) -> None:
    """By polling and as an event, once a second at most."""
    with serving(line(toy("a"), toy("z", "a", base=Waiting)), fast) as service:
        id_ = service.posted("slow")
        job = service.seen(id_, lambda job: job["progress"] and job["progress"]["bound"])
        assert job["progress"]["bound"] in ("a", "waiting")
        assert set(job["progress"]["path"]) <= {"a", "z"}
        again = service.events(id_, f"{RUN}-0")
        kinds = {}
        while "progress" not in kinds:
            kind, _, told = next(again)
            kinds[kind] = told
        assert kinds["progress"] == job["progress"]
        go.set()
        assert [kind for kind, _, _ in again][-1] == "end"

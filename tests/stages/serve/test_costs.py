"""What a caller's jobs cost counts against its quota of the day, also over a restart."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine import SOURCE, Item, Stage, Step, note_paid_request
from stages.serve.desk.tokens import Tokens
from tests.engine.toys import line, toy
from tests.stages.serve.serving import OTHER, SITE, address, serving, token_file


class Paying(Stage):
    """Makes three paid requests for each item."""

    name = "paying"

    def process(self, item: Item, out: Path) -> None:
        for _ in range(3):
            note_paid_request()


class PayingAtOnce(Paying):
    """The same on the event loop."""

    async def process(self, item: Item, out: Path) -> None:  # type: ignore[override]
        super().process(item, out)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.read(token_file(tmp_path, site="cost = 5"))


@pytest.mark.parametrize("stage", [Paying, PayingAtOnce])
def test_a_quota_of_costs_is_kept_over_a_restart(
    stage: type[Stage], fast: Path, tokens: Tokens
) -> None:
    pipeline = line(Step(stage, SOURCE))

    def quota(service: Any, headers: Any) -> tuple[float, float | None]:
        told = service.client.get("/quota", headers=headers).json()
        assert datetime.fromisoformat(told["resets"]) > datetime.now(UTC)
        return told["used"], told["left"]

    with serving(pipeline, fast, tokens=tokens) as service:
        assert quota(service, SITE) == (0, 5)
        service.seen_by(service.posted("a", headers=SITE), SITE)
        assert quota(service, SITE) == (3, 2)
        assert quota(service, OTHER) == (0, None)
        service.seen_by(service.posted("a", headers=SITE), SITE)
        assert quota(service, SITE) == (3, 2), "what stands costs nothing"
    with serving(pipeline, fast, tokens=tokens) as service:
        assert quota(service, SITE) == (3, 2)
        key = {**SITE, "Idempotency-Key": "one"}
        id_ = service.posted("b", headers=key)
        service.seen_by(id_, SITE)
        assert quota(service, SITE) == (6, 0), "what is under way is finished"
        refused = service.post("c", headers=SITE)
        assert refused.status_code == 429
        assert "none of the 5 paid requests" in refused.json()["detail"]
        assert 0 < int(refused.headers["Retry-After"]) <= 24 * 3600 + 1
        assert service.posted("b", headers=key) == id_, "that job was accepted before"
        service.seen_by(service.posted("c", headers=OTHER), OTHER)
        assert quota(service, OTHER) == (3, None)
    with serving(pipeline, fast, tokens=tokens) as service:
        assert service.post("d", headers=SITE).status_code == 429


class Slow(Stage):
    """A request that is paid at once, and one whose answer comes once there is a file `go`,
    whatever becomes of the job meanwhile."""

    def process(self, item: Item, out: Path) -> None:
        note_paid_request()
        while not (self.workdir / "go").exists():
            time.sleep(0.005)
        note_paid_request()


def until_used(service: Any, used: float) -> None:
    while service.client.get("/quota", headers=SITE).json()["used"] != used:
        time.sleep(0.005)


def test_what_a_cancelled_job_still_costs_is_charged(fast: Path, tokens: Tokens) -> None:
    with serving(line(Step(Slow, SOURCE)), fast, tokens=tokens) as service:
        id_ = service.posted("a", headers=SITE)
        until_used(service, 1)
        assert service.client.delete(f"/jobs/{id_}", headers=SITE).status_code == 200
        (fast / "go").touch()
        until_used(service, 2)


def test_a_process_and_what_a_list_holds_are_charged(fast: Path, tokens: Tokens) -> None:
    pipeline = line(toy("a", does={address("list"): ["expand", ["x", "y"]]}), Step(Paying, "a"))
    sets = ["stages.paying.placement=process"]
    with serving(pipeline, fast, *sets, tokens=tokens) as service:
        service.seen_by(service.posted("list", headers=SITE), SITE)
        until_used(service, 6)

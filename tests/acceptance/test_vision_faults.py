"""Crawls described by a server that goes away, or turns frames down."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.command import crawl, penstock
from tests.acceptance.outcome import check_dataset, check_no_scratch, status, tables
from tests.stages.vision_server import Answer, Request, problem, serving

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]


def test_what_an_outage_cost_is_made_up_for_by_retry_and_nothing_is_paid_twice(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    urls, work = serve(clips[:4]), tmp_path / "work"
    answered: Counter[bytes] = Counter()
    away = True

    def fault(number: int, request: Request) -> Answer | None:
        if away and number >= 6:
            return problem(503)
        answered[request.image] += 1
        return None

    with serving(fault=fault) as vision:
        sets = {
            "stages.describe.backend": "openai",
            "stages.describe.base_url": f"{vision.origin}/v1",
            "stages.describe.reuse": "off",
            "stages.describe.call_attempts": 1,
            "stages.describe.attempts": 1,
            "stages.describe.patience": 0,
        }
        ran = crawl(*urls, out=work, sets=sets)
        assert ran.code == 1, ran.said
        (failures,) = status(work)["failures"]
        assert (failures["stage"], failures["kind"]) == ("describe", "vision-api")
        assert all(row["description"] for row in tables(work)["frames"])  # of those that are there

        away = False
        again = penstock("retry", work, "--class", "vision-api")
        assert again.code == 0, again.said
    frames = tables(work)["frames"]
    assert len(frames) == 16
    assert all(row["description"] for row in frames)
    assert "no description" not in again.out
    assert set(answered.values()) == {1}
    assert len(answered) == 16
    check_dataset(work)
    check_no_scratch(work)


def test_frames_that_are_turned_down_are_counted_where_a_person_looks(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    refused: set[bytes] = set()

    def fault(number: int, request: Request) -> Answer | None:
        if len(refused) < 2:
            refused.add(request.image)
        return problem(400, code="content_filter") if request.image in refused else None

    with serving(fault=fault) as vision:
        sets = {
            "stages.describe.backend": "openai",
            "stages.describe.base_url": f"{vision.origin}/v1",
            "stages.describe.reuse": "off",
            "stages.describe.concurrency": 1,
        }
        ran = crawl(*serve(clips[:2]), out=tmp_path / "work", sets=sets)
    assert ran.code == 0, ran.said
    assert "2 frames of them have no description" in ran.out
    card = (tmp_path / "work" / "dataset" / "README.md").read_text()
    assert "| of them, without a description | 2 |" in card

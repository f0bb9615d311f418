"""Pages, feeds and streams: what holds several videos, and what is not one file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.demo.server import MediaServer, feed, page
from tests.acceptance.command import crawl
from tests.acceptance.outcome import attempts, bytes_of, check_dataset, status, tables

pytestmark = [pytest.mark.slow, pytest.mark.processes]

Serve = Callable[..., list[str]]


def test_what_a_page_and_a_feed_hold_is_crawled_once(
    tmp_path: Path, clips: list[Path], server: MediaServer, serve: Serve
) -> None:
    urls, work = serve(clips[:5]), tmp_path / "work"
    server.routes["/page.html"] = page(urls[:3], title="Shapes")
    server.routes["/feed.rss"] = feed(urls[1:5])
    given = [server.url("/page.html"), server.url("/feed.rss"), urls[0]]
    ran = crawl(*given, out=work)
    assert ran.code == 0, ran.said
    rows = {row["source"]: row for row in tables(work)["videos"]}
    assert set(rows) == {*given, *urls}
    assert rows[given[0]]["expanded"] == 3
    assert rows[given[1]]["expanded"] == 4
    for url in urls[1:]:
        assert rows[url]["parent"] in (rows[given[0]]["id"], rows[given[1]]["id"])
        assert rows[url]["frames_kept"]
    assert status(work)["stages"]["extract"]["done"] == 5
    check_dataset(work)

    before = bytes_of(work / "dataset")
    server.requests.clear()
    assert crawl(*given, out=work).code == 0
    assert not attempts(work, run=2)
    assert not server.requests
    assert bytes_of(work / "dataset") == before


def test_refresh_finds_what_a_page_has_gained(
    tmp_path: Path, clips: list[Path], server: MediaServer, serve: Serve
) -> None:
    urls, work = serve(clips[:3]), tmp_path / "work"
    server.routes["/page.html"] = page(urls[:2])
    given = server.url("/page.html")
    assert crawl(given, out=work).code == 0
    server.routes["/page.html"] = page(urls)
    assert crawl(given, out=work).code == 0
    assert status(work)["items"]["done"] == 3  # the page and what it held

    assert crawl(given, "--refresh", out=work).code == 0
    assert status(work)["items"]["done"] == 4
    assert attempts(work, run=3)["extract", "done"] == 1
    rows = {row["source"]: row for row in tables(work)["videos"]}
    assert rows[given]["expanded"] == 3
    check_dataset(work)

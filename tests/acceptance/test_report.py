"""The report page in a real browser: from disk, live, on a phone, in the dark, and with a lot."""

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.contract.pipeline import Pipeline
from engine.page import live
from engine.page.page import render_file
from tests.acceptance.command import penstock
from tests.engine.page import ledgers
from tests.engine.page.serving import served
from tests.engine.toy_parts import at as at_parts
from tests.engine.toy_parts import cut, gather
from tests.engine.toys import line, toy
from tests.finished_demo import Demo

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]

LONGEST_PAUSE = 1500
"""Milliseconds in which a page with 10,000 items does not answer, at most. A quiet machine takes a
tenth of that; only reading the plotting library, whatever the page holds, takes longer."""

WATCH_PAUSES = """
window.pauses = [];
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.pauses.push(task.duration);
}).observe({ entryTypes: ["longtask"] });
"""

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """While it is open a loop runs in this thread, where no run can be: the demo comes before it,
    being of the session."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser) -> Open:
    """Opens a page and waits until it is drawn; whatever the browser has to complain of fails."""

    @contextmanager
    def opened(url: str, width: int = 1280, scheme: Any = "light") -> Iterator[Page]:
        context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme, offline="file:" in url
        )
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(WATCH_PAUSES)
        page.goto(url)
        page.wait_for_selector("html[data-drawn]")
        yield page
        assert complaints == []
        context.close()

    return opened


@pytest.fixture(scope="module")
def report(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the demo's crawl."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    assert penstock("report", demo.out, "--out", file).out == f"wrote {file}\n"
    return file


def at(file: Path) -> str:
    return file.as_uri()


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))


def until(page: Page, condition: str) -> None:
    """Wait for something that only a script can tell. Playwright's own way of waiting needs a
    policy that allows `eval`, and the page's does not."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"this never came true: {condition}")


def brightness(page: Page, what: str) -> float:
    """Of a part's background, 0 to 255."""
    colour = page.evaluate(f"getComputedStyle(document.querySelector('{what}')).backgroundColor")
    red, green, blue, *_ = map(float, re.findall(r"[\d.]+", colour))
    return (red + green + blue) / 3


def test_it_shows_what_was_planted(report: Path, demo: Demo, show: Open) -> None:
    with show(at(report)) as page:
        expect(page.locator(".state")).to_have_text("done")
        expect(page.locator("#count-failed")).to_have_text("2")
        expect(page.locator("#bottleneck")).not_to_be_empty()

        failures = page.locator("#part-failures .ending.failed")
        expect(failures).to_have_count(2)
        gone = failures.filter(has_text="not_found")
        expect(gone.get_by_role("link")).to_have_text(re.compile("/gone.mp4$"))
        expect(gone.locator(".retry code")).to_have_text(
            f"penstock retry {demo.out} --class not_found --stage download"
        )

        frames = page.locator(".shot")
        assert frames.count() == 37
        expect(frames.locator("rect").first).to_be_visible()
        expect(frames.locator(".says").first).to_contain_text("circle")
        loaded = "images => images.every(image => image.complete && image.naturalWidth > 0)"
        assert page.locator(".picture img").evaluate_all(loaded)

        expect(page.locator(".cluster .kept").first).to_contain_text("kept regatta")
        across = page.locator(".cluster", has_text="regatta-again")
        expect(across.first).to_contain_text(re.compile(r"distance \d"))

        for chart in ("busy", "waiting", "pace", "memory", "processor"):
            assert page.locator(f"#chart-{chart} .js-line").count() > 0
        expect(page.locator("#part-stages tbody tr")).to_have_count(5)


def test_pointing_at_the_timeline_names_the_item(report: Path, show: Open) -> None:
    with show(at(report)) as page:
        plot = page.locator("#chart-timeline .nsewdrag")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        readout = page.locator("#timeline-readout b")
        # Across the lanes of the first row, one of 20, until there is an attempt.
        for lane, step in itertools.product((1, 2, 3), range(1, 60)):
            y = box["y"] + box["height"] * lane / 80
            page.mouse.move(box["x"] + box["width"] * step / 60, y)
            if readout.count():
                break
        expect(readout).to_have_text(re.compile(r"^http://.*/\w+\.\w+$"))


def test_a_long_items_parts_are_lanes_in_its_row(tmp_path: Path, show: Open) -> None:
    with ledgers.made_ledger(tmp_path) as ledger:
        run = ledgers.add_run(ledger, 0.0, 100.0)
        parts = [
            (f"long.mp4#{n}", stage, 10.0 * n + begun, 10.0 * n + begun + 10, outcome)
            for n in range(8)
            for stage, begun, outcome in (
                ("b", 5, "done"),
                ("c", 15, "failed" if n == 3 else "done"),
            )
        ]
        ledgers.add_attempts(ledger, run, [("long.mp4", "a", 0.0, 80.0, "done"), *parts])
    pipeline = line(cut("a"), at_parts("a", "b"), at_parts("a", "c", "b"), gather("g", "c"))
    file = tmp_path / "report.html"
    file.write_text(render_file(pipeline, tmp_path, running=False), encoding="utf-8")

    with show(at(file)) as page:
        raster = page.evaluate("document.getElementById('chart-timeline').data[0].z")
        colours = [sorted({kind for kind in lane if kind is not None}) for lane in raster]
        assert colours == [[0], [1], [2, 4], [], []], "a stage each, what went wrong, and a gap"
        plot = page.locator("#chart-timeline .nsewdrag")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        readout = page.locator("#timeline-readout")
        for x in (0.5, 0.505):
            page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.3)
        expect(readout).to_have_text(re.compile(r"^long\.mp4 part 5, b, worker 1: done after"))


def test_it_is_readable_on_a_phone(report: Path, show: Open) -> None:
    with show(at(report), width=390) as page:
        assert overflow(page) == 0
        charts = page.locator(".chart:visible")
        widths = charts.evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
        assert all(300 < width <= 390 for width in widths)
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('p, td, dd, figcaption, code')]"
            ".map(one => parseFloat(getComputedStyle(one).fontSize)))"
        )
        assert smallest >= 12
        rows = "document.getElementById('chart-timeline').layout.yaxis.range"
        page.locator("#chart-timeline [data-attr=zoom][data-val=in]").click()
        until(page, f"Math.abs({rows}[0] - {rows}[1]) < 20")
        page.locator("#chart-timeline [data-attr=zoom][data-val=auto]").click()
        until(page, f"{rows}[0] === 20 && {rows}[1] === 0")
        page.set_viewport_size({"width": 844, "height": 390})
        expect(page.locator("#chart-timeline .main-svg").first).not_to_have_attribute(
            "width", re.compile(r"^3\d\d$")
        )
        assert overflow(page) == 0


def test_it_is_dark_where_that_is_wanted(report: Path, show: Open) -> None:
    with show(at(report)) as page:
        assert brightness(page, "body") > 200
        axis = page.locator("#chart-waiting .xtick text").first
        light = axis.evaluate("one => getComputedStyle(one).fill")
        page.emulate_media(color_scheme="dark")
        expect(axis).not_to_have_css("fill", light)
        assert brightness(page, "body") < 40
        assert brightness(page, ".tile") < 60


def test_it_updates_itself_while_the_run_goes_on(
    tmp_path: Path, show: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REFRESH", 0.02)
    monkeypatch.setattr(live, "REST", 1)
    with (
        served(tmp_path, items=6, does={"v4": ["permanent"]}) as running,
        show(running.port.url) as page,
    ):
        expect(page.locator(".state")).to_have_text("running")
        expect(page.locator("#link")).to_have_text(" Live.")
        page.evaluate("window.untouched = true")
        expect(page.locator("#count-done")).to_have_text("1")
        rows = "document.getElementById('chart-timeline').data[0].z.length"
        before = page.evaluate(rows)

        for number in (1, 2, 3):
            running.let_go(f"v{number}")
            expect(page.locator("#count-done")).to_have_text(str(number + 1))
        expect(page.locator("#part-failures")).to_have_text("Nothing failed.")
        running.let_go("v4")
        expect(page.locator("#part-failures .ending.failed")).to_contain_text("failed in a")
        until(page, f"{rows} > {before}")

        running.release()
        expect(page.locator(".state")).to_have_text("done")
        expect(page.locator("#link")).to_have_text(" The run has ended; this page stays as it is.")
        expect(page.locator("#count-done")).to_have_text("5")
        assert page.evaluate("window.untouched"), "it was never loaded anew"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a crawl of 10,000 items through five stages, two attempts in a hundred bad."""
    folder = tmp_path_factory.mktemp("large")
    stages = ["fetch", "cut", "look", "tell", "sort"]
    with ledgers.made_ledger(folder) as ledger:
        run = ledgers.add_run(ledger, 0.0, 20_100.0)
        rows = [
            (
                f"https://example.org/videos/{number:05}.mp4",
                stage,
                2.0 * number + 5 * place,
                2.0 * number + 5 * place + 1 + (number * 7 + place) % 5,
                "failed" if place == 4 and number % 10 == 3 else "done",
            )
            for number in range(10_000)
            for place, stage in enumerate(stages)
        ]
        ledgers.add_attempts(ledger, run, rows)
        for tick in range(1, 401):
            pools = [
                ledgers.pool(
                    stage,
                    workers=2,
                    waiting=tick % 9,
                    busy=40.0 * tick + place,
                    worker_seconds=100.0 * tick,
                    done=25 * tick,
                )
                for place, stage in enumerate(stages)
            ]
            ledger.add_sample(run, tick, ledgers.sample(50.0 * tick, *pools))
    file = folder / "report.html"
    file.write_text(render_file(five_stages(stages), folder, running=False), encoding="utf-8")
    return file


def five_stages(names: list[str]) -> Pipeline:
    return line(toy(names[0]), *(toy(b, a) for a, b in pairwise(names)))


def test_ten_thousand_items_do_not_freeze_it(large: Path, show: Open) -> None:
    with show(at(large)) as page:
        expect(page.locator("#count-entered")).to_have_text("10,000")
        payload = json.loads(page.locator("#payload").text_content() or "")
        assert len(payload["timeline"]["item"]) == 50_000

        plot = page.locator("#chart-timeline .nsewdrag")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        assert box is not None
        page.evaluate("pauses.length = 0")
        x, y, width, height = (box[key] for key in ("x", "y", "width", "height"))
        for _ in range(3):  # each zooms in ten times, to where attempts are
            page.mouse.move(x + 0.45 * width, y + 0.45 * height)
            page.mouse.down()
            page.mouse.move(x + 0.5 * width, y + 0.5 * height, steps=4)
            page.mouse.move(x + 0.55 * width, y + 0.55 * height, steps=4)
            page.mouse.up()
            page.evaluate(
                "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
            )
        rows = "document.getElementById('chart-timeline').layout.yaxis.range"
        shown = page.evaluate(rows)
        assert abs(shown[0] - shown[1]) < 20
        expect(page.locator("#chart-timeline .ytick", has_text=".mp4").first).to_be_visible()
        assert max(page.evaluate("pauses"), default=0) < LONGEST_PAUSE

        plot.dblclick()
        until(page, f"Math.max(...{rows}) === 10000")

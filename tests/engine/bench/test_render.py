"""What a sweep found, as tables, as JSON, and as a page in a real browser."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.bench.page import write_page
from engine.bench.render import render
from tests.engine.bench.results import results

CHROMIUM = shutil.which("chromium")

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def test_the_tables_say_what_was_measured() -> None:
    text = render(results())
    assert "Measured: items a minute, median and interval" in text
    assert re.search(r"fetch=1 <work>=1 +6\.30 \[6\.00 to 6\.60\] +10 +1 fetch", text)
    assert re.search(r"fetch=4 <work>=1 +10\.9 .* 500\.0 MB 7\.0 MB", text)
    assert re.search(r"fetch=4 <work>=1 +90/0/5 +25/70/0", text)
    assert "fetch=4 <work>=1 is the fastest." in text
    assert "fetch is the bottleneck: give it more workers." in text
    assert "4 is the most that was tried for fetch: try more." in text
    assert text.endswith("\n[stages.fetch]\nworkers = 4\n\n[stages.<work>]\nworkers = 1\n")


def test_nothing_is_wider_than_the_terminal() -> None:
    tables = render(results(), width=80).partition("fetch=4 <work>=1 is")[0]
    assert max(map(len, tables.splitlines())) <= 80


def test_the_model_is_held_against_the_machine() -> None:
    text = render(results())
    # Nine items of ten ended well; the model tells of all that end.
    assert re.search(r"fetch=1 <work>=1 +7\.20 +6\.30 \[6\.00 to 6\.60\] \+14\.3%", text)
    assert re.search(r"fetch=2 <work>=1 +8\.49 .* -4\.8%", text)
    assert "\x1b[31m+14.3%" in render(results(), color=True)
    assert "\x1b[31m-4.8%" not in render(results(), color=True)


def test_the_model_alone_is_named_as_such() -> None:
    text = render(results(measured=[]))
    assert "By the model alone, fetch=4 <work>=1 is the fastest." in text
    assert "Measured" not in text


def test_the_most_that_a_stage_can_have_is_not_asked_for_more() -> None:
    assert "try more" not in render(results(most={"fetch": 4}))


def test_an_interrupted_sweep_says_so() -> None:
    assert "Interrupted: this is what was measured" in render(results(interrupted=True))
    nothing = results(measured=[], predicted=[], interrupted=True)
    assert "nothing is recommended" in render(nothing)


def test_json_holds_every_trial_and_the_advice(tmp_path: Path) -> None:
    made = results()
    made.write_json(tmp_path / "bench.json")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert len(found["trials"]) == 9 + 3
    assert found["recommended"]["workers"] == {"fetch": 4, "<work>": 1}
    assert [round(check["error"], 3) for check in found["checks"]] == [-0.048, -0.048, 0.143]
    assert found["machine"]["cores"] >= 1


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    broken = replace(results().measured[0], problem="<b>")
    made = {
        "whole": results(),
        "large": results(range(1, 400), repeats=1),
        "nothing": results(measured=[broken], predicted=[]),
    }
    for name, one in made.items():
        write_page(one, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in made}


def test_the_page_needs_nothing_from_elsewhere(pages: dict[str, Path]) -> None:
    text = pages["whole"].read_text()
    own = text.partition("<script>")[0] + text.rpartition("<script>")[2]
    assert not re.search(r"(src|href)=|https?://|@import", own)
    assert "<work>" not in own
    assert "&lt;/script&gt;" in own


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_in_a_browser(pages: dict[str, Path]) -> None:
    """It loads without a complaint, fits a phone, and follows the dark mode."""
    from playwright.sync_api import Page, sync_playwright

    complaints: list[str] = []

    def opened(context: Any, name: str) -> Page:
        page: Page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(pages[name].as_uri())
        return page

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for scheme, width in (("light", 1200), ("dark", 390)):
            context = browser.new_context(
                color_scheme=scheme,  # type: ignore[arg-type]
                viewport={"width": width, "height": 800},
            )
            page = opened(context, "whole")
            assert page.locator("#measured-throughput .bars .point").count() == 3
            assert page.locator("#measured-throughput .scatterlayer .point").count() == 3
            assert page.locator("#measured-shares .bars .point").count() == 3 * 2 * 3
            assert "fetch=4 <work>=1 is the fastest." in page.inner_text(".advice")
            assert page.locator("tr.chosen").count() == 2
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            tick = "document.querySelector('#measured-cloud .xtick text')"
            ink = page.evaluate(f"getComputedStyle({tick}).fill")
            light = sum(map(int, re.findall(r"\d+", ink)[:3])) > 3 * 128
            assert light == (scheme == "dark")
        large = opened(context, "large")
        assert large.locator("#measured-cloud .scatterlayer .point").count() == 399
        assert opened(context, "nothing").inner_text("td.problem") == "<b>"
        browser.close()
    assert complaints == []

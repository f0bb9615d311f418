"""The page in a real browser: a dropped video becomes a job, whose parts and result come."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine import Item
from tests.engine.toy_parts import at, cut
from tests.engine.toys import fast_folder, line, toy
from tests.stages.serve.serving import Serving, serving
from tests.stages.serve.test_results import Writing

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

SAID = "Somebody chops onions."

DROP = """async (files) => {
  const given = new DataTransfer();
  for (const file of files) given.items.add(new File([new Uint8Array(9 << 20)], file));
  const how = { dataTransfer: given, bubbles: true, cancelable: true };
  document.dispatchEvent(new DragEvent("drop", how));
}"""


NO_TLS = "delete Crypto.prototype.randomUUID"
"""What a page lacks that came without TLS from another machine."""


class WithScene(Writing):
    """Leaves a scene after the other records."""

    def act(self, item: Item, out: Path) -> Any:
        ended = super().act(item, out)
        scene = {"thumbnail": "scenes/0/thumbnail.jpg", "description": {"description": SAID}}
        (out / "scenes" / "0").mkdir(parents=True)
        Image.new("RGB", (32, 18), "teal").save(out / scene["thumbnail"])
        with (out / "records.jsonl").open("a") as records:
            records.write(f"{json.dumps(scene)}\n")
        return ended


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    pipeline = line(cut("a"), at("a", "b"), toy("c", base=WithScene))
    with fast_folder() as folder, serving(pipeline, folder) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 900), (390, 840)], ids=["desktop", "phone"])
def page(service: Serving, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Whatever the browser has to complain of fails."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    complaints: list[str] = []
    page.add_init_script(NO_TLS)
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(str(service.client.base_url))
    expect(page.locator("#state")).to_have_text("ready")
    yield page
    assert complaints == []
    context.close()


def test_a_dropped_video_becomes_a_job(page: Page, service: Serving) -> None:
    name = "<img src=x onerror=alert(1)>.mp4"
    page.evaluate(DROP, [name])
    expect(page.locator("#about")).to_contain_text("done")
    expect(page.locator("#name")).to_have_text("img-src-x-onerror-alert-1-.mp4")
    expect(page.locator(".record")).to_have_count(26)
    scene = page.locator(".record").last
    expect(scene.locator("p")).to_have_text(SAID)
    scene.scroll_into_view_if_needed()
    expect(scene.locator("img")).to_have_js_property("naturalWidth", 32)
    page.locator("#files-box summary").click()
    link = page.locator("#files a", has_text="records.jsonl")
    with page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).read_text().count("\n") == 26
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_an_address_becomes_a_job(page: Page, service: Serving) -> None:
    given = page.get_by_label("or give an address")
    given.fill("https://example.org/<b>talk</b>.mp4")
    given.press("Enter")
    expect(page.locator("#about")).to_contain_text("done")
    expect(page.locator("#name")).to_contain_text("talk")
    expect(page.locator("#jobs .chip.done").first).to_be_visible()


def test_of_two_videos_that_are_dropped_each_becomes_a_job(page: Page, service: Serving) -> None:
    page.evaluate(DROP, ["first.mp4", "second.mp4"])
    for name in ("first.mp4", "second.mp4"):
        expect(page.locator("#jobs .what", has_text=name).first).to_be_visible()
    expect(page.locator("#name")).to_have_text("second.mp4")


def test_a_job_that_has_expired_says_why_and_names_no_step(page: Page, service: Serving) -> None:
    asked = {"url": "https://example.org/late.mp4", "within": 1e-9}
    service.ended(service.client.post("/jobs", json=asked).json()["id"])
    page.locator("#jobs .what", has_text="late.mp4").first.click()
    expect(page.locator("#about")).to_contain_text("it has not ended within its time")
    expect(page.locator("#about")).not_to_contain_text("null")

"""The scenes in a real browser: the search box, a click on a time, the player, phone and dark."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.page.page import render_file
from stages.scenes.pipeline import scenes
from tests.stages.scenes.page.conftest import Films
from tests.stages.scenes.page.films import HOSTILE, served

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]

Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def browser(folder: Films) -> Iterator[Browser]:
    """While it is open a loop runs in this thread, where no run can be: the folder comes first."""
    expect.set_options(timeout=20_000)  # a busy machine draws the charts first
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser) -> Open:
    """Opens a page; whatever the browser has to complain of fails."""

    @contextmanager
    def opened(url: str) -> Iterator[Page]:
        context = browser.new_context(offline="file:" in url)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(url)
        page.wait_for_selector(".film")
        yield page
        assert complaints == []
        context.close()

    return opened


@pytest.fixture(scope="module")
def file(folder: Films, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_file(scenes, folder.work, running=False), encoding="utf-8")
    return path.as_uri()


def test_a_file_lists_and_finds_scenes(file: str, folder: Films, show: Open) -> None:
    with show(file) as page:
        expect(page.locator(".told-of-list")).to_have_text("4 scenes of 2 videos. ")
        talk = page.locator(".film", has_text="talk")
        talk.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(talk.locator(".scene")).to_have_count(2)
        cook = talk.locator(".scene").nth(1)
        expect(cook.locator(".says")).to_have_text(f"A cook {HOSTILE} in a kitchen.")
        expect(cook.locator(".objects .chip")).to_have_text("person ×2")
        expect(cook.locator(".gap").last).to_have_text("Without speech: the server was down")
        expect(cook.locator(".speech li")).to_have_count(5)
        cook.get_by_role("button", name="All 10 sentences").click()
        expect(cook.locator(".speech li")).to_have_count(10)
        onions = cook.locator(".speech li", has_text="onions").get_by_role("link")
        assert onions.get_attribute("href") == f"{folder.file.as_uri()}#t=2.4"
        loaded = "one => one.complete && one.naturalWidth > 0"
        assert cook.locator("img").evaluate(loaded)

        box = page.get_by_role("searchbox")
        box.fill("CREME strasse")
        found = page.locator(".results > .list .scene")
        expect(found).to_have_count(1)
        expect(found.locator("mark")).to_have_text(["crème", "Straße"])
        box.fill("onion dog")
        expect(found).to_have_count(2)
        expect(page.locator(".told-of-list")).to_contain_text("2 answers, the best first.")
        page.get_by_label("Where to search").select_option("objects")
        expect(page.locator(".told-of-list")).to_contain_text("Nothing was found.")
        box.fill("pers")
        expect(found.locator(".chip mark")).to_have_text("person")
        box.fill("")
        expect(page.locator(".film")).to_have_count(2)
        check_the_looks(page)


def test_a_live_page_plays_what_is_found(folder: Films, show: Open) -> None:
    with ExitStack() as run, show(str(run.enter_context(served(folder.work)).base_url)) as page:
        page.locator(".film > summary").first.click()
        expect(page.locator(".scene")).to_have_count(2)
        page.evaluate("document.querySelector('.film').dataset.mine = 'yes'")
        page.evaluate("document.addEventListener('penstock:news', () => { window.news = true; })")
        until(page, "window.news")
        expect(page.locator(".film[open]")).to_have_attribute("data-mine", "yes")

        box = page.get_by_role("searchbox")
        box.fill("chopping onions")
        box.press("Enter")
        found = page.locator(".results > .list .scene")
        expect(found).to_have_count(1)
        expect(found.locator(".found mark")).to_have_text(["chop", "onions"])
        picture = found.locator("button.picture")
        expect(picture.locator("img")).to_be_visible()
        picture.focus()
        page.keyboard.press("Enter")
        player = page.locator(".player")
        expect(player.locator(".of")).to_have_text("talk, at 0:02")
        until(page, "document.querySelector('video').readyState >= 2")
        assert page.evaluate("document.querySelector('video').currentTime") >= 2.39
        page.keyboard.press("Escape")
        expect(player).to_be_hidden()
        expect(picture).to_be_focused()

        run.close()
        expect(page.locator("#link")).to_have_text(
            " The server has ended; this page stays as it is."
        )
        expect(page.locator(".told-of-list")).to_contain_text("penstock report DIR --web PORT")
        expect(box).to_be_disabled()


def until(page: Page, condition: str) -> None:
    """Wait for something that only a script can tell: the page's policy allows no `eval`, which
    Playwright's own way of waiting needs."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"this never came true: {condition}")


def check_the_looks(page: Page) -> None:
    """It fits a phone, and is dark where that is wanted."""
    page.set_viewport_size({"width": 390, "height": 800})
    closed = page.locator(".film:not([open]) > summary")
    closed.evaluate_all("all => all.forEach(one => one.click())")
    expect(page.locator(".scene")).to_have_count(4)
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('.scenes-page *')]"
        ".map(one => one.getBoundingClientRect().right))"
    )
    assert widest <= 390
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('.scenes-page :is(p, li, span, button)')]"
        ".map(one => parseFloat(getComputedStyle(one).fontSize)))"
    )
    assert smallest >= 12
    says = page.locator(".scene .says").first
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        colour = says.evaluate("one => getComputedStyle(one).color")
        assert (sum(map(int, colour[4:-1].split(", "))) > 3 * 128) == (scheme == "dark")

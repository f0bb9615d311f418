"""What a pipeline's own script asks of a live page, and the files that it is sent."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx
import pytest

from engine import PageContext, PageFile, Section, UsageError
from engine.page.live import LivePage
from engine.page.page import render_file
from engine.page.port import Port
from tests.engine.page.ledgers import add_run, made_ledger
from tests.engine.toys import line, toy

ORDER = ("nav-sections", "section-1", "stages", "failures")

OWN = "window.own = 1;"


def sections(context: PageContext) -> Iterator[Section]:
    yield Section("Own", "live" if context.live else "file", script=OWN)
    yield Section("Other", "other", script=OWN)


def answer(context: PageContext, question: str, values: Mapping[str, str]) -> Any:
    match question:
        case "echo":
            return {"values": values, "text": "half \udce9", "live": context.live}
        case "file":
            return PageFile(Path(values["path"]), "text/plain", values.get("source"))
        case "wrong":
            raise UsageError("say what")
        case "bug":
            raise ValueError("a\nbug")
    return None


@contextmanager
def served(workdir: Path) -> Iterator[httpx.Client]:
    with made_ledger(workdir) as ledger:
        add_run(ledger, 0.0, 1.0)
    pipeline = line(toy("a"), sections=sections, answer=answer)
    port = Port(0)
    with anyio.from_thread.start_blocking_portal() as portal:
        task = portal.start_task_soon(LivePage(pipeline, workdir, port).serve)
        try:
            with httpx.Client(base_url=port.url, timeout=20) as client:
                yield client
        finally:
            task.cancel()
    port.close()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("own")) as made:
        yield made


def test_the_pipeline_answers(client: httpx.Client) -> None:
    told = client.get("ask/echo", params={"a": "1&2", "b": "ü"})
    assert told.json() == {"values": {"a": "1&2", "b": "ü"}, "text": "half ?", "live": True}
    assert told.headers["content-type"] == "application/json"
    assert told.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("question", "status", "problem"),
    [
        ("wrong", 400, "say what"),
        ("bug", 500, "ValueError: a bug"),
        ("nothing", 404, "there is no such thing"),
    ],
)
def test_problems_are_told(client: httpx.Client, question: str, status: int, problem: str) -> None:
    told = client.get(f"ask/{question}")
    assert (told.status_code, told.json()) == (status, {"problem": problem})


def test_another_site_may_not_ask(client: httpx.Client) -> None:
    for site in ("cross-site", "same-site"):
        assert client.get("ask/echo", headers={"Sec-Fetch-Site": site}).status_code == 403
    assert client.get("ask/echo", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.get("ask/echo", headers={"Host": "evil.example"}).status_code == 400
    assert client.post("ask/echo").status_code == 405


def test_a_page_without_a_run_says_how_the_last_one_ended(client: httpx.Client) -> None:
    html = client.get("").text
    assert 'class="state done"' in html
    assert client.get("metrics").status_code == 404


def test_scripts_are_loaded_once(client: httpx.Client, tmp_path: Path) -> None:
    html = client.get("").text
    assert html.count('<script src="sections.js">') == 1
    assert "media-src &#39;self&#39;" in html
    assert client.get("sections.js").text == OWN

    with made_ledger(tmp_path) as ledger:
        add_run(ledger, 0.0, 1.0)
    file = render_file(line(toy("a"), sections=sections), tmp_path, running=False)
    assert file.count(f"<script>{OWN}</script>") == 1
    assert "media-src &#39;none&#39;" in file


def test_sections_may_stand_first(tmp_path: Path) -> None:
    def own(first: bool) -> list[str]:
        pipeline = line(toy("a"), sections=lambda _: [Section("Own", "own", first=first)])
        html = render_file(pipeline, tmp_path, running=False)
        return [name for name in re.findall(r' id="([\w-]+)"', html) if name in ORDER]

    with made_ledger(tmp_path) as ledger:
        add_run(ledger, 0.0, 1.0)
    assert own(first=True) == ["nav-sections", "section-1", "stages", "failures"]
    assert own(first=False) == ["nav-sections", "stages", "failures", "section-1"]


def test_only_files_of_the_work_folder_are_sent(tmp_path: Path) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    with served(work) as client:
        other.mkdir()
        (other / "secret").write_text("secret")
        (other / "given").write_text("given")
        (work / "own").write_text("0123456789")
        (work / "leads-out").symlink_to(other / "secret")
        (work / "given").symlink_to(other / "given")
        (work / "folder").symlink_to(other)
        (work / "circle").symlink_to(work / "circle")

        def sent(path: Path, **more: str) -> int:
            return client.get("ask/file", params={"path": str(path), **more}).status_code

        assert client.get("ask/file", params={"path": work / "own"}).text == "0123456789"
        ranged = client.get(
            "ask/file", params={"path": work / "own"}, headers={"Range": "bytes=2-4"}
        )
        assert (ranged.status_code, ranged.text) == (206, "234")
        for path in (
            "missing",
            "leads-out",
            "folder/secret",
            "../other/secret",
            "circle",
            ".",
            "a\0b",
        ):
            assert sent(work / path) == 404, path
        assert sent(other / "secret") == 404
        assert sent(work / "given") == 404
        assert sent(work / "given", source=str(other / "given")) == 200
        assert sent(work / "leads-out", source=str(other / "given")) == 404

"""A work folder of scenes, as a run leaves it, with whatever was found in them; and its page."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.from_thread
import httpx

from engine import Item, PageContext, load_config, run_pipeline
from engine.page.live import LivePage
from engine.page.page import page_context
from engine.page.port import Port
from stages.files.json_lines import read_lines, write_lines
from stages.persistence.records import read_records
from stages.scenes.pipeline import scenes
from stages.sinks.sqlite import SqliteSink
from tests.stages.scenes.test_pipeline import SETS

HOSTILE = "</script><img src=x onerror=alert(1)><b>"


def run(work: Path, *files: Path) -> None:
    config = load_config(scenes, None, {}, SETS, {})
    report = run_pipeline(scenes, config, work, [str(file) for file in files])
    assert report.items["done"] == len(files)


def tell(work: Path, file: Path, fields: Sequence[Mapping[str, Any]]) -> str:
    """Put these fields into the records of the file's scenes, as if they had been found; returns
    the video's id."""
    item = Item.at(work, str(file))
    lines = item.folder / "collect" / "scenes.jsonl"
    records = [
        {**record, **more, "made_by": {"description": "a model"} if more else record["made_by"]}
        for record, more in zip(read_lines(lines), fields, strict=True)
    ]
    lines.unlink()  # the results have a link to it
    write_lines(lines, records)
    with SqliteSink(work / "search.db") as sink:
        sink.write(read_records(item, lines.parent, None))
    return item.id


def described(text: str, *tags: str, **more: Any) -> dict[str, Any]:
    whole = {"tags": tags, "people": [], "actions": [], "setting": "", "text_seen": []}
    return {"description": text, **whole, **more}


def context(work: Path, *, live: bool = False) -> PageContext:
    return page_context(work, live=live)


@contextmanager
def served(work: Path) -> Iterator[httpx.Client]:
    """The page of the work folder: a client of its server."""
    port = Port(0)
    with anyio.from_thread.start_blocking_portal() as portal:
        page = LivePage(scenes, work, port)
        task = portal.start_task_soon(page.serve)
        try:
            with httpx.Client(base_url=port.url, timeout=20) as client:
                yield client
        finally:
            task.cancel()
    port.close()


def get(
    client: httpx.Client, question: str, headers: Mapping[str, str] | None = None, **values: Any
) -> httpx.Response:
    return client.get(f"ask/{question}", params=values, headers=headers)

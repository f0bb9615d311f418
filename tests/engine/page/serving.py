"""A run with its live page, in a thread, which goes on when the test lets it."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from engine import Pipeline
from engine.flow.report import RunReport
from engine.flow.run import Run
from engine.page.live import LivePage
from engine.page.port import Port
from tests.engine.toys import Toy, line, run, toy


class Hold(Toy):
    """Waits with every item but the first until the test lets it go."""

    def act(self, item: Any, out: Path) -> Any:
        keys = [self.workdir / "release", self.workdir / f"release-{item.source}"]
        while item.source != "v0" and not any(key.exists() for key in keys):
            time.sleep(0.002)
        return super().act(item, out)


class Served:
    """A run with its page, in a thread."""

    def __init__(self, pipeline: Pipeline, workdir: Path, items: int) -> None:
        self.workdir = workdir
        self.port = Port(0)
        self.page: Any = None
        self.report: RunReport | None = None
        self.thread = threading.Thread(target=self._run, args=(pipeline, items))
        self.thread.start()

    def _run(self, pipeline: Pipeline, items: int) -> None:
        def prepare(run: Run) -> list[Any]:
            page = LivePage(pipeline, self.workdir, self.port, run.snapshot, lambda: run.outcome)
            run.events.subscribe(page)
            self.page = page
            return [page.serve]

        sources = [f"v{number}" for number in range(items)]
        self.report = run(pipeline, self.workdir, sources, prepare=prepare)

    def get(self, path: str = "", **more: Any) -> httpx.Response:
        return httpx.get(self.port.url + path, timeout=20, **more)

    def let_go(self, source: str) -> None:
        """Let one item go on."""
        (self.workdir / f"release-{source}").touch()

    def release(self) -> None:
        """Let the run go on to its end."""
        (self.workdir / "release").touch()
        self.thread.join(30)
        assert not self.thread.is_alive()


@contextmanager
def served(
    workdir: Path, items: int = 5, does: Mapping[str, Sequence[Any]] | None = None
) -> Iterator[Served]:
    pipeline = line(toy("a", base=Hold, does=does or {}), toy("b", "a"))
    running = Served(pipeline, workdir, items)
    try:
        yield running
    finally:
        running.release()

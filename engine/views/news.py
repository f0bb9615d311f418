"""What a pipeline tells of its outputs, as they come, passed on to a view."""

from collections.abc import Callable
from pathlib import Path

from engine.contract.pipeline import News
from engine.telemetry.events import AttemptEnded, Event


class NewsOfOutputs:
    """A listener that tells a view of each output that the pipeline has a line for."""

    def __init__(self, news: News, workdir: Path, note: Callable[[str], None]) -> None:
        self._news = news
        self._items = workdir / "items"
        self._note = note

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptEnded) and event.outcome == "done" and event.kind is None:
            line = self._news(event.stage, self._items / event.item / event.stage)
            if line is not None:
                self._note(line)

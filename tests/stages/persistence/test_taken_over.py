"""A job that another machine may take over: of two who do one video, the later one's records stand,
also where the machines change within the step that puts them away."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import SOURCE, Item, Job, Pipeline, Source, Stage, Step, load_config, run_pipeline
from stages.persistence.persist import Persist
from stages.sinks.sqlite import SqliteSink
from tests.stages.sinks.records import said, scene, video
from tests.stages.sinks.test_sinks import in_sqlite


class Film(Stage):
    """A scene in which "ours" is said."""

    def process(self, item: Item, out: Path) -> None:
        (out / "scenes.jsonl").write_text(json.dumps(scene(0, speech=said("ours"))) + "\n")


films = Pipeline(
    "films",
    "Put films into the sinks.",
    [Step(Film, SOURCE), Step(Persist, "film", inputs={"scenes": "film"})],
)


class OneJob(Source):
    """What is said of its job is `says()`, before something is written that others read."""

    def __init__(self, says: Callable[[], bool]) -> None:
        self._says = says
        self.told: list[str] = []

    def items(self) -> Iterator[Job]:
        yield Job("a.mp4", "a")

    def alive(self, job: Job, *, surely: bool) -> bool:
        return self._says() if surely else True

    def ended(self, job: Job, outcome: str) -> None:
        self.told.append(outcome)

    def lost(self, job: Job) -> None:
        self.told.append("lost")


@pytest.mark.parametrize("ours", [True, False])
def test_who_takes_the_video_over_has_the_later_turn(tmp_path: Path, ours: bool) -> None:
    """The other machine has put it away before this one hears whether it may, or once it may."""
    database = tmp_path / "shared.db"

    def taken_over() -> bool:
        with SqliteSink(database) as other:
            assert other.write(video("a", scene(0, speech=said("theirs"))))
        return ours

    source = OneJob(taken_over)
    sets = [f"stages.persist.database={database}", "stages.persist.meaning=off"]
    config = load_config(films, None, {}, sets, {})
    run_pipeline(films, config, tmp_path / "work", source)
    assert in_sqlite(database) == {"a": ["theirs"]}
    assert source.told == ["done" if ours else "lost"]

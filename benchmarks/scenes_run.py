"""One run of the scenes pipeline in a process of its own, with stand-ins for its models, and a log
of who did what when.

`run_scenes` starts it, and returns the log.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.scenes_path import RunLog, TimedAttempt
from benchmarks.scenes_stand_ins import Latencies, Latency, standing_in
from engine import AttemptEnded, AttemptStarted, Event, Events, PartEntered, load_config
from engine import run_pipeline as run_to_its_end
from stages.scenes.pipeline import scenes


@dataclass(frozen=True, slots=True)
class ScenesRun:
    """What is run: videos, the work folder, settings, and how long the models' stand-ins take."""

    videos: Sequence[str]
    work: str
    settings: Sequence[str]
    latencies: Latencies


class Recorder:
    """A listener that writes a `RunLog`."""

    def __init__(self) -> None:
        self.log = RunLog()
        self.began = time.monotonic()
        self._open: dict[tuple[str, str, int], float] = {}

    def listen(self, event: Event) -> None:
        now = time.monotonic() - self.began
        if isinstance(event, AttemptStarted):
            self._open[event.item, event.stage, event.attempt] = now
        elif isinstance(event, AttemptEnded):
            began = self._open.pop((event.item, event.stage, event.attempt), now)
            self.log.attempts.append(TimedAttempt(event.item, event.stage, began, now))
        elif isinstance(event, PartEntered):
            self.log.entered[event.item] = event.parent, event.split, now


def run_scenes(told: ScenesRun) -> RunLog:
    """Run it. Ends the benchmark where the run does not end well."""
    work = Path(told.work)
    task, answer = work.with_suffix(".task.json"), work.with_suffix(".log.json")
    task.write_text(json.dumps(asdict(told)))
    began = time.monotonic()
    words = [sys.executable, "-m", "benchmarks.scenes_run", str(task), str(answer)]
    if subprocess.run(words).returncode != 0:
        raise SystemExit("a run of the scenes pipeline failed; see above")
    found = json.loads(answer.read_text())
    return RunLog(
        [TimedAttempt(*one) for one in found["attempts"]],
        {part: (parent, split, at) for part, (parent, split, at) in found["entered"].items()},
        found["seconds"],
        time.monotonic() - began,
        found["called"],
    )


def _told(task: Path) -> ScenesRun:
    found = json.loads(task.read_text())
    latencies = found.pop("latencies")
    scale = latencies.pop("scale")
    named = {name: Latency(**latency) for name, latency in latencies.items()}
    return ScenesRun(**found, latencies=Latencies(**named, scale=scale))


def main() -> None:
    task, answer = map(Path, sys.argv[1:])
    told = _told(task)
    config = load_config(scenes, None, {}, list(told.settings), {})
    recorder, events = Recorder(), Events()
    events.subscribe(recorder.listen)
    with standing_in(told.latencies) as devices:
        recorder.began = time.monotonic()
        report = run_to_its_end(scenes, config, Path(told.work), told.videos, events=events)
    recorder.log.seconds = time.monotonic() - recorder.began
    recorder.log.called = devices.busy()
    for one in report.failures:
        print(f"{one.stage}: {one.count} failed: {one.example_reason}", file=sys.stderr)
    if report.exit_code or report.failures:
        sys.exit(1)
    answer.write_text(json.dumps(asdict(recorder.log)))


if __name__ == "__main__":
    main()

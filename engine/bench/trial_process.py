"""The process of a trial: `python -m engine.bench.trial_process`.

Its stdin gives one line of JSON, the request, and then stays open: when it closes, the requesting
process is gone, and this one ends at once. Its stdout is one JSON object, the result; prints of the
stages go to stderr.
"""

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from engine.config import CONFIG
from engine.config.load import load_config
from engine.contract import registry
from engine.contract.errors import PenstockError, StopRun, UsageError
from engine.flow.opening import run_pipeline
from engine.flow.report import RunReport
from engine.telemetry.events import AttemptStarted, Event, Events, ItemEnded
from engine.telemetry.statistics import bottleneck, bottleneck_sentence
from engine.telemetry.text import one_line


class Stopwatch:
    """The time from the first attempt to the end of the last item."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptStarted) and self._first is None:
            self._first = time.monotonic()
        elif isinstance(event, ItemEnded):
            self._last = time.monotonic()

    @property
    def seconds(self) -> float:
        return max(0.0, self._last - self._first) if self._first is not None else 0.0


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run the requested trial; returns its figures. Raises PenstockError
    where it does not come to its end."""
    pipeline = registry.pipeline(request["pipeline"])
    config = load_config(
        pipeline,
        Path(request["config"]) if request["config"] is not None else None,
        os.environ,
        request["overrides"],
        request["flags"],
        others=list(registry.pipelines().values()),
        found=request["config"] == CONFIG,  # the bench refuses a foreign file that was named
    )
    stopwatch, events = Stopwatch(), Events()
    events.subscribe(stopwatch)
    # The finish does not depend on the workers.
    bare = replace(pipeline, finish=None)
    workdir = Path(request["workdir"])
    report = run_pipeline(bare, config, workdir, request["sources"], events=events)
    if report.outcome != "done":
        raise StopRun(f"the run stopped itself: {report.why}")
    return _figures(report, stopwatch.seconds)


def _figures(report: RunReport, seconds: float) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "outcomes": {how: report.items[how] for how in ("done", "dropped", "failed")},
        "stages": {
            name: {
                "workers": pool.workers,
                "busy": pool.utilisation,
                "starved": pool.share(pool.starved),
                "blocked": pool.share(pool.blocked),
            }
            for name, pool in report.pools.items()
        },
        "bottleneck": bottleneck(report.pools),
        "sentence": bottleneck_sentence(report.pools, report.processor),
    }


def _end_with_whoever_asked(requests: BinaryIO) -> None:
    while requests.read(1):
        pass
    os.killpg(0, signal.SIGKILL)  # and the processes that stages have started


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a program that a stage runs must not read our requests
    os.close(nothing)
    os.dup2(2, 1)  # a stage's prints must not look like an answer
    request = json.loads(requests.readline())
    threading.Thread(target=_end_with_whoever_asked, args=(requests,), daemon=True).start()
    try:
        answer = run(request)
    except UsageError as error:
        answer = {"mistake": str(error)}
    except PenstockError as error:
        answer = {"problem": one_line(str(error))}
    with answers:
        json.dump(answer, answers)


if __name__ == "__main__":
    main()
